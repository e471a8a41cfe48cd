"""Jobs that are none of our business, and jobs that the models do not take."""

import pytest

from fedcore_operator.api.conditions import condition
from fedcore_operator.api.job import InvalidJob
from fedcore_operator.decide.reconcile import Decision, reconcile
from support.operator_objects import NOW, SETTINGS, all_pods, make_job, make_status, pod, running, seen


def invalid(status):
    job = make_job(status=status)
    fields = {name: getattr(job, name) for name in InvalidJob.__dataclass_fields__ if name != "problem"}
    return InvalidJob(**fields, problem="spec.quorum: no")


@pytest.mark.parametrize("fields", [{"managed_elsewhere": True}, {"deleting": True}], ids=str)
def test_a_job_that_is_left_alone(fields):
    job = make_job(status=running(), **fields)
    assert reconcile(job, seen(pod(ended=1)), SETTINGS, NOW) == Decision(job.status)


def test_an_invalid_job_is_told_so_and_what_runs_of_it_runs_on():
    job = invalid(running(phase="Running"))
    decision = reconcile(job, seen(*all_pods(w0=pod(0, ended=1))), SETTINGS, NOW)
    assert (decision.actions, decision.wake_at, decision.status.phase) == ((), None, "Running")
    assert condition(decision.status, "Accepted").reason == "InvalidJob"
    assert [event.reason for event in decision.events] == ["NotAccepted"]


def test_an_invalid_change_to_a_finished_job_has_no_effect():
    status = make_status(("Complete", "True", "Completed"))
    assert reconcile(invalid(status), seen(), SETTINGS, NOW) == Decision(status)


def test_times_are_whole_seconds():
    decision = reconcile(make_job(), seen(), SETTINGS, NOW.replace(microsecond=999_999))
    assert {one.last_transition_time for one in decision.status.conditions} == {NOW}
