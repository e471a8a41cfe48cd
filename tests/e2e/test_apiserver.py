"""The CRD and the operator's objects before a real API server: what it stores, what it refuses, and in which words."""

import json
import subprocess

import pytest

from fedcore.crd import definition_yaml
from fedcore.spec import Status
from fedcore_operator.api.job import parse_job
from fedcore_operator.decide.answers import Answer, Verdict, verdict
from fedcore_operator.plan.disruption import worker_budget
from fedcore_operator.plan.jobinput import job_input
from fedcore_operator.plan.network import network_policies
from fedcore_operator.plan.pods import coordinator_pod, images
from fedcore_operator.plan.secrets import join_secret, tls_secret
from fedcore_operator.plan.service import service
from fedcore_operator.plan.shapes import shapes
from support.cluster_model import SETTINGS

pytestmark = pytest.mark.apiserver
SPEC = {"rounds": 5, "task": {"entrypoint": "my.task:make"}, "workers": {"replicas": 4}}


class Kubectl:
    """kubectl in a namespace of its own, with the restricted pod security level."""

    def __init__(self, kubernetes, namespace):
        self.kubernetes, self.namespace = kubernetes, namespace

    def __call__(self, *arguments, given=None):
        command = [self.kubernetes.kubectl_program, f"--namespace={self.namespace}", *arguments]
        text = None if given is None else given if isinstance(given, str) else json.dumps(given)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=180, env=self.kubernetes.environment())

    def done(self, *arguments, given=None):
        result = self(*arguments, given=given)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refused(self, *arguments, given=None):
        result = self(*arguments, given=given)
        assert result.returncode != 0, result.stdout
        return result.stderr

    def job(self, name="mnist"):
        return parse_job(json.loads(self.done("get", "fj", name, "-o", "json")))


@pytest.fixture(scope="module")
def kubectl(apiserver):
    with apiserver.namespace() as namespace:
        kubectl = Kubectl(apiserver, namespace)
        kubectl.done("apply", "-f", "-", given=definition_yaml())
        kubectl.done("wait", "--for=condition=Established", "crd/federatedjobs.fedcore.dev", "--timeout=180s")
        yield kubectl


@pytest.fixture
def fresh(kubectl):
    kubectl("delete", "fj", "--all")
    return kubectl


def job(changes=None, *, name="mnist"):
    spec = json.loads(json.dumps(SPEC))
    for path, value in (changes or {}).items():
        *way, last = path.split(".")
        around = spec
        for step in way:
            around = around.setdefault(step, {})
        around[last] = value
    return {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": name}, "spec": spec}


def begun(kubectl):
    """Let the stored job be one that has started."""
    status = {"status": {"startTime": "2026-11-25T12:00:00Z"}}
    kubectl.done("patch", "fj", "mnist", "--subresource=status", "--type=merge", "-p", json.dumps(status))


def test_defaults_are_those_of_the_models(fresh):
    fresh.done("create", "-f", "-", given=job())
    stored = json.loads(fresh.done("get", "fj", "mnist", "-o", "json"))["spec"]
    assert stored == parse_job({**json.loads(fresh.done("get", "fj", "mnist", "-o", "json"))}).spec.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"roundz": 1}, 'unknown field "spec.roundz"', id="unknown field"),
        pytest.param({"rounds": "5"}, "spec.rounds", id="text for a number"),
        pytest.param({"rounds": 0}, "should be greater than or equal to 1", id="out of range"),
        pytest.param({"task.entrypoint": "my.task"}, "spec.task.entrypoint", id="no entrypoint"),
        pytest.param({"quorum.minWorkers": 5}, "quorum.minWorkers must not be above workers.replicas", id="a quorum out of reach"),
        pytest.param({"workload.minEpochs": 2}, "epochs must lie between", id="epochs below the least"),
        pytest.param({"workload.maxEpochs": 0.5}, "epochs must lie between", id="epochs above the most"),
        pytest.param({"quorum.graceSeconds": 700}, "graceSeconds must not be above", id="grace beyond the deadline"),
        pytest.param(
            {"coordinator.checkpoint": {"claimName": "a", "volumeClaimTemplate": {}}}, "exclude each other", id="two checkpoint volumes"
        ),
        pytest.param(
            {"workers.data": [{"indexes": "0", "claimName": "a", "volume": {"nfs": {}}, "mountPath": "/d"}]}, "exclude each other", id="two"
        ),
        pytest.param({"workers.data": [{"indexes": "0", "claimName": "a"}]}, "set both or neither", id="nowhere to mount"),
        pytest.param(
            {"workers.data": [{"indexes": "0", "volume": {"hostPath": {"path": "/"}}, "mountPath": "/d"}]}, "hostPath", id="host path"
        ),
        pytest.param({"metrics.perWorker": True}, "spec.metrics.perWorker", id="a boolean"),
    ],
)
def test_what_is_wrong_is_refused_at_apply(fresh, changes, words):
    assert words in fresh.refused("create", "-f", "-", given=job(changes))


