"""Service, network policies, disruption budget, Secrets, claim: by equality."""

import pytest

from fedcore_operator.plan.children import has_all_of
from fedcore_operator.plan.disruption import worker_budget
from fedcore_operator.plan.network import network_policies
from fedcore_operator.plan.secrets import certificate_names, join_secret, tls_secret
from fedcore_operator.plan.service import service
from fedcore_operator.plan.storage import checkpoint_claim, has_volume
from support.operator_objects import SETTINGS, UID, make_job

WORKERS = {"fedcore.dev/job": "mnist", "fedcore.dev/role": "worker"}
COORDINATOR = {"fedcore.dev/job": "mnist", "fedcore.dev/role": "coordinator"}


def test_the_service_finds_one_attempt():
    made = service(make_job(), 7)
    assert made["metadata"]["name"] == "mnist"
    assert made["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {**COORDINATOR, "fedcore.dev/attempt": "7"},
        "ports": [
            {"name": "rpc", "port": 8470, "targetPort": "rpc", "protocol": "TCP"},
            {"name": "metrics", "port": 9464, "targetPort": "metrics", "protocol": "TCP"},
        ],
    }


def test_network_policies():
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    egress = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    settings = SETTINGS.model_copy(update={"monitoring_from": [peer], "worker_egress": [egress]})
    coordinator, workers = network_policies(make_job(), settings)
    assert coordinator["metadata"]["name"] == "mnist-coordinator"
    assert coordinator["spec"] == {
        "podSelector": {"matchLabels": COORDINATOR},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"podSelector": {"matchLabels": WORKERS}}], "ports": [{"protocol": "TCP", "port": 8470}]},
            {
                "from": [
                    {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "fedcore"}},
                        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "fedcore", "app.kubernetes.io/component": "operator"}},
                    },
                    peer,
                ],
                "ports": [{"protocol": "TCP", "port": 9464}],
            },
        ],
        "egress": [],
    }
    assert workers["metadata"]["name"] == "mnist-workers"
    assert workers["spec"] == {
        "podSelector": {"matchLabels": WORKERS},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": COORDINATOR}}], "ports": [{"protocol": "TCP", "port": 8470}]},
            {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            egress,
        ],
    }


def test_no_network_policies_where_they_are_switched_off():
    assert network_policies(make_job(), SETTINGS.model_copy(update={"network_policy": False})) == ()


@pytest.mark.parametrize(
    ("replicas", "percent", "available"),
    [
        pytest.param(8, 75, 6, id="a drain takes what the quorum can spare"),
        pytest.param(8, 100, 7, id="at 100 % it goes on, one at a time"),
        pytest.param(1, 100, 0, id="a single worker does not hold it up"),
    ],
)
def test_worker_budget(replicas, percent, available):
    made = worker_budget(make_job({"workers.replicas": replicas, "quorum.percent": percent}))
    assert made["spec"] == {
        "minAvailable": available,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": WORKERS},
    }


def test_secrets():
    job = make_job()
    join = join_secret(job, "token", b"pem")
    assert (join["metadata"]["name"], join["stringData"]) == ("mnist-0f3c5a7e-join", {"token": "token", "ca.crt": "pem"})
    assert join_secret(job, "token", None)["stringData"] == {"token": "token"}
    tls = tls_secret(job, 3, b"certificate", b"key")
    assert (tls["metadata"]["name"], tls["type"]) == ("mnist-0f3c5a7e-tls-3", "kubernetes.io/tls")
    assert tls["stringData"] == {"tls.crt": "certificate", "tls.key": "key"}
    assert join["immutable"]
    assert tls["immutable"]
    assert certificate_names(job) == ("mnist", "mnist.ns", "mnist.ns.svc", "coordinator.mnist.ns.svc", "localhost")


def test_the_checkpoint_claim():
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"storageClassName": "gp3", "resources": {"requests": {"storage": "1Gi"}}}}
    job = make_job({"coordinator.checkpoint.volumeClaimTemplate": template})
    made = checkpoint_claim(job)
    assert made["metadata"]["name"] == "mnist-checkpoint"
    assert made["metadata"]["labels"]["a"] == "b"
    assert made["spec"] == {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "resources": {"requests": {"storage": "1Gi"}}}
    assert has_volume(job)
    assert checkpoint_claim(make_job()) is None
    assert not has_volume(make_job())


@pytest.mark.parametrize(
    "made",
    [
        service(make_job(), 1),
        *network_policies(make_job(), SETTINGS),
        worker_budget(make_job()),
        join_secret(make_job(), "t", None),
        tls_secret(make_job(), 1, b"", b""),
        checkpoint_claim(make_job({"coordinator.checkpoint.volumeClaimTemplate": {}})),
    ],
    ids=lambda made: f"{made['kind']} {made['metadata']['name']}",
)
def test_every_child_has_one_owner_and_no_finalizer(made):
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (UID, True, True)
    assert "finalizers" not in made["metadata"]
    assert made["metadata"]["labels"]["fedcore.dev/job"] == "mnist"
    assert made["metadata"]["namespace"] == "ns"


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        pytest.param({"a": {"b": 1, "default": 2}, "l": [{"x": 1, "y": 2}], "more": 1}, True, id="with defaults and others' fields"),
        pytest.param({"a": {"b": 1}, "l": [{"x": 1}], "e": []}, True, id="as it was sent"),
        pytest.param({"a": {"b": 2}, "l": [{"x": 1}]}, False, id="a value changed"),
        pytest.param({"a": {"b": 1}, "l": [{"x": 1}, {"x": 2}]}, False, id="an entry added"),
        pytest.param({"a": {"b": 1}, "l": [{"x": 1}], "e": [1]}, False, id="an entry in what is to be empty"),
        pytest.param({"a": {"b": 1}}, False, id="a list is gone"),
        pytest.param({"a": 1, "l": [{"x": 1}]}, False, id="of another kind"),
    ],
)
def test_what_counts_as_there_already(live, expected):
    assert has_all_of(live, {"a": {"b": 1}, "l": [{"x": 1}], "e": []}) is expected
