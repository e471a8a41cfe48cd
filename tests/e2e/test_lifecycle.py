"""A release of the chart from an older version to its end, with jobs that outlive it, on a cluster of its own."""

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from fedcore.certificates import authority
from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.fixtures import own_cluster
from tests.cluster.images import reference
from tests.cluster.places import REPOSITORY
from tests.e2e.conftest import CHART, image_values
from tests.e2e.figures import record_figure
from tests.e2e.jobs import apply_job

pytestmark = pytest.mark.e2e

NODES = 2
OLD = "0.0.9"
NEW_FIELD = "ttlSecondsAfterFinished"
"""The older CRD lacks it."""
ROUNDS = 200
SLOW, FAST = "1.5", "0"
"""Seconds for a round: slow, the job outlasts all that is done to it, on a busy machine too."""
SYSTEM, JOBS = "fedcore-system", "jobs"
OPERATOR = "app.kubernetes.io/component=operator,pod-template-hash"


@pytest.fixture(scope="module")
def cluster():
    """Not the session's: its release serves all namespaces."""
    with own_cluster(NODES, "operator", "coordinator", "worker-numpy") as running:
        yield running


@pytest.fixture(autouse=True)
def releases(cluster):
    """Remove what a test that failed left: a release would serve the jobs of the next one."""
    yield
    for release in json.loads(cluster.helm("list", "--all-namespaces", "--output=json")):
        cluster.helm("uninstall", release["name"], f"--namespace={release['namespace']}", "--wait", "--timeout=180s")
    cluster.kubectl("delete", "crd/federatedjobs.fedcore.dev", "--ignore-not-found")


@pytest.fixture
def old_chart(tmp_path):
    """The chart as an older version might have been, with a field less in the CRD."""
    chart = shutil.copytree(CHART, tmp_path / "fedcore")
    versions = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(versions | {"version": OLD, "appVersion": OLD}))
    path = chart / "files/crds/federatedjobs.yaml"
    crd = yaml.safe_load(path.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert NEW_FIELD in spec["properties"]
    assert NEW_FIELD not in spec["required"]
    del spec["properties"][NEW_FIELD]
    path.write_text(yaml.safe_dump(crd))
    return chart


def values(*more):
    images = {"image": "operator", "jobs.coordinatorImage": "coordinator", "jobs.workerImage": "worker-numpy"}
    settings = [setting for place, name in images.items() for setting in image_values(place, reference(name))]
    return ["--wait", "--timeout=180s", *settings, "--set=progress.pollSeconds=1,log.format=text", *more]


def make_namespaces(cluster, *names):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name in names))


def set_pace(cluster, seconds):
    sources = {name: (REPOSITORY / "tests/support" / name).read_text("utf-8") for name in ("drift_task.py", "paced_task.py")}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "task"}, "data": {**sources, "seconds": seconds}}
    cluster.apply(config, namespace=JOBS)


def apply_paced_job(cluster, name):
    set_pace(cluster, SLOW)
    mount = {"name": "task", "mountPath": "/task", "readOnly": True}
    container = {"name": "worker", "env": [{"name": "PYTHONPATH", "value": "/task"}], "volumeMounts": [mount]}
    template = {"spec": {"containers": [container], "volumes": [{"name": "task", "configMap": {"name": "task"}}]}}
    claim = {"spec": {"storageClassName": "local", "resources": {"requests": {"storage": "10Mi"}}}}
    spec = {
        "rounds": ROUNDS,
        "task": {"entrypoint": "paced_task:task", "parameters": {"values": "100"}},
        "quorum": {"percent": 60},
        "coordinator": {"checkpoint": {"volumeClaimTemplate": claim}},
        "workers": {"replicas": 3, "template": template},
    }
    return apply_job(cluster, JOBS, name, spec)


def uids(job):
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in job.get("pods", "--selector=fedcore.dev/job")["items"]}


def operator_uids(cluster, namespace):
    return {pod["metadata"]["uid"] for pod in cluster.get("pods", f"--selector={OPERATOR}", f"--namespace={namespace}")["items"]}


@contextmanager
def timed(what):
    """Record how long something took."""
    started = time.monotonic()
    yield
    record_figure(what, time.monotonic() - started, "s")