@pytest.mark.parametrize("name", ["9-first", "x" * 46, "with.dots"])
def test_names_that_pods_could_not_have_are_refused(fresh, name):
    assert "a job's name has at most 45 small letters" in fresh.refused("create", "-f", "-", given=job(name=name))


FROZEN = [
    ("task.parameters", {"a": "b"}),
    ("task.entrypoint", "other:make"),
    ("workload.policy", "fixed"),
    ("coordinator.template", {"spec": {"nodeSelector": {"a": "b"}}}),
    ("coordinator.checkpoint.claimName", "c"),
    ("workers.image", "other:1"),
    ("workers.template", {"metadata": {"labels": {"a": "b"}}}),
    ("security.tls", False),
]


@pytest.mark.parametrize(("path", "value"), FROZEN, ids=[path for path, _ in FROZEN])
def test_what_is_immutable_may_change_until_the_job_starts(fresh, path, value):
    fresh.done("create", "-f", "-", given=job())
    fresh.done("replace", "-f", "-", given=job({path: value}))
    fresh.done("replace", "-f", "-", given=job())
    begun(fresh)
    assert "is immutable once the job has started" in fresh.refused("replace", "-f", "-", given=job({path: value}))


def test_a_template_is_compared_down_to_its_leaves(fresh):
    deep = {"spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}]}}
    fresh.done("create", "-f", "-", given=job({"workers.template": deep}))
    begun(fresh)
    deeper = json.loads(json.dumps(deep).replace("1Gi", "2Gi"))
    assert "spec.workers.template is immutable" in fresh.refused("replace", "-f", "-", given=job({"workers.template": deeper}))
    assert "spec.workers.template is immutable" in fresh.refused("replace", "-f", "-", given=job())


def test_what_may_change_while_the_job_runs(fresh):
    one, two = ({"indexes": str(index), "claimName": f"site-{index}", "mountPath": "/data"} for index in (0, 1))
    fresh.done("create", "-f", "-", given=job({"workers.data": [one]}))
    begun(fresh)
    allowed = {
        "workers.replicas": 8,
        "rounds": 9,
        "quorum.percent": 50,
        "suspend": True,
        "cleanPodPolicy": "All",
        "workers.data": [two, one],
    }
    fresh.done("replace", "-f", "-", given=job(allowed))
    assert "rounds may only grow" in fresh.refused("replace", "-f", "-", given=job({**allowed, "rounds": 8}))
    assert "may only be added to" in fresh.refused("replace", "-f", "-", given=job({**allowed, "workers.data": [two]}))
    refused = {"type": "Accepted", "status": "False", "reason": "InvalidJob", "message": "", "lastTransitionTime": "2026-11-25T12:00:00Z"}
    patch = json.dumps({"status": {"conditions": [refused]}})
    fresh.done("patch", "fj", "mnist", "--subresource=status", "--type=merge", "-p", patch)
    fresh.done("replace", "-f", "-", given=job({**allowed, "workers.data": [two]}))
    allowed["workers.data"] = [two]
    assert "managedBy is immutable" in fresh.refused("replace", "-f", "-", given=job({**allowed, "managedBy": "kueue"}))


def test_scale_keeps_the_quorum_in_reach(fresh):
    fresh.done("create", "-f", "-", given=job({"quorum.minWorkers": 3}))
    fresh.done("scale", "fj/mnist", "--replicas=6")
    assert fresh.job().spec.workers.replicas == 6
    assert "quorum.minWorkers must not be above" in fresh.refused("scale", "fj/mnist", "--replicas=2")


def test_a_status_is_stored_as_it_is_and_fills_the_columns(fresh):
    fresh.done("create", "-f", "-", given=job())
    status = Status.model_validate(
        {
            "phase": "Running",
            "startTime": "2026-11-25T12:00:00Z",
            "progress": {"display": "7/20", "accuracy": "0.962"},
            "workers": {"display": "3/4"},
            "restarts": 2,
            "conditions": [
                {"type": "QuorumMet", "status": "True", "reason": "Enough", "lastTransitionTime": "2026-11-25T12:00:00Z", "message": "m"}
            ],
        }
    )
    body = {key: value for key, value in job().items() if key != "spec"} | {"status": status.to_api()}
    fresh.done("apply", "--server-side", "--subresource=status", "--field-manager=fedcore-operator", "-f", "-", given=body)
    assert fresh.job().status == status
    line = fresh.done("get", "fj", "mnist", "--no-headers").split()
    assert line[:7] == ["mnist", "Running", "7/20", "3/4", "True", "0.962", "2"]


def test_all_objects_of_a_job_are_taken(fresh):
    data = [
        {"indexes": "0", "claimName": "site-{index}", "mountPath": "/data"},
        {"indexes": "1-2", "volume": {"configMap": {"name": "x"}}, "mountPath": "/data", "nodeSelector": {"zone": "a"}},
        {"indexes": "3", "resources": {"limits": {"memory": "1Gi"}}},
    ]
    claim = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    template = {"spec": {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "1"}}}]}}
    changes = {"workers.data": data, "coordinator.checkpoint.volumeClaimTemplate": claim, "workers.template": template}
    fresh.done("create", "-f", "-", given=job(changes))
    stored = fresh.job()
    others = [
        service(stored, 1),
        *network_policies(stored, SETTINGS),
        worker_budget(stored),
        join_secret(stored, "token", b"ca"),
        tls_secret(stored, 1, b"certificate", b"key"),
        coordinator_pod(stored, SETTINGS, images(stored, SETTINGS), 2, job_input(stored, (1,), None)),
    ]
    for manifest in [*shapes(stored, SETTINGS), *others]:
        fresh.done("create", "--dry-run=server", "--validate=strict", "-f", "-", given=manifest)


