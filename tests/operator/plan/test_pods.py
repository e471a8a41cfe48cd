"""The pods, by equality, and what a template changes."""

import json

import pytest

from fedcore.coordinator.options import Options as CoordinatorOptions
from fedcore.spec.status import Ending
from fedcore.worker.options import Options as WorkerOptions
from fedcore_operator.plan.jobinput import job_input
from fedcore_operator.plan.pods import coordinator_pod, images, worker_pod
from fedcore_operator.plan.reserved import COORDINATOR_ENV, RESERVED_PATHS, WORKER_ENV
from fedcore_operator.plan.shapes import shapes
from support.operator_objects import SETTINGS, UID, make_job, make_status

SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
TOLERATIONS = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    for taint in ("not-ready", "unreachable")
]
OWNER = {
    "apiVersion": "fedcore.dev/v1alpha1",
    "kind": "FederatedJob",
    "name": "mnist",
    "uid": UID,
    "controller": True,
    "blockOwnerDeletion": True,
}
LABELS = {
    "fedcore.dev/job": "mnist",
    "app.kubernetes.io/name": "fedcore",
    "app.kubernetes.io/instance": "mnist",
    "app.kubernetes.io/managed-by": "fedcore-operator",
}


def coordinator(changes=None, settings=SETTINGS, **fields):
    job = make_job(changes, **fields)
    return coordinator_pod(job, settings, images(job, settings), 2, "told")


def worker(changes=None, index=3, settings=SETTINGS, **fields):
    job = make_job(changes, **fields)
    return worker_pod(job, settings, images(job, settings), index, 2)


def env(pod):
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}