def trains_on(job):
    """Wait until the coordinator closes rounds that it had not closed: it is asked, not the operator."""

    def closed():
        return job.kubectl("logs", f"{job.name}-coordinator-1").count("round_closed")

    before = closed()
    wait_until("rounds that close", lambda: closed() > before + 1)


def accepts_new_field(cluster):
    job = {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": "new"}}
    spec = {"rounds": 1, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 1}, NEW_FIELD: 60}
    try:
        cluster.kubectl("create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=json.dumps(job | {"spec": spec}))
    except ClusterError as error:
        if f'unknown field "spec.{NEW_FIELD}"' in str(error):
            return False
        raise
    return True


def every_object(cluster):
    """All objects of all kinds that can be listed."""
    kinds = cluster.kubectl("api-resources", "--verbs=list,get", "--output=name").split()
    return cluster.get(",".join(kind for kind in kinds if kind != "componentstatuses"), "--all-namespaces")["items"]


def assert_unmarked(cluster):
    """No finalizer but Kubernetes' own on any object, and no mark of kopf."""
    objects = every_object(cluster)
    assert {"FederatedJob", "CustomResourceDefinition", "Pod", "Secret", "NetworkPolicy"} <= {one["kind"] for one in objects}
    for one in objects:
        metadata = one["metadata"]
        name = f"{one['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        foreign = [one for one in metadata.get("finalizers", ()) if not re.search(r"\b(kubernetes|k8s)\.io(/|$)", one)]
        assert foreign == [], name
        assert not [mark for mark in {**metadata.get("annotations", {}), **metadata.get("labels", {})} if "kopf" in mark], name


@pytest.mark.long
def test_jobs_outlive_the_release_that_started_them(cluster, old_chart):
    make_namespaces(cluster, SYSTEM, JOBS)
    release = ("fedcore", CHART, f"--namespace={SYSTEM}")
    cluster.helm("install", "fedcore", old_chart, f"--namespace={SYSTEM}", *values())
    assert not accepts_new_field(cluster)
    job = apply_paced_job(cluster, "long")
    job.wait_round(3)
    pods, operator = uids(job), operator_uids(cluster, SYSTEM)
    assert len(pods) == 4

    # An upgrade: the CRD has its new field, the operator is another one, the pods of the job are the same.
    with timed("helm upgrade with a changed CRD, until the new operator is ready"):
        cluster.helm("upgrade", *release, *values())
    assert accepts_new_field(cluster)
    assert not operator & operator_uids(cluster, SYSTEM)
    reached = job.status().progress.round
    job.wait_round(reached + 2)
    assert uids(job) == pods
    assert_unmarked(cluster)

    # Without a release: CRD, job and pods stay, and rounds go on, with a worker less.
    with timed("helm uninstall with a running job"):
        cluster.helm("uninstall", "fedcore", f"--namespace={SYSTEM}", "--wait", "--timeout=180s")
    wait_until("the operator's end", lambda: not operator_uids(cluster, SYSTEM))
    trains_on(job)
    assert uids(job) == pods
    job.kubectl("delete", "pod", "long-worker-1-1", "--wait=true")
    trains_on(job)

    # Another release, under another name, has to be told that the CRD is its own now, and goes on with the job.
    with pytest.raises(ClusterError, match="exists and cannot be imported"):
        cluster.helm("install", "other", CHART, f"--namespace={SYSTEM}", *values())
    with timed("helm install of another release, until a worker that died without an operator is replaced"):
        cluster.helm("install", "other", CHART, f"--namespace={SYSTEM}", "--take-ownership", *values())
        job.wait("worker's replacement", lambda status: status.workers.ready == 3 and status.workers.disruptions == 1)
    # Workers trust the authority that they knew from the start: the new coordinator's certificate is of the same.
    job.delete_pod("coordinator-1")
    job.wait("second attempt", lambda status: status.coordinator.attempt == 2 and status.coordinator.ready)
    set_pace(cluster, FAST)
    assert job.wait_end() == "Completed"
    status = job.status()
    assert (status.result.rounds, status.restarts) == (ROUNDS, 0)
    assert (status.workers.disruptions, status.coordinator.disruptions, status.workers.restarts) == (1, 1, 0)
    kept = {name: uid for name, uid in pods.items() if name not in {"long-worker-1-1", "long-coordinator-1"}}
    assert kept.items() <= uids(job).items(), "workers that nobody touched"
    assert_unmarked(cluster)

    # And nothing hangs: neither the job, nor its namespace with a running one, nor the release, nor the CRD with all jobs.
    with timed("kubectl delete of a finished job"):
        job.kubectl("delete", "fj", "long", "--timeout=120s")
    running = apply_paced_job(cluster, "running")
    running.wait_quorum()
    with timed("kubectl delete of a namespace with a running job, until it is gone"):
        cluster.kubectl("delete", f"namespace/{JOBS}", "--timeout=120s")
    cluster.helm("uninstall", "other", f"--namespace={SYSTEM}", "--wait", "--timeout=180s")
    cluster.kubectl("delete", "crd/federatedjobs.fedcore.dev", "--timeout=120s")
    wait_until("all that was deleted to be gone", lambda: not any("deletionTimestamp" in one["metadata"] for one in every_object(cluster)))


@pytest.fixture
def digest(cluster):
    """Make the operator's image known to the nodes by its digest too, as a registry would; return that."""
    known = reference("operator")
    images = ("ctr", "--namespace=k8s.io", "images")
    digest = cluster.machine(cluster.nodes[0]).run(*images, "list", f"name=={known}").splitlines()[1].split()[2]
    for node in cluster.nodes:
        cluster.machine(node).run(*images, "tag", known, f"{known.rsplit(':', 1)[0]}@{digest}")
    return digest


def allowed(cluster, account, namespace):
    """Whether an account may list jobs in a namespace."""
    try:
        cluster.kubectl("get", "federatedjobs", f"--as={account}", f"--namespace={namespace}")
    except ClusterError as error:
        assert "Forbidden" in str(error), error  # noqa: PT017
        return False
    return True


def test_two_releases_serve_their_own_namespaces_and_nothing_else(cluster, digest):
    make_namespaces(cluster, "one-system", "two-system", "y", "b", "nobody")
    cluster.kubectl("apply", "--server-side", f"--filename={REPOSITORY}/crds/federatedjobs.yaml")
    pair = authority("ours", now=datetime.now(UTC), valid=timedelta(days=9))
    given = {"ca.crt": pair.certificate.decode(), "ca.key": pair.key.decode(), "token.key": "0f" * 32}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "given"}, "stringData": given}
    cluster.apply(secret, namespace="one-system")

    # Neither needs a right of the whole cluster: the CRD is there, and nothing is added to Kubernetes' own roles.
    lesser = "--set=crds.install=false,rbac.aggregate=false"
    served = {"one": "y", "two": "b"}
    own = {"one": ["--set=ca.existingSecret=given"], "two": [f"--set=image.digest={digest}"]}

    def install(name):
        cluster.helm(
            "install", name, CHART, f"--namespace={name}-system", *values(lesser, f'--set-json=namespaces=["{served[name]}"]', *own[name])
        )

    with ThreadPoolExecutor() as pool:
        list(pool.map(install, served))
    jobs = {
        namespace: apply_job(cluster, namespace, "digits", {"rounds": 2, "workers": {"replicas": 2}}) for namespace in ("nobody", "y", "b")
    }
    assert [jobs[namespace].wait_end() for namespace in served.values()] == ["Completed", "Completed"]
    assert "status" not in jobs["nobody"].get("fj", "digits")
    assert jobs["nobody"].get("pods")["items"] == []

    rights = {name: [place for place in jobs if allowed(cluster, f"system:serviceaccount:{name}-system:{name}", place)] for name in served}
    assert rights == {name: [namespace] for name, namespace in served.items()}
    for kind in ("clusterroles", "clusterrolebindings"):
        assert cluster.get(kind, "--selector=app.kubernetes.io/name=fedcore")["items"] == []
    secrets = [one["metadata"]["name"] for one in cluster.get("secrets", "--namespace=one-system")["items"]]
    assert "given" in secrets
    assert "fedcore-ca" not in secrets
    (pod,) = cluster.get("pods", f"--selector={OPERATOR}", "--namespace=two-system")["items"]
    assert pod["spec"]["containers"][0]["image"].endswith(f"/fedcore-operator@{digest}")
    cluster.helm("test", "one", "--namespace=one-system", "--timeout=180s")
