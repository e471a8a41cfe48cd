"""From raw pods to views."""

import json

import pytest

from fedcore.spec.times import format_time
from fedcore_operator.decide.observe import Waiting, view_pod
from support.operator_objects import NOW, UID, ago


def raw(role="worker", index="0", attempt="1", uid=UID, status=None, **metadata):
    labels = {"fedcore.dev/role": role, "fedcore.dev/attempt": attempt, **({} if index is None else {"fedcore.dev/index": index})}
    return {
        "metadata": {
            "name": "p",
            "uid": "u",
            "labels": {name: value for name, value in labels.items() if value is not None},
            "ownerReferences": [{"uid": uid, "controller": True}],
            "creationTimestamp": format_time(ago(60)),
            **metadata,
        },
        "status": status or {},
    }


def container(state, name="worker", **fields):
    return {"containerStatuses": [{"name": "sidecar", "state": {"running": {}}}, {"name": name, "state": state, **fields}]}


def terminated(code=1, message="", **fields):
    return {
        "terminated": {"exitCode": code, "message": message, "finishedAt": format_time(ago(5)), "startedAt": format_time(ago(9)), **fields}
    }


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(raw(uid="other"), id="an earlier job's"),
        pytest.param(raw(ownerReferences=[]), id="nobody's"),
        pytest.param(raw(role="sidekick"), id="a role that is none"),
        pytest.param(raw(attempt=None), id="no attempt"),
        pytest.param(raw(attempt="x"), id="an attempt that is no number"),
        pytest.param(raw(index=None), id="a worker without index"),
        pytest.param(raw(role="coordinator"), id="a coordinator with one"),
    ],
)
def test_what_is_no_pod_of_the_job(pod):
    assert view_pod(pod, UID) is None


def test_a_pod_that_runs():
    status = {"phase": "Running", "podIP": "10.0.0.7", **container({"running": {"startedAt": format_time(ago(9))}}, ready=True)}
    view = view_pod(raw(index="3", attempt="2", status=status, annotations={"fedcore.dev/job-input": "{}"}), UID)
    assert (view.index, view.attempt, view.ip, view.ready, view.running_since, view.over) == (3, 2, "10.0.0.7", True, ago(9), False)
    assert (view.exit, view.waiting, view.deleting_at, view.disruption, view.job_input) == (None, None, None, None, "{}")


def test_a_pod_is_over_when_all_of_its_containers_have_ended():
    """The phase says so a moment later: until then the pod, whose log is to be kept, looked like one that lives."""
    alone = {"phase": "Running", "containerStatuses": [{"name": "worker", "state": terminated()}]}
    assert view_pod(raw(status=alone), UID).over
    assert not view_pod(raw(status={"phase": "Running", **container(terminated())}), UID).over, "its sidecar goes on"
    assert not view_pod(raw(status={"phase": "Pending"}), UID).over


def test_a_pod_that_was_disrupted():
    conditions = [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "lastTransitionTime": format_time(ago(3))}
    ]
    status = {"phase": "Failed", "reason": "Preempting", "message": "m", "conditions": conditions}
    view = view_pod(raw(status=status, deletionTimestamp=format_time(NOW)), UID)
    assert (view.over, view.over_at, view.disruption, view.pod_reason) == (True, ago(3), "PreemptionByScheduler", "Preempting")
    assert view.deleting_at == NOW


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        pytest.param(container({"waiting": {"reason": "ErrImagePull", "message": "typo"}}), Waiting("ErrImagePull", "typo"), id="image"),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]},
            Waiting("Unschedulable", "0/3 nodes"),
            id="no node",
        ),
        pytest.param({}, None, id="nothing known"),
    ],
)
def test_why_it_waits(status, waiting):
    assert view_pod(raw(status=status), UID).waiting == waiting


def exit_of(text, code=1):
    return view_pod(raw(status=container(terminated(code, text))), UID).exit


def final_of(**said):
    status = container(terminated(0, json.dumps({"schema": 1, "final": True, **said})), name="coordinator")
    return view_pod(raw("coordinator", None, status=status), UID).exit.final


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        pytest.param('{"schema": 1, "reason": "left", "message": "m"}', "left", "m", id="a process's own word"),
        pytest.param("Traceback\nKeyError: 1\n", "", "Traceback\nKeyError: 1", id="the end of a log"),
        pytest.param("x" * 600 + "y", "", "x" * 511 + "y", id="of a long one"),
        pytest.param('{"schema": 2, "reason": "left"}', "", '{"schema": 2, "reason": "left"}', id="another schema"),
        pytest.param("[1]", "", "[1]", id="JSON of another kind"),
        pytest.param("[" * 4096, "", "[" * 512, id="nested beyond all bounds"),
        pytest.param("", "", "", id="nothing"),
    ],
)
def test_what_was_said_at_the_end(text, reason, message):
    found = exit_of(text)
    assert (found.reason, found.message, found.code, found.at, found.started_at) == (reason, message, 1, ago(5), ago(9))


def test_a_last_word():
    found = final_of(reason="Completed", message="m", rounds=20, metrics={"accuracy": 0.9, "odd": "x"}, artifact="a", sha256="s")
    assert (found.reason, found.message, found.rounds, found.metrics, found.artifact, found.sha256) == (
        "Completed",
        "m",
        20,
        (("accuracy", 0.9),),
        "a",
        "s",
    )


@pytest.mark.parametrize("said", [{"final": False, "reason": "Completed"}, {"reason": "Whatever"}, {"reason": None}, {"reason": []}])
def test_what_is_no_last_word(said):
    assert final_of(**said) is None


@pytest.mark.parametrize(
    "said", [{"rounds": "many"}, {"rounds": -1}, {"rounds": 10**30}, {"metrics": []}, {"message": None}, {"sha256": "x" * 999}]
)
def test_odd_last_words_are_read_all_the_same(said):
    assert final_of(reason="Completed", **said).reason == "Completed"