def probe(path, period, failures):
    return {"httpGet": {"path": path, "port": "metrics"}, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def test_the_coordinator():
    assert coordinator() == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "mnist-coordinator-2",
            "namespace": "ns",
            "labels": {**LABELS, "fedcore.dev/role": "coordinator", "fedcore.dev/attempt": "2"},
            "ownerReferences": [OWNER],
            "annotations": {
                "fedcore.dev/job-input": "told",
                "karpenter.sh/do-not-disrupt": "true",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "hostname": "coordinator",
            "subdomain": "mnist",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 60,
            "securityContext": SECURITY,
            "tolerations": TOLERATIONS,
            "containers": [
                {
                    "name": "coordinator",
                    "image": "coordinator:1",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["fedcore", "coordinator"],
                    "env": [
                        {"name": "HOME", "value": "/tmp"},
                        {"name": "FEDCORE_JOB", "value": "mnist"},
                        {"name": "FEDCORE_NAMESPACE", "value": "ns"},
                        {"name": "FEDCORE_ROLE", "value": "coordinator"},
                        {"name": "FEDCORE_ATTEMPT", "value": "2"},
                        {"name": "FEDCORE_TOKEN_FILE", "value": "/etc/fedcore/join/token"},
                        {"name": "FEDCORE_TERMINATION_FILE", "value": "/dev/termination-log"},
                        {"name": "FEDCORE_JOB_FILE", "value": "/etc/fedcore/job/job.json"},
                        {"name": "FEDCORE_RUN_DIR", "value": "/var/lib/fedcore/mnist-0f3c5a7e"},
                        {"name": "FEDCORE_TLS_CERT_FILE", "value": "/etc/fedcore/tls/tls.crt"},
                        {"name": "FEDCORE_TLS_KEY_FILE", "value": "/etc/fedcore/tls/tls.key"},
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "ports": [
                        {"name": "rpc", "containerPort": 8470, "protocol": "TCP"},
                        {"name": "metrics", "containerPort": 9464, "protocol": "TCP"},
                    ],
                    "startupProbe": probe("/readyz", 5, 60),
                    "readinessProbe": probe("/readyz", 5, 3),
                    "livenessProbe": probe("/healthz", 10, 3),
                    "volumeMounts": [
                        {"name": "fedcore-run", "mountPath": "/var/lib/fedcore"},
                        {"name": "fedcore-job", "mountPath": "/etc/fedcore/job", "readOnly": True},
                        {"name": "fedcore-join", "mountPath": "/etc/fedcore/join", "readOnly": True},
                        {"name": "fedcore-tls", "mountPath": "/etc/fedcore/tls", "readOnly": True},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }
            ],
            "volumes": [
                {"name": "fedcore-run", "emptyDir": {}},
                {
                    "name": "fedcore-job",
                    "downwardAPI": {
                        "items": [{"path": "job.json", "fieldRef": {"fieldPath": "metadata.annotations['fedcore.dev/job-input']"}}]
                    },
                },
                {"name": "fedcore-join", "secret": {"secretName": "mnist-0f3c5a7e-join", "defaultMode": 0o440}},
                {"name": "fedcore-tls", "secret": {"secretName": "mnist-0f3c5a7e-tls-2", "defaultMode": 0o440}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }


def test_a_worker():
    pod = worker()
    assert pod["metadata"] == {
        "name": "mnist-worker-3-2",
        "namespace": "ns",
        "labels": {**LABELS, "fedcore.dev/role": "worker", "fedcore.dev/index": "3", "fedcore.dev/attempt": "2"},
        "ownerReferences": [OWNER],
    }
    container = pod["spec"]["containers"][0]
    assert env(pod) == {
        "HOME": "/tmp",
        "FEDCORE_JOB": "mnist",
        "FEDCORE_NAMESPACE": "ns",
        "FEDCORE_ROLE": "worker",
        "FEDCORE_ATTEMPT": "2",
        "FEDCORE_TOKEN_FILE": "/etc/fedcore/join/token",
        "FEDCORE_TERMINATION_FILE": "/dev/termination-log",
        "FEDCORE_INDEX": "3",
        "FEDCORE_COORDINATOR": "https://mnist.ns.svc:8470",
        "FEDCORE_ENTRYPOINT": "my.task:make",
        "FEDCORE_READY_FILE": "/run/fedcore/ready",
        "FEDCORE_CA_FILE": "/etc/fedcore/join/ca.crt",
    }
    assert (container["image"], container["command"]) == ("worker:1", ["fedcore", "worker"])
    assert container["readinessProbe"]["exec"] == {"command": ["cat", "/run/fedcore/ready"]}
    assert not {"livenessProbe", "startupProbe", "ports"} & container.keys()
    assert (pod["spec"]["hostname"], pod["spec"]["terminationGracePeriodSeconds"]) == ("worker-3", 30)
    assert [one["topologyKey"] for one in pod["spec"]["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    assert "annotations" not in pod["metadata"]


@pytest.mark.parametrize(
    ("pod", "options", "reserved"),
    [(coordinator(), CoordinatorOptions, COORDINATOR_ENV), (worker(), WorkerOptions, WORKER_ENV)],
    ids=["coordinator", "worker"],
)
def test_the_processes_understand_their_environment(pod, options, reserved):
    options.read(env(pod))
    ours = {name for name in env(pod) if name.startswith("FEDCORE_")}
    assert ours <= set(reserved)
    for mount in pod["spec"]["containers"][0]["volumeMounts"]:
        assert mount["mountPath"] == "/tmp" or mount["mountPath"].startswith(RESERVED_PATHS)


def test_without_tls_there_is_a_token_and_no_certificate():
    off = {"security.tls": False}
    assert "tls" not in json.dumps(coordinator(off)).lower()
    assert env(worker(off))["FEDCORE_COORDINATOR"] == "http://mnist.ns.svc:8470"
    assert "FEDCORE_CA_FILE" not in env(worker(off))


@pytest.mark.parametrize(
    ("checkpoint", "source"),
    [
        pytest.param({}, {"emptyDir": {}}, id="none"),
        pytest.param({"claimName": "mine"}, {"persistentVolumeClaim": {"claimName": "mine"}}, id="the user's"),
        pytest.param({"volumeClaimTemplate": {}}, {"persistentVolumeClaim": {"claimName": "mnist-checkpoint"}}, id="the job's"),
    ],
)
def test_where_the_run_directory_lies(checkpoint, source):
    assert coordinator({"coordinator.checkpoint": checkpoint})["spec"]["volumes"][0] == {"name": "fedcore-run", **source}


def test_images_are_those_that_were_recorded_else_the_job_s_else_the_chart_s():
    assert worker({"workers.image": "mine:2"})["spec"]["containers"][0]["image"] == "mine:2"
    recorded = make_status(images={"coordinator": "c:0", "worker": "w:0"})
    assert worker({"workers.image": "mine:2"}, status=recorded)["spec"]["containers"][0]["image"] == "w:0"
    assert coordinator(status=recorded)["spec"]["containers"][0]["image"] == "c:0"


def test_settings_reach_the_pods():
    settings = SETTINGS.model_copy(update={"metrics_monitored": True, "image_pull_secrets": ("a",), "worker_pull_policy": "Always"})
    assert env(coordinator(settings=settings))["FEDCORE_METRICS_MONITORED"] == "1"
    assert coordinator(settings=settings)["spec"]["imagePullSecrets"] == [{"name": "a"}]
    assert worker(settings=settings)["spec"]["containers"][0]["imagePullPolicy"] == "Always"


def test_a_template_is_laid_over():
    template = {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "securityContext": {"runAsUser": 1000},
            "topologySpreadConstraints": [],
            "tolerations": [{"key": "spot", "effect": "NoSchedule", "operator": "Exists"}],
            "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
            "containers": [
                {"name": "worker", "resources": {"limits": {"nvidia.com/gpu": 1}}, "env": [{"name": "A", "value": "1"}]},
                {"name": "sidecar", "image": "s"},
            ],
        },
    }
    spec = worker({"workers.template": template})["spec"]
    assert spec["nodeSelector"] == {"gpu": "yes"}
    assert spec["securityContext"] == {**SECURITY, "runAsUser": 1000}
    assert (spec["topologySpreadConstraints"], spec["tolerations"][2]["key"]) == ([], "spot")
    assert spec["volumes"][-1] == {"name": "tmp", "emptyDir": {"medium": "Memory"}}
    assert [one["name"] for one in spec["containers"]] == ["worker", "sidecar"]
    assert spec["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert spec["containers"][0]["env"][-1] == {"name": "A", "value": "1"}
    assert worker({"workers.template": template})["metadata"]["labels"]["team"] == "a"


DATA = [
    {"indexes": "0-3", "claimName": "site-{index}", "mountPath": "/data"},
    {"indexes": "3", "volume": {"nfs": {"server": "s", "path": "/p"}}, "mountPath": "/more", "readOnly": False, "nodeSelector": {"a": "b"}},
    {"indexes": "3", "resources": {"limits": {"memory": "8Gi"}}},
    {"indexes": "900", "nodeSelector": {"c": "d"}},
]


def test_data_is_mounted_where_its_worker_is():
    template = {"spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi", "cpu": "1"}}}]}}
    pod = worker({"workers.data": DATA, "workers.template": template})
    assert pod["spec"]["volumes"][-2:] == [
        {"name": "fedcore-data-0", "persistentVolumeClaim": {"claimName": "site-3"}},
        {"name": "fedcore-data-1", "nfs": {"server": "s", "path": "/p"}},
    ]
    assert pod["spec"]["containers"][0]["volumeMounts"][-2:] == [
        {"name": "fedcore-data-0", "mountPath": "/data", "readOnly": True},
        {"name": "fedcore-data-1", "mountPath": "/more", "readOnly": False},
    ]
    assert pod["spec"]["nodeSelector"] == {"a": "b"}
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"memory": "8Gi", "cpu": "1"}}
    assert env(pod)["FEDCORE_DATA"] == "/data"
    assert "FEDCORE_DATA" not in env(worker())


