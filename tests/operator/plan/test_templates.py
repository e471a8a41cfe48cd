"""How a template is laid over, and what it must not say."""

import pytest

from fedcore_operator.plan.merge import overlay
from fedcore_operator.plan.reserved import template_problems
from support.operator_objects import make_spec


@pytest.mark.parametrize(
    ("default", "user", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}, id="the user's value wins"),
        pytest.param({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}, id="maps are merged"),
        pytest.param({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}, id="a list without a key is replaced"),
        pytest.param(
            {"containers": [{"name": "w", "image": "i"}]},
            {"containers": [{"name": "x"}, {"name": "w", "tty": True}]},
            {"containers": [{"name": "w", "image": "i", "tty": True}, {"name": "x"}]},
            id="containers are merged by name, ours first",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {}}]},
            {"env": [{"name": "A", "valueFrom": {}}]},
            id="a variable has one source",
        ),
        pytest.param(
            {"volumes": [{"name": "tmp", "emptyDir": {}}]},
            {"volumes": [{"name": "tmp", "nfs": {}}]},
            {"volumes": [{"name": "tmp", "nfs": {}}]},
            id="a volume too",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "a", "mountPath": "/x", "readOnly": True}]},
            {"volumeMounts": [{"name": "b", "mountPath": "/x"}, {"name": "a", "mountPath": "/y"}]},
            {"volumeMounts": [{"name": "b", "mountPath": "/x"}, {"name": "a", "mountPath": "/y"}]},
            id="mounts by path",
        ),
        pytest.param(
            {"tolerations": [{"key": "k", "effect": "e", "tolerationSeconds": 60}]},
            {"tolerations": [{"key": "k", "effect": "e", "tolerationSeconds": 5}, {"key": "k", "effect": "f"}]},
            {"tolerations": [{"key": "k", "effect": "e", "tolerationSeconds": 5}, {"key": "k", "effect": "f"}]},
            id="tolerations by key and effect",
        ),
        pytest.param(
            {"readinessProbe": {"exec": {}, "periodSeconds": 5}},
            {"readinessProbe": {"httpGet": {}}},
            {"readinessProbe": {"httpGet": {}}},
            id="a probe of another kind replaces ours",
        ),
        pytest.param({"a": {"b": 1}}, {"a": None}, {"a": None}, id="null takes away"),
    ],
)
def test_overlay(default, user, expected):
    before = repr(default), repr(user)
    assert overlay(default, user) == expected
    assert (repr(default), repr(user)) == before


def containers(**fields):
    return {"spec": {"containers": [{"name": "worker", **fields}]}}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param({"status": {}}, "spec.workers.template.status: unknown field", id="no field of a template"),
        pytest.param({"spec": []}, "template.spec: has to be a mapping", id="no mapping"),
        pytest.param({"spec": {"restartPolicy": "Always"}}, "spec.restartPolicy: belongs to the operator", id="restartPolicy"),
        pytest.param({"spec": {"hostname": "x"}}, "spec.hostname: belongs", id="hostname"),
        pytest.param({"spec": {"subdomain": "x"}}, "spec.subdomain: belongs", id="subdomain"),
        pytest.param({"metadata": {"name": "x"}}, "metadata.name: belongs", id="name"),
        pytest.param({"metadata": {"labels": {"fedcore.dev/job": "x"}}}, "labels: fedcore.dev/job belongs", id="label"),
        pytest.param({"metadata": {"annotations": {"fedcore.dev/x": "x"}}}, "annotations: fedcore.dev/x belongs", id="annotation"),
        pytest.param({"metadata": {"labels": []}}, "metadata.labels: has to be a mapping", id="labels of another kind"),
        pytest.param({"metadata": None}, "metadata: has to be a mapping", id="null for metadata"),
        pytest.param({"spec": {"containers": {}}}, "spec.containers: has to be a list", id="containers of another kind"),
        pytest.param({"spec": {"containers": ["x"]}}, "spec.containers: has to be a list of mappings", id="a text for a container"),
        pytest.param({"spec": {"volumes": [{"name": "fedcore-run"}]}}, "the name fedcore-run belongs", id="a volume of ours"),
        pytest.param(containers(env=[{"name": "FEDCORE_INDEX"}]), "FEDCORE_INDEX is set by the operator", id="a variable of ours"),
        pytest.param(containers(env={}), "containers[0].env: has to be a list", id="env of another kind"),
        pytest.param(containers(volumeMounts=[{"mountPath": "/etc/fedcore/x"}]), "/etc/fedcore/x belongs", id="a mount of ours"),
        pytest.param(containers(volumeMounts=[{"mountPath": "//run/./fedcore"}]), "belongs to the operator", id="in other words"),
    ],
)
def test_what_a_template_must_not_say(template, words):
    (problem,) = template_problems(make_spec({"workers.template": template}))
    assert words in problem


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"metadata": {"labels": {"team": "a"}}, "spec": {"nodeSelector": {"a": "b"}}}, id="place"),
        pytest.param(containers(env=[{"name": "FEDCORE_DATA", "value": "/d"}, {"name": "A"}]), id="variables of the user's"),
        pytest.param({"spec": {"containers": [{"name": "other", "env": [{"name": "FEDCORE_INDEX"}]}]}}, id="another container's variables"),
        pytest.param(containers(volumeMounts=[{"mountPath": "/etc/fedcorex"}, {"mountPath": "/data"}]), id="paths that only look alike"),
    ],
)
def test_what_it_may_say(template):
    assert template_problems(make_spec({"workers.template": template})) == []


def test_mounts_of_data_and_claims_are_looked_at_too():
    data = [{"indexes": "0", "claimName": "a", "mountPath": "/var/lib/fedcore/data"}]
    claim = {"metadata": {"name": "x"}, "spec": []}
    problems = template_problems(make_spec({"workers.data": data, "coordinator.checkpoint.volumeClaimTemplate": claim}))
    assert [problem.split(":")[0] for problem in problems] == [
        "spec.workers.data[0].mountPath",
        "spec.coordinator.checkpoint.volumeClaimTemplate.metadata.name",
        "spec.coordinator.checkpoint.volumeClaimTemplate.spec",
    ]
