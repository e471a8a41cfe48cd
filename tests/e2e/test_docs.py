"""The pages for a cluster as a reader types them: quick start, install, and EKS as far as it goes without AWS.

On a cluster of their own, as each makes a release that serves all namespaces; what cannot run there is rehearsed (tests/docs/session.py).
"""

import re
import shlex

import pytest
import yaml

from tests.cluster.fixtures import own_cluster
from tests.cluster.images import reference
from tests.docs.pages import Block, pages
from tests.docs.session import SHELL, run
from tests.e2e.figures import record_figure

pytestmark = pytest.mark.e2e

IMAGES = {"operator": ("image",), "coordinator": ("jobs", "coordinatorImage"), "worker-numpy": ("jobs", "workerImage")}
WATCH_SECONDS = 10
"""A reader ends ``--watch`` when nothing more happens; so long it is looked at, then it is interrupted."""
SECONDS = 540.0
PAGES = {page.path: page for page in pages()}
EKS = ("## 1. What you need", "## 2. The cluster", "## 3. Images", "## 4. The operator", "## 5. A first job", "## 8. Clean up")
"""What lies between needs AWS: its volumes, its nodes with GPUs, its roles."""


@pytest.fixture(scope="module")
def cluster():
    with own_cluster(1, *IMAGES) as running:
        # As on EKS, where the operator and coordinators are to be on nodes on demand.
        running.kubectl("label", "nodes", "--all", "eks.amazonaws.com/capacityType=ON_DEMAND")
        yield running


@pytest.fixture
def typed(cluster, tmp_path):
    """Type blocks of a page, with kubectl and helm in place and the images of this checkout as those that were pushed."""
    environment = f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}"
    kubectl, helm = (shlex.quote(str(path)) for path in (cluster.kubectl_program, cluster.helm_program))
    watch = f'*--watch*) timeout --signal=INT {WATCH_SECONDS} {kubectl} "$@"; test $? -eq 124; exit;;'
    programs = {
        "kubectl": f'{environment}\ncase "$*" in {watch} esac\nexec {kubectl} "$@"',
        # Where a page takes the images by their names alone, without a registry.
        "helm": f'{environment}\ncase "$1" in install|upgrade) set -- "$@" --values build/images.yaml;; esac\nexec {helm} "$@"',
    }

    def typed(blocks):
        pushed = Block("the images that the nodes have", 0, "yaml", "build/images.yaml", yaml.safe_dump(values()))
        wanted = [block for block in blocks if block.language in SHELL and not re.search("^fedcore ", block.text, re.MULTILINE)]
        assert wanted
        session = run([pushed, *wanted], tmp_path / "checkout", programs=programs, seconds=SECONDS)
        print(session.said)
        assert session.code == 0, session.said[-6000:]
        ran = sum(words[0] in programs for words in session.commands)
        record_figure("commands that ran on a cluster", ran, f"in {blocks[0].page}")
        return session.said

    yield typed
    cluster.kubectl("delete", "fj", "--all", "--all-namespaces", "--ignore-not-found", "--wait=false")
    for release in yaml.safe_load(cluster.helm("list", "--all-namespaces", "--output=yaml")):
        cluster.helm("uninstall", release["name"], f"--namespace={release['namespace']}", "--wait", "--timeout=180s")
    cluster.kubectl("delete", "crd/federatedjobs.fedcore.dev", "--ignore-not-found")


def values():
    """What ``make images`` would have written to build/images.yaml, by tags as the nodes have no registry."""
    made = {}
    for name, way in IMAGES.items():
        around = made
        for step in way:
            around = around.setdefault(step, {})
        repository, _, tag = reference(name).rpartition(":")
        around |= {"repository": repository, "tag": tag}
    return made


def sections(page, headings):
    """Blocks below some headings."""
    chosen, inside = set(), False
    for number, line in enumerate(page.text.splitlines(), 1):
        inside = line in headings if line.startswith("## ") else inside
        chosen |= {number} if inside else set()
    return [block for block in page.blocks if block.line in chosen]


def test_the_quick_start_on_a_cluster(typed, cluster):
    said = typed(PAGES["docs/quickstart.md"].blocks)
    assert "✔ Succeeded: 3 rounds" in said
    assert "Job minimal" in said
    assert "condition met" in said
    assert "round_closed" in said
    assert "Completed" in said
    assert "federatedjobs" not in cluster.kubectl("get", "crd", "--output=name")


def test_the_page_about_installing(typed):
    said = typed(PAGES["docs/install.md"].blocks)
    assert "Phase:" in said
    assert "Succeeded" in said
    assert "minimal" in said
    assert "secret/fedcore-ca created" in said


def test_the_operator_and_a_first_job_as_on_eks(typed, cluster):
    said = typed(sections(PAGES["docs/eks.md"], EKS))
    assert "federatedjob.fedcore.dev/numpy condition met" in said
    assert "training" not in cluster.kubectl("get", "namespaces", "--output=name")