def test_each_shape_is_tried_once():
    claim = {"coordinator.checkpoint.volumeClaimTemplate": {"spec": {}}}
    tried = shapes(make_job({"workers.data": DATA, **claim}), SETTINGS)
    assert [one["metadata"]["name"] for one in tried] == [
        "mnist-coordinator-1",
        "mnist-worker-0-1",
        "mnist-worker-3-1",
        "mnist-worker-900-1",
        "mnist-checkpoint",
    ]
    assert [one["metadata"]["name"] for one in shapes(make_job(), SETTINGS)] == ["mnist-coordinator-1", "mnist-worker-0-1"]


def test_a_queue_groups_the_pods():
    metadata = worker(queue="team")["metadata"]
    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert metadata["labels"]["kueue.x-k8s.io/pod-group-name"] == "mnist"
    assert metadata["annotations"] == {"kueue.x-k8s.io/pod-group-total-count": "5"}


def test_the_job_input_reads_back(tmp_path):
    from fedcore.coordinator.jobinput import read_job_input

    job = make_job({"workers.template": {"spec": {}}, "workers.data": DATA, "quorum.percent": 50})
    ending = Ending(reason="DeadlineExceeded", message="m", since="2026-11-25T12:00:00Z")
    path = tmp_path / "job.json"
    path.write_text(job_input(job, {3, 0}, ending))
    told = read_job_input(path)
    assert (told.uid, told.generation, told.gone, told.end) == (UID, 3, frozenset({0, 3}), ("DeadlineExceeded", "m"))
    assert told.job.spec.quorum == job.spec.quorum
    assert (told.job.spec.workers.template, told.job.spec.workers.data) == (None, ())
    assert job_input(job, (0, 3), ending) == path.read_text(), "the same for the same"
