"""Why an attempt ended: the table of the design."""

import pytest

from fedcore.engine.restarts import Cause
from fedcore.local.supervisor import RUN_DIRECTORY_LOCKED
from fedcore.worker.ending import EndWord
from fedcore_operator.decide import classify
from fedcore_operator.decide.classify import end_of, has_ended, vanished
from support.operator_objects import NOW, ago, exited, later, pod

CODES = frozenset({2})


@pytest.mark.parametrize(
    ("view", "cause", "reason"),
    [
        pytest.param(pod(0, ended=exited(0, "stopped")), Cause.FINISHED, "stopped", id="told that the job is over"),
        pytest.param(pod(0, ended=exited(3, "stopped")), Cause.FINISHED, "stopped", id="told so after the quorum was lost"),
        pytest.param(pod(0, ended=exited(0, "stopped"), deleting_at=ago(1)), Cause.FINISHED, "stopped", id="and deleted meanwhile"),
        pytest.param(pod(0, ended=1, disruption="PreemptionByScheduler"), Cause.DISRUPTED, "PreemptionByScheduler", id="preempted"),
        pytest.param(pod(0, ended=137, pod_reason="Evicted"), Cause.DISRUPTED, "Evicted", id="evicted"),
        pytest.param(pod(0, ended=1, pod_reason="NodeShutdown"), Cause.DISRUPTED, "NodeShutdown", id="node shut down"),
        pytest.param(pod(0, ended=143, deleting_at=later(10)), Cause.DISRUPTED, "Deleted", id="deleted by hand"),
        pytest.param(pod(0, ended=2, pod_reason="Evicted"), Cause.DISRUPTED, "Evicted", id="evicted, whatever its code"),
        pytest.param(pod(0, ended=exited(0, "left")), Cause.DISRUPTED, "left", id="left"),
        pytest.param(pod(0, ended=exited(0)), Cause.DISRUPTED, "Completed", id="exit 0 without a word"),
        pytest.param(pod(0, ended=exited(3)), Cause.DISRUPTED, "Error", id="blames the quorum"),
        pytest.param(pod(0, ended=exited(4, "unreachable")), Cause.DISRUPTED, "unreachable", id="blames the coordinator"),
        pytest.param(pod(0, ended=exited(2, "invalid")), Cause.FATAL, "invalid", id="an entrypoint that cannot be imported"),
        pytest.param(pod(0, ended=exited(2, "name_in_use")), Cause.FAILED, "name_in_use", id="its predecessor is not yet taken for lost"),
        pytest.param(pod(0, ended=1), Cause.FAILED, "Error", id="a crash"),
        pytest.param(pod(0, ended=exited(137, kubernetes_reason="OOMKilled")), Cause.FAILED, "OOMKilled", id="out of memory"),
        pytest.param(pod(ended=0), Cause.FAILED, "Error", id="a coordinator without a last word"),
        pytest.param(pod(ended=3), Cause.FAILED, "Error", id="a coordinator has nobody to blame"),
        pytest.param(pod(ended=exited(2, "InvalidJob")), Cause.FATAL, "InvalidJob", id="a coordinator that refuses its job"),
        pytest.param(pod(ended=exited(2, "RunDirectoryLocked")), Cause.FAILED, "RunDirectoryLocked", id="a lock that goes away"),
        pytest.param(pod(ended=143, deleting_at=ago(1)), Cause.DISRUPTED, "Deleted", id="a drained coordinator"),
        pytest.param(
            pod(0, exit=None, over=True, over_at=ago(9), pod_reason="OutOfcpu"), Cause.DISRUPTED, "OutOfcpu", id="refused by its kubelet"
        ),
        pytest.param(
            pod(0, deleting_at=ago(31), disruption="DeletionByTaintManager"), Cause.DISRUPTED, "DeletionByTaintManager", id="lost"
        ),
    ],
)
def test_cause(view, cause, reason):
    assert has_ended(view, NOW)
    end = end_of(view, CODES, NOW)
    assert (end.cause, end.exit.reason) == (cause, reason)


def test_a_code_that_the_job_calls_hopeless_is_fatal():
    assert end_of(pod(0, ended=7), frozenset({7}), NOW).cause is Cause.FATAL
    assert end_of(pod(0, ended=2), frozenset(), NOW).cause is Cause.FAILED


def test_times_and_messages_are_those_of_the_container():
    end = end_of(pod(0, ended=exited(1, message="x" * 900)), CODES, NOW)
    assert (end.started_at, end.exit.time, end.exit.exit_code) == (ago(55), ago(5), 1)
    assert len(end.exit.message) == 160
    assert len(end_of(pod(ended=exited(1, message="x" * 900)), CODES, NOW).exit.message) == 512


@pytest.mark.parametrize(
    ("view", "sole_writer", "expected"),
    [
        pytest.param(pod(0), False, False, id="it runs"),
        pytest.param(pod(0, deleting_at=later(30)), False, False, id="it drains"),
        pytest.param(pod(0, deleting_at=ago(29)), False, False, id="it may still be there"),
        pytest.param(pod(0, deleting_at=ago(30)), False, True, id="its node does not answer"),
        pytest.param(pod(deleting_at=ago(3000)), True, False, id="a writer of a volume is gone only when it is gone"),
        pytest.param(pod(ended=1, deleting_at=ago(1)), True, True, id="or when the kubelet says so"),
        pytest.param(pod(0, exit=exited(0), over=False), False, True, id="a sidecar does not keep it alive"),
        pytest.param(pod(0, running_since=None, ready=False), False, False, id="it waits"),
    ],
)
def test_has_ended(view, sole_writer, expected):
    assert has_ended(view, NOW, sole_writer=sole_writer) is expected


def test_the_words_are_those_of_the_processes():
    assert {classify._STOPPED, classify._NAME_IN_USE} <= set(EndWord)
    assert classify._RUN_DIRECTORY_LOCKED == RUN_DIRECTORY_LOCKED


def test_a_pod_that_vanished_was_disrupted():
    assert vanished(NOW).cause is Cause.DISRUPTED
