"""Jobs that are none of our business, and jobs that the models do not take."""

import pytest

from fedcore.engine.reasons import EndReason
from fedcore_operator.api.conditions import condition
from fedcore_operator.api.job import InvalidJob
from fedcore_operator.decide.actions import CreatePod
from fedcore_operator.decide.observe import Final
from fedcore_operator.decide.reconcile import Decision, reconcile
from support.operator_objects import NOW, SETTINGS, all_pods, exited, make_job, make_status, pod, running, seen, with_status


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


def test_the_last_word_of_the_coordinator_of_an_invalid_job_counts():
    final = Final(EndReason.COMPLETED, message="20 rounds", rounds=20)
    decision = reconcile(invalid(running(phase="Running")), seen(pod(ended=exited(0, final=final))), SETTINGS, NOW)
    assert (decision.actions, decision.status.phase, decision.status.progress.display) == ((), "Succeeded", "20/20")
    assert [event.reason for event in decision.events] == ["NotAccepted", "Completed"]


def test_a_job_whose_added_data_is_wrong_goes_on_without_it():
    """Its workers are replaced as ever, with what they had; the status says what is left out."""
    job = make_job(status=running(phase="Running"), problem="spec.workers.data: no")
    decision = reconcile(job, seen(*all_pods(w0=pod(0, ended=137, pod_reason="Evicted"))), SETTINGS, NOW)
    assert decision.status.worker_indexes[0].disruptions == 1
    assert CreatePod in {type(action) for action in decision.actions}
    accepted = condition(decision.status, "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "InvalidJob")
    assert accepted.message == "left out, the job goes on without it: spec.workers.data: no"
    assert {"NotAccepted", "WorkerDisrupted"} <= {event.reason for event in decision.events}
    again = reconcile(with_status(job, decision.status), seen(*all_pods(w0=pod(0, 2))), SETTINGS, NOW)
    assert not [event for event in again.events if event.reason == "NotAccepted"], "told once"


def test_an_invalid_change_to_a_finished_job_has_no_effect():
    status = make_status(("Complete", "True", "Completed"))
    assert reconcile(invalid(status), seen(), SETTINGS, NOW) == Decision(status)


def test_times_are_whole_seconds():
    decision = reconcile(make_job(), seen(), SETTINGS, NOW.replace(microsecond=999_999))
    assert {one.last_transition_time for one in decision.status.conditions} == {NOW}
