"""Every example as its users would apply it, before a real API server: with the CRDs of Karpenter and Kueue, at the restricted level."""

import json
import subprocess
import sys

import pytest
import yaml

from fedcore.crd import definition_yaml
from fedcore_operator.api.job import Job, parse_job
from fedcore_operator.plan.reserved import template_problems
from fedcore_operator.plan.shapes import shapes
from support.cluster_model import SETTINGS
from tests.cluster import fixtures, modules
from tests.cluster.errors import ClusterError, Unavailable
from tests.cluster.places import REPOSITORY

pytestmark = pytest.mark.apiserver

EXAMPLES = REPOSITORY / "examples"
JOBS = sorted(EXAMPLES.glob("*.yaml"))
CRDS = {
    modules.KARPENTER: ("pkg/apis/crds", ("karpenter.k8s.aws_ec2nodeclasses", "karpenter.sh_nodepools")),
    modules.KUEUE: (
        "config/components/crd/bases",
        ("kueue.x-k8s.io_resourceflavors", "kueue.x-k8s.io_clusterqueues", "kueue.x-k8s.io_localqueues"),
    ),
}


def of_module(module, folder):
    try:
        return module.files(folder)
    except Unavailable as reason:
        fixtures._do_without(reason)


@pytest.fixture(scope="module")
def crds(apiserver):
    """Ours, and those of others that examples use."""
    texts = [definition_yaml()]
    for module, (folder, names) in CRDS.items():
        files = of_module(module, folder)
        texts += [files[f"{name}.yaml"] for name in names]
    apiserver.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin="\n---\n".join(texts))
    names = [yaml.safe_load(text)["metadata"]["name"] for text in texts]
    apiserver.kubectl("wait", "--for=condition=Established", "--timeout=180s", *(f"crd/{name}" for name in names))


@pytest.fixture
def restricted(apiserver, crds):
    """kubectl in a namespace of its own."""
    with apiserver.namespace() as name:
        yield lambda *arguments, **given: apiserver.kubectl(*arguments, f"--namespace={name}", **given)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_an_example_is_taken_with_all_its_pods(path, restricted):
    restricted("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    restricted("apply", "--validate=strict", "-f", str(path))
    name = next(one["metadata"]["name"] for one in yaml.safe_load_all(path.read_text()) if one["kind"] == "FederatedJob")
    job = parse_job(json.loads(restricted("get", "fj", name, "-o", "json")))
    assert isinstance(job, Job), job
    assert template_problems(job.spec) == []
    for manifest in shapes(job, SETTINGS):
        restricted("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))


def test_the_pod_for_results_is_taken_at_the_restricted_level(restricted):
    restricted("create", "--dry-run=server", "--validate=strict", "-f", str(EXAMPLES / "eks/results.yaml"))


@pytest.mark.parametrize(
    ("example", "change", "words"),
    [
        pytest.param(
            "eks-karpenter.yaml", ("consolidateAfter", "consolidateAftr"), "unknown field", id="a field that Karpenter does not know"
        ),
        pytest.param("eks-karpenter.yaml", ("WhenEmpty", "WhenIdle"), "Unsupported value", id="a value"),
        pytest.param("kueue.yaml", ("nominalQuota", "quota"), "unknown field", id="a field that Kueue does not know"),
        pytest.param("eks-irsa.yaml", ("ipBlock", "ipblock"), "unknown field", id="a field of Kubernetes"),
    ],
)
def test_these_checks_find_mistakes(example, change, words, restricted):
    text = (EXAMPLES / example).read_text()
    assert change[0] in text
    with pytest.raises(ClusterError, match=words):
        restricted("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text.replace(*change))


@pytest.fixture(scope="module")
def eksctl(apiserver, tmp_path_factory):
    """Check a cluster file by eksctl's own JSON schema. helm is the validator at hand: it checks a chart's values by a schema."""
    chart = tmp_path_factory.mktemp("eksctl")
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: eksctl, version: 0.0.1}")
    (chart / "values.schema.json").write_text(of_module(modules.EKSCTL, "pkg/apis/eksctl.io/v1alpha5/assets")["schema.json"])
    (chart / "templates").mkdir()

    def check(text):
        (chart / "cluster.yaml").write_text(text)
        apiserver.helm("template", "eksctl", chart, "--values", chart / "cluster.yaml")

    return check


def test_the_cluster_file_is_one_that_eksctl_reads(eksctl):
    text = (EXAMPLES / "eks/cluster.yaml").read_text()
    eksctl(text)
    for change in (("volumeSize", "diskSize"), ("privateNetworking: true", "privateNetworking: perhaps"), ("addonsConfig", "addonConfig")):
        assert change[0] in text
        with pytest.raises(ClusterError):
            eksctl(text.replace(*change))
    (policies,) = [addon for addon in yaml.safe_load(text)["addons"] if addon["name"] == "vpc-cni"]
    assert json.loads(policies["configurationValues"]) == {"enableNetworkPolicy": "true"}


def test_fedcore_validate_takes_them_all():
    done = subprocess.run([sys.executable, "-m", "fedcore.cli.main", "validate", *JOBS], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count(": valid\n") == len(JOBS)