@pytest.mark.parametrize(
    ("template", "reason", "words"),
    [
        pytest.param({"spec": {"containers": [{"name": "worker", "resorces": {}}]}}, "InvalidPodTemplate", "resorces", id="a typo"),
        pytest.param(
            {"spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": "much"}}}]}},
            "InvalidPodTemplate",
            "quantities must match",
            id="a value",
        ),
        pytest.param({"spec": {"hostNetwork": True}}, "PodForbidden", "violates PodSecurity", id="more than the namespace allows"),
    ],
)
def test_a_dry_run_says_what_is_wrong_with_a_template(fresh, template, reason, words):
    fresh.done("create", "-f", "-", given=job({"workers.template": template}))
    stored = fresh.job()
    url = f"/api/v1/namespaces/{fresh.namespace}/pods?dryRun=All&fieldValidation=Strict"
    worker = next(shape for shape in shapes(stored, SETTINGS) if "worker" in shape["metadata"]["name"])
    said = fresh("create", "--raw", url, "-f", "-", given=worker).stderr
    code = {"InvalidPodTemplate": 422 if "BadRequest" not in said else 400, "PodForbidden": 403}[reason]
    found = verdict(Answer(code, said))
    assert isinstance(found, Verdict)
    assert found.reason == reason
    assert words in said
