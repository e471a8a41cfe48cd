from __future__ import annotations

import json

import pytest

from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.checkpoint import Saved
from fedcore.engine.reasons import EndReason, Phase, Rejection
from fedcore.wire.protocol import FaultCode, Hello, TaskKind, UpdateReport

FULL = {"percent": 100}


def test_first_weights_are_asked_of_the_lowest_live_worker_once_quorum_is_there(bottle):
    job = bottle(4, quorum={"percent": 50})
    job.register(3)
    waiting = job.ask(3)
    assert job.engine.phase is Phase.STARTING
    job.register(1)
    init = job.task(1)
    assert init.kind is TaskKind.INIT
    assert waiting not in job.answers
    assert job.submit(1, 0, base="").result == "accepted"
    assert job.answers[waiting].kind is TaskKind.TRAIN
    assert job.answers[waiting].base.version == 0


def test_first_weights_pass_to_the_next_worker_when_the_first_is_lost(bottle):
    job = bottle(2, quorum=FULL)
    job.register(0)
    job.register(1)
    assert job.task(0).kind is TaskKind.INIT
    for _ in range(4):
        job.wait(4)
        job.ask(1)
    assert job.events("worker_lost")[0]["worker"] == "worker-0"
    assert job.task(1).kind is TaskKind.INIT


def refuse_body(job, index, round_number=0):
    job.send(ev.UploadRefused(f"s{index}.1", round_number, Rejection.NON_FINITE, "tensor 'w'", 1000))


def test_first_weights_that_are_refused_end_the_job(bottle):
    job = bottle(2, quorum=FULL)
    job.register(0)
    job.register(1)
    assert job.task(0).kind is TaskKind.INIT
    refuse_body(job, 0)
    assert job.engine.end.reason is EndReason.NON_RETRYABLE_EXIT
    assert job.engine.end.message == "the first weights are refused: non_finite: tensor 'w'"


def test_first_weights_nobody_wants_end_nothing(bottle):
    job = bottle(2, quorum=FULL, writes=False)
    job.register(0)
    refuse_body(job, 0)  # nobody has been asked yet
    job.register(1)
    assert job.task(0).kind is TaskKind.INIT
    refuse_body(job, 1)  # another one was asked
    refuse_body(job, 0, round_number=1)
    assert job.engine.end is None
    job.submit(0, 0, base="")
    refuse_body(job, 0)  # they are being written
    job.written(0)
    refuse_body(job, 0)  # a second body, on its way since before they were adopted
    assert job.engine.end is None
    assert job.task(0).kind is TaskKind.TRAIN


def test_round_closes_full_when_everybody_has_answered(bottle):
    job = bottle(3, quorum={"percent": 60})
    job.begin()
    for index in range(3):
        assert job.submit(index, 1).result == "accepted"
    closed = job.events("round_closed")[0]
    assert (closed["outcome"], closed["accepted"], closed["stragglers"]) == ("full", 3, 0)
    assert job.engine.current_round == 2


def test_round_closes_on_quorum_after_the_grace_and_tells_the_straggler(bottle):
    job = bottle(4, quorum={"percent": 75})
    job.begin()
    job.now += 8
    beat = job.beat(3, 1, wait=60)
    for index in range(3):
        job.submit(index, 1)
    job.wait(1.9)
    assert not job.events("round_closed")
    job.wait(0.2)
    assert job.events("round_closed")[0]["outcome"] == "quorum"
    assert job.answers[beat].superseded
    late = job.submit(3, 1)
    assert late.result == "stale"
    assert job.events("update")[-1]["result"] == "stale"


def test_grace_of_zero_closes_at_once(bottle):
    job = bottle(4, quorum={"percent": 75, "graceSeconds": 0})
    job.begin()
    for index in range(3):
        job.submit(index, 1)
    assert job.events("round_closed")[0]["outcome"] == "quorum"


def test_deadline_below_quorum_keeps_the_round_open_with_what_it_has(bottle):
    job = bottle(4, quorum={"percent": 75, "roundTimeoutSeconds": 30, "lossGracePeriodSeconds": 100})
    job.begin()
    job.submit(0, 1)
    job.submit(1, 1)
    keep_alive(job, 31, range(4))
    assert job.engine.phase is Phase.DEGRADED
    assert job.events("round_deadline_missed") == [{"round": 1, "accepted": 2, "required": 3}]
    job.submit(2, 1)
    job.submit(3, 1)
    assert job.events("round_closed")[0]["accepted"] == 4
    assert job.engine.phase is Phase.RUNNING


def test_live_workers_that_never_answer_end_in_quorum_lost(bottle):
    job = bottle(2, quorum={"percent": 100, "roundTimeoutSeconds": 30, "lossGracePeriodSeconds": 100})
    job.begin()
    keep_alive(job, 135, range(2))
    assert job.engine.end.reason is EndReason.QUORUM_LOST


def test_loss_grace_of_zero_waits_and_says_so_at_each_deadline(bottle):
    job = bottle(2, quorum={"percent": 100, "roundTimeoutSeconds": 30, "lossGracePeriodSeconds": 0})
    job.begin()
    keep_alive(job, 200, [])
    assert job.engine.end is None
    assert len(job.events("round_deadline_missed")) == 6
    assert job.engine.next_deadline() is not None


def test_survivors_are_no_quorum_of_their_own(bottle):
    job = bottle(8, quorum={"percent": 75, "lossGracePeriodSeconds": 60})
    job.begin()
    keep_alive(job, 20, range(5))
    assert not job.engine.quorum.met
    for index in range(5):
        job.submit(index, 1)
    assert not job.events("round_closed")
    keep_alive(job, 60, range(5))
    assert job.engine.end.reason is EndReason.QUORUM_LOST
    assert job.events("round_closed")[0]["outcome"] == "aborted"


def test_gone_for_good_ends_at_once_when_required_cannot_be_met(bottle):
    job = bottle(8, quorum={"percent": 75})
    job.begin()
    job.send(ev.WorkerGone(7, "budget spent"))
    job.send(ev.WorkerGone(6, "budget spent"))
    assert job.engine.end is None
    job.send(ev.WorkerGone(5, "budget spent"))
    assert job.engine.end.reason is EndReason.QUORUM_UNREACHABLE
    assert job.engine.end.exit_code == 3


def test_restarted_worker_joins_the_open_round_and_counts_once(bottle):
    job = bottle(2, quorum=FULL)
    job.begin()
    job.submit(0, 1)
    assert job.register(1, attempt=2).index == 1
    task = job.task(1, attempt=2)
    assert (task.kind, task.round) == (TaskKind.TRAIN, 1)
    assert job.submit(1, 1, attempt=1) == ef.Fault(FaultCode.REPLACED, "a later attempt of this worker has registered")
    assert job.submit(1, 1, attempt=2).result == "accepted"
    assert job.merged == [(1, "worker-0"), (1, "worker-1")]


def test_second_submit_is_duplicate_also_after_the_close(bottle):
    job = bottle(2, quorum=FULL)
    job.begin()
    job.submit(0, 1)
    assert job.submit(0, 1).result == "duplicate"
    job.submit(1, 1)
    assert job.submit(1, 1).result == "duplicate"
    assert len(job.merged) == 2


def test_another_base_is_stale(bottle):
    job = bottle(2, quorum=FULL)
    job.begin()
    assert job.submit(0, 1, base="other").result == "stale"


def test_rejected_update_is_retried_once_and_then_not_waited_for(bottle):
    job = bottle(3, quorum={"percent": 60})
    job.begin()
    job.submit(0, 1)
    job.submit(1, 1)
    assert job.submit(2, 1, rejection=Rejection.NON_FINITE).result == "rejected"
    assert not job.events("round_closed")
    assert job.task(2).round == 1
    job.submit(2, 1, rejection=Rejection.NON_FINITE)
    assert job.events("round_closed")[0]["outcome"] == "full"


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        pytest.param({"samples": 101}, "samples", id="more samples than registered"),
        pytest.param({"samples": 0}, "samples", id="no samples"),
        pytest.param({"metrics": {f"m{i}": 1.0 for i in range(33)}}, "metrics", id="too many metrics"),
    ],
)
def test_reports_that_cannot_be_true_are_rejected(bottle, report, reason):
    job = bottle(2, quorum=FULL)
    job.begin()
    assert job.submit(0, 1, **report).result == "rejected"
    assert job.events("update")[-1]["reason"] == reason


def test_unanswered_task_is_handed_out_again_unchanged(bottle):
    job = bottle(2, quorum=FULL)
    job.begin()
    first = job.task(0)
    again = job.task(0)
    assert first == again


def test_evaluation_is_the_weighted_mean_on_the_averaged_model(bottle):
    job = bottle(2, rounds=2, quorum=FULL)
    job.begin()
    for index in (0, 1):
        assert not job.task(index).evaluate
        job.submit(index, 1)
    for index, (accuracy, samples) in enumerate([(0.5, 10), (0.8, 20)]):
        assert job.task(index).evaluate
        job.submit(index, 2, metrics={"accuracy": accuracy}, eval_samples=samples)
    assert job.events("evaluated")[0] == {"version": 1, "samples": 30, "workers": 2, "metrics": {"accuracy": pytest.approx(0.7)}}


def test_a_measurement_weighs_no_more_than_the_registered_held_out_data(bottle):
    job = bottle(3, rounds=2, quorum=FULL)
    for index, held_out in enumerate([10, 30, 0]):
        job.register(index, eval_samples=held_out)
    job.begin()
    for index in range(3):
        job.register(index, eval_samples=[10, 30, 0][index])
        job.task(index)
        job.submit(index, 1)
    for index in range(3):
        job.task(index)
        assert job.submit(index, 2, metrics={"accuracy": [1.0, 0.5, 0.0][index]}, eval_samples=10**8).result == "accepted"
    assert job.events("evaluated")[0] == {"version": 1, "samples": 40, "workers": 2, "metrics": {"accuracy": pytest.approx(0.625)}}
    for index in range(3):
        assert job.task(index).kind is TaskKind.EVALUATE
        job.measure(index, 2, samples=10**8, accuracy=[1.0, 0.5, 0.0][index])
    assert job.events("evaluated")[1]["samples"] == 40


def test_job_ends_after_the_final_evaluation_and_tells_everybody(bottle):
    job = bottle(2, rounds=1, quorum=FULL)
    job.begin()
    for index in (0, 1):
        job.submit(index, 1)
    for index in (0, 1):
        task = job.task(index)
        assert (task.kind, task.round, task.base.id) == (TaskKind.EVALUATE, 1, "base1")
        job.measure(index, 1, accuracy=0.9)
    assert job.engine.end.reason is EndReason.COMPLETED
    assert not any(isinstance(effect, ef.Shutdown) for effect in job.effects)
    assert [job.task(index).kind for index in (0, 1)] == [TaskKind.STOP, TaskKind.STOP]
    assert isinstance(job.effects[-1], ef.Shutdown)
    assert job.register(0, attempt=2) == ef.Fault(FaultCode.FINISHED, "Completed")


def test_run_finished_is_the_last_word(bottle):
    job = bottle(2, rounds=1, quorum=FULL)
    job.begin()
    for index in (0, 1):
        job.submit(index, 1)
        job.measure(index, 1, accuracy=0.9)
    job.call(lambda ticket: ev.Left("s0.1", ticket, "stopped"))
    job.wait(60)
    assert job.records[-1].event == "run_finished"


def test_silent_workers_at_the_end_do_not_hold_the_job(bottle):
    job = bottle(2, rounds=1, quorum=FULL)
    job.begin()
    for index in (0, 1):
        job.submit(index, 1)
    job.wait(40)
    assert job.engine.end.reason is EndReason.COMPLETED
    assert isinstance(job.effects[-1], ef.Shutdown)
    assert job.engine.metrics == {}


def test_startup_deadline(bottle):
    job = bottle(4, startupDeadlineSeconds=60)
    job.register(0)
    job.wait(61)
    assert job.engine.end.reason is EndReason.STARTUP_DEADLINE_EXCEEDED


def test_active_deadline(bottle):
    job = bottle(1, activeDeadlineSeconds=50)
    job.begin()
    keep_alive(job, 51, [0])
    assert job.engine.end.reason is EndReason.DEADLINE_EXCEEDED


def test_failed_write_ends_the_job_with_the_systems_words(bottle):
    job = bottle(1, writes=False)
    job.begin()
    job.written(0)
    job.ask(0)
    job.submit(0, 1)
    job.send(ev.WriteFailed("[Errno 28] No space left on device"))
    assert job.engine.end.reason is EndReason.CHECKPOINT_FAILED
    assert "No space left" in job.engine.end.message


def test_end_asked_while_a_version_is_written_waits_for_it(bottle):
    job = bottle(1, writes=False)
    job.begin()
    job.written(0)
    job.ask(0)
    job.submit(0, 1)
    job.send(ev.EndAsked(EndReason.NON_RETRYABLE_EXIT, "exit 2"))
    assert job.engine.end is None
    job.written(1)
    assert job.engine.end.reason is EndReason.NON_RETRYABLE_EXIT
    assert job.events("round_closed")[0]["outcome"] == "full"


def test_resume_reopens_the_next_round_and_takes_what_workers_hold(bottle):
    saved = Saved(version=4, base="base4", size_bytes=1000, attempts={"0": 1, "1": 2}, names={"0": "worker-0", "1": "worker-1"})
    job = bottle(2, rounds=6, saved=saved, quorum=FULL)
    assert job.events("round_opened")[0]["round"] == 5
    assert job.engine.phase is Phase.RUNNING
    assert job.register(1, attempt=1) == ef.Fault(FaultCode.REPLACED, "attempt 2 of worker 1 has registered")
    job.register(0)
    job.register(1, attempt=2)
    assert job.submit(0, 5).result == "accepted"
    assert job.task(1, attempt=2).round == 5
    assert job.submit(1, 5, attempt=2).result == "accepted"
    assert job.engine.version == 5


def test_resume_with_nobody_back_loses_its_quorum_after_three_heartbeats(bottle):
    saved = Saved(version=1, base="base1", size_bytes=1000, attempts={"0": 1})
    job = bottle(2, saved=saved, quorum={"percent": 100, "lossGracePeriodSeconds": 30})
    job.wait(14)
    assert job.engine.quorum.met
    job.wait(32)
    assert job.engine.end.reason is EndReason.QUORUM_LOST


def test_loss_clock_goes_on_after_a_restart(bottle):
    saved = Saved(version=1, base="base1", size_bytes=1000)
    job = bottle(2, saved=saved, lost_seconds=40.0, quorum={"percent": 100, "lossGracePeriodSeconds": 60})
    job.wait(19)
    assert job.engine.end is None
    job.wait(2)
    assert job.engine.end.reason is EndReason.QUORUM_LOST


def test_resume_after_the_last_round_measures_and_completes(bottle):
    saved = Saved(version=3, base="base3", size_bytes=1000, attempts={"0": 1, "1": 1})
    job = bottle(2, rounds=3, saved=saved)
    job.register(0)
    assert job.task(0).kind is TaskKind.EVALUATE
    job.measure(0, 3, accuracy=0.5)
    assert job.engine.end is None
    job.wait(16)
    assert job.engine.end.reason is EndReason.COMPLETED
    assert job.engine.metrics == {"accuracy": 0.5}


def test_scale_down_retires_and_keeps_what_was_accepted(bottle):
    job = bottle(4, quorum={"percent": 75})
    job.begin()
    job.submit(3, 1)
    parked = job.ask(3)
    job.send(ev.SpecChanged(job.spec.model_copy(update={"workers": job.spec.workers.model_copy(update={"replicas": 2})})))
    assert (job.answers[parked].kind, job.answers[parked].reason) == (TaskKind.STOP, "Retired")
    assert job.engine.required == 2
    job.submit(0, 1)
    job.wait(2)
    assert job.events("round_closed")[0]["accepted"] >= 2


def test_scale_up_admits_new_indexes(bottle):
    job = bottle(2, quorum=FULL)
    job.begin()
    assert job.register(2).code is FaultCode.BUSY
    job.send(ev.SpecChanged(job.spec.model_copy(update={"workers": job.spec.workers.model_copy(update={"replicas": 3})})))
    assert job.register(2).index == 2
    assert job.engine.required == 3


def test_rounds_may_grow_and_never_shrink(bottle):
    job = bottle(1, rounds=1)
    job.begin()
    job.send(ev.SpecChanged(job.spec.model_copy(update={"rounds": 2})))
    job.submit(0, 1)
    assert job.task(0).round == 2
    job.send(ev.SpecChanged(job.spec.model_copy(update={"rounds": 1})))
    assert job.engine.spec.rounds == 2


def test_changes_that_the_log_repeats_are_told_once(bottle):
    job = bottle(4, rounds=2)
    job.begin()
    quorum = job.spec.quorum.model_copy(update={"grace_seconds": 7})
    job.send(ev.SpecChanged(job.spec.model_copy(update={"quorum": quorum})))
    assert job.events("spec_changed") == []
    workers = job.spec.workers.model_copy(update={"replicas": 8})
    grown = job.spec.model_copy(update={"rounds": 5, "workers": workers})
    job.send(ev.SpecChanged(grown))
    job.send(ev.SpecChanged(grown))
    assert job.events("spec_changed") == [{"rounds": 5, "workers": 8, "required": 6}]


def test_same_attempt_from_another_process_is_refused_while_the_first_lives(bottle):
    job = bottle(2)
    job.register(0)
    assert job.register(0, instance="other", session="x").code is FaultCode.NAME_IN_USE
    job.wait(16)
    assert job.register(0, instance="other", session="x").index == 0


def test_same_process_may_register_again(bottle):
    job = bottle(2)
    job.register(0)
    assert job.register(0, session="s2").session == "s2"
    assert job.events("worker_registered")[-1]["kind"] == "reconnect"


def arrive(job, name, *, attempt=1, index=None, session=None):
    hello = Hello(protocol="1", name=name, index=index, attempt=attempt, instance=f"{name}.{attempt}", samples=100)
    return job.reply(lambda ticket: ev.Registered(ticket, hello, session or f"{name}.{attempt}"))


def test_newcomer_in_a_lost_workers_place_keeps_it(bottle):
    job = bottle(1, quorum=FULL, task={"entrypoint": "a:b", "initialWeights": "w"})
    assert arrive(job, "a", attempt=3).index == 0
    job.wait(16)
    assert arrive(job, "b").index == 0
    assert job.events("worker_registered")[-1]["kind"] == "new"
    for _ in range(2):
        assert arrive(job, "b", index=0, session="again").index == 0  # as a worker registers again: with the index it was given
        assert job.events("worker_registered")[-1]["kind"] == "reconnect"
        assert arrive(job, "a", attempt=3, index=0).code is FaultCode.REPLACED
        assert arrive(job, "a", attempt=2, index=0).code is FaultCode.REPLACED
        body = UpdateReport(base="base0", samples=100, upload="u", seconds=1.0)
        job.reply(lambda ticket: ev.Submitted("again", ticket, 1, body, 1000))  # noqa: B023 - called at once
        saved = Saved.from_json(json.loads(json.dumps({**job.versions[1], "base": "base1", "size_bytes": 1000})))
        job = bottle(1, quorum=FULL, task={"entrypoint": "a:b", "initialWeights": "w"}, saved=saved)
        job.versions[1] = {**saved.to_json()}
    assert arrive(job, "a", attempt=4, index=0).index == 0
    assert arrive(job, "b", index=0).code is FaultCode.REPLACED


def test_worker_of_another_name_at_an_index_is_new(bottle):
    job = bottle(2, quorum=FULL)
    arrive(job, "a", index=0)
    arrive(job, "b", index=0, attempt=2)
    assert [event["kind"] for event in job.events("worker_registered")] == ["new", "new"]


def test_lost_worker_comes_back_with_its_session(bottle):
    job = bottle(2, quorum={"percent": 50})
    job.begin()
    job.wait(16)
    assert job.engine.members.live_count == 0
    job.ask(0)
    assert job.engine.members.live_count == 1


def test_worker_without_an_index_gets_the_first_free_place(bottle):
    job = bottle(2)
    assert job.register(None, name="site-a", session="a", instance="a").index == 0
    assert job.register(None, name="site-b", session="b", instance="b").index == 1
    assert job.register(None, name="site-c", session="c", instance="c").code is FaultCode.BUSY
    assert job.register(None, name="site-a", session="a2", instance="a").index == 0


def test_declined_round_is_not_waited_for(bottle):
    job = bottle(3, quorum={"percent": 60})
    job.begin()
    job.submit(0, 1)
    job.submit(1, 1)
    job.submit(2, 1, declined="on battery")
    assert job.events("round_closed")[0]["outcome"] == "full"
    assert [effect.upload for effect in job.effects if isinstance(effect, ef.Discard)] == ["u2.1"]  # a body that came all the same


def test_foreign_worker_that_only_trains_gets_nothing_else(bottle):
    job = bottle(2, rounds=1, quorum=FULL)
    job.register(0, kinds=frozenset({TaskKind.TRAIN}))
    job.register(1)
    parked = job.ask(0)
    assert job.task(1).kind is TaskKind.INIT
    job.submit(1, 0, base="")
    assert job.answers[parked].kind is TaskKind.TRAIN
    assert job.task(1).kind is TaskKind.TRAIN
    job.submit(0, 1)
    job.submit(1, 1)
    parked = job.ask(0)
    assert parked not in job.answers
    assert job.task(1).kind is TaskKind.EVALUATE


def test_worker_that_still_loads_its_data_has_a_place_and_takes_no_part(bottle):
    job = bottle(1, quorum=FULL)
    assert job.register(0, samples=0, instance="i", session="loading").index == 0
    job.call(lambda ticket: ev.TaskAsked("loading", ticket, 5.0))
    assert job.engine.phase is Phase.STARTING
    assert not job.events("worker_registered")
    job.register(0, samples=100, instance="i")
    assert job.events("worker_registered") == [{"worker": "worker-0", "attempt": 1, "kind": "new", "samples": 100}]
    assert job.task(0).kind is TaskKind.INIT


def test_late_joiner_is_not_waited_for(bottle):
    job = bottle(4, quorum={"percent": 50})
    job.begin([0, 1])
    job.register(2)
    assert job.task(2).round == 1
    job.submit(0, 1)
    job.submit(1, 1)
    assert job.events("round_closed")[0]["outcome"] == "quorum"


def keep_alive(job, seconds, workers):
    """Let time pass while these workers send heartbeats."""
    for _ in range(int(seconds)):
        job.wait(1)
        for index in workers:
            job.beat(index, job.engine.current_round)


# -- ends -------------------------------------------------------------------------------------------------------------------------------


def last_evaluation(bottle, **quorum):
    job = bottle(2, rounds=1, quorum={"percent": 100, **quorum})
    job.begin()
    for index in (0, 1):
        job.submit(index, 1)
        job.task(index)
    return job


def test_the_last_evaluation_cannot_lose_the_job_its_rounds(bottle):
    job = last_evaluation(bottle, lossGracePeriodSeconds=20)
    keep_alive(job, 60, [0])
    job.send(ev.WorkerGone(1, "budget spent"))
    assert job.engine.end is None
    job.measure(0, 1, accuracy=0.5)
    assert (job.engine.end.reason, job.engine.metrics) == (EndReason.COMPLETED, {"accuracy": 0.5})


def test_an_end_decided_while_the_last_version_is_written_comes_too_late(bottle):
    job = bottle(2, rounds=1, quorum={"percent": 100}, writes=False)
    for index in (0, 1):
        job.register(index)
        job.ask(index)
    job.submit(0, 0, base="")
    job.written(0)
    for index in (0, 1):
        job.ask(index)
        job.submit(index, 1)
    job.send(ev.WorkerGone(1, "budget spent"))
    job.written(1)
    assert job.engine.end is None
    job.measure(0, 1, accuracy=0.5)
    job.measure(1, 1, accuracy=0.5)
    assert job.engine.end.reason is EndReason.COMPLETED


def test_a_worker_that_declines_the_last_evaluation_is_not_waited_for(bottle):
    job = last_evaluation(bottle)
    job.measure(0, 1, accuracy=0.5)
    assert job.submit(1, 1, base="base1", declined="no held-out data").result == "accepted"
    assert job.engine.end.reason is EndReason.COMPLETED


def test_after_a_restart_only_workers_that_can_measure_are_waited_for(bottle):
    saved = Saved(version=3, base="base3", size_bytes=1000, attempts={"0": 1, "1": 1})
    job = bottle(2, rounds=3, saved=saved)
    job.register(0)
    job.register(1, kinds=frozenset({TaskKind.TRAIN}))
    job.measure(0, 3, accuracy=0.5)
    assert job.engine.end.reason is EndReason.COMPLETED


def test_a_restart_leaves_workers_the_time_to_come_back(bottle):
    saved = Saved(version=1, base="base1", size_bytes=1000)
    job = bottle(1, saved=saved, lost_seconds=5000.0, quorum={"percent": 100, "lossGracePeriodSeconds": 30})
    job.wait(5)
    job.register(0)
    assert job.submit(0, 2).result == "accepted"
    assert job.engine.version == 2


# -- asking again -----------------------------------------------------------------------------------------------------------------------


def test_a_missed_deadline_asks_those_again_that_have_given_up(bottle):
    job = bottle(2, quorum={"percent": 100, "roundTimeoutSeconds": 30})
    job.begin()
    job.submit(0, 1, declined="on battery")
    for _ in range(2):
        job.submit(1, 1, rejection=Rejection.NON_FINITE)
    parked = [job.ask(index, wait=60) for index in (0, 1)]
    for _ in range(31):
        job.wait(1)
        for index in (0, 1):
            job.send(ev.Heard(f"s{index}.1"))
        parked = [job.ask(index) if job.answers.get(ticket) and job.answers[ticket].kind is TaskKind.WAIT else ticket
                  for index, ticket in enumerate(parked)]  # fmt: skip
    assert [job.answers[ticket].kind for ticket in parked] == [TaskKind.TRAIN] * 2
    assert [job.submit(index, 1).result for index in (0, 1)] == ["accepted"] * 2
    assert job.engine.version == 1


def test_who_declines_the_first_weights_passes_them_on(bottle):
    job = bottle(2, quorum={"percent": 100, "roundTimeoutSeconds": 30})
    job.register(0)
    job.register(1)
    assert job.task(0).kind is TaskKind.INIT
    job.submit(0, 0, base="", declined="no initial weights here")
    assert job.task(1).kind is TaskKind.INIT
    job.submit(1, 0, base="", declined="nor here")
    assert job.task(0) is job.task(1) is None
    keep_alive(job, 31, [0, 1])
    assert job.task(0).kind is TaskKind.INIT


def test_first_weights_are_asked_only_of_who_can_make_them(bottle):
    job = bottle(2, quorum=FULL)
    job.register(0)
    job.register(1)
    assert job.task(0).kind is TaskKind.INIT
    job.register(0, attempt=2, kinds=frozenset({TaskKind.TRAIN}))
    assert job.task(0, attempt=2) is None
    assert job.task(1).kind is TaskKind.INIT


# -- numbers ----------------------------------------------------------------------------------------------------------------------------


def test_means_that_overflow_are_left_out(bottle):
    job = bottle(2, rounds=2, quorum=FULL)
    job.begin()
    for index in (0, 1):
        job.submit(index, 1, train_loss=1e308)
    assert job.events("round_closed")[0]["train_loss"] is None
    for index in (0, 1):
        job.submit(index, 2, metrics={"loss": 1.7e308, "accuracy": 0.5}, eval_samples=10)
    assert job.events("evaluated")[0]["metrics"] == {"accuracy": 0.5}


# -- what may change --------------------------------------------------------------------------------------------------------------------


def test_deadlines_may_change(bottle):
    job = bottle(1, startupDeadlineSeconds=10)
    job.send(ev.SpecChanged(job.spec.model_copy(update={"startup_deadline_seconds": 60})))
    job.wait(11)
    assert job.engine.end is None
    job.begin()
    job.send(ev.SpecChanged(job.engine.spec.model_copy(update={"active_deadline_seconds": 30})))
    keep_alive(job, 20, [0])
    assert job.engine.end.reason is EndReason.DEADLINE_EXCEEDED

    job = bottle(1, activeDeadlineSeconds=10)
    job.send(ev.SpecChanged(job.spec.model_copy(update={"active_deadline_seconds": None})))
    job.wait(20)
    assert job.engine.end is None


def test_a_changed_quorum_holds_for_the_open_round(bottle):
    job = bottle(4, quorum={"percent": 50, "graceSeconds": 60, "roundTimeoutSeconds": 3600})
    job.begin()

    def change(**quorum):
        job.send(ev.SpecChanged(job.spec.model_copy(update={"quorum": job.spec.quorum.model_copy(update=quorum)})))

    change(round_timeout_seconds=30)
    keep_alive(job, 31, range(4))
    assert len(job.events("round_deadline_missed")) == 1
    job.submit(0, 1)
    job.submit(1, 1)
    change(percent=75)
    keep_alive(job, 5, range(4))
    assert job.engine.current_round == 1
    job.submit(2, 1)
    assert job.engine.current_round == 1
    change(percent=75, grace_seconds=0)
    assert job.events("round_closed")[0]["accepted"] == 3


def test_what_defines_the_result_does_not_change(bottle):
    job = bottle(1)
    other = bottle(1, seed=7, task={"entrypoint": "c:d"}, workload={"epochs": 5}, coordinator={"checkpoint": {"keep": 9}})
    job.send(ev.SpecChanged(other.spec))
    assert job.engine.spec == job.spec


def test_a_raised_budget_takes_a_worker_back(bottle):
    job = bottle(4, quorum={"percent": 75})
    job.begin()
    job.send(ev.WorkerGone(0, "budget spent"))
    job.send(ev.WorkerRevived(0))
    job.send(ev.WorkerGone(1, "budget spent"))
    assert job.engine.end is None


# -- parked calls -----------------------------------------------------------------------------------------------------------------------


def test_who_waits_for_an_answer_is_not_lost_over_it(bottle):
    job = bottle(2, quorum=FULL)
    job.register(0)
    for _ in range(6):
        ticket = job.ask(0, wait=60)
        while ticket not in job.answers:
            job.wait(1)
    assert not job.events("worker_lost")


def test_the_parked_calls_of_a_replaced_worker_are_answered_at_once(bottle):
    job = bottle(2, quorum=FULL)
    job.begin()
    job.submit(0, 1)
    parked, beat = job.ask(0), job.beat(0, 1)
    job.register(0, attempt=2)
    assert job.answers[parked].kind is TaskKind.WAIT
    assert job.answers[beat].superseded


# -- round trips of work that is given up -------------------------------------------------------------------------------------------------


def late_worker(bottle, **parts):
    """A job whose worker 2 still trains for round 1 when that closes without it."""
    job = bottle(replicas=3, rounds=3, quorum={"percent": 60, "graceSeconds": 0}, workload={"policy": "fixed"}, **parts)
    job.begin()
    job.wait(2)
    beat = job.beat(2, 1)
    job.submit(0, 1)
    job.submit(1, 1)
    assert job.answers[beat].superseded
    return job


def test_round_trip_of_superseded_work_ends_when_other_work_is_asked_for(bottle):
    job = late_worker(bottle)
    job.wait(3)
    job.beat(2, 1)  # says once more that it has stopped
    assert job.events("task_superseded") == []
    job.ask(2)
    job.ask(2)
    assert job.events("task_superseded") == [{"round": 1, "worker": "worker-2", "attempt": 1, "round_trip_s": 5.0}]


def test_heartbeat_that_was_not_parked_hears_of_the_close_later(bottle):
    job = bottle(replicas=3, rounds=3, quorum={"percent": 60, "graceSeconds": 0})
    job.begin()
    job.submit(0, 1)
    job.submit(1, 1)
    job.wait(1)
    job.beat(2, 1)
    job.ask(2)
    assert [event["round_trip_s"] for event in job.events("task_superseded")] == [1.0]


def test_late_update_ends_the_trip_in_place_of_the_acknowledgement(bottle):
    job = late_worker(bottle)
    assert job.submit(2, 1).result == "stale"
    job.ask(2)
    assert [event["round_trip_s"] for event in job.events("update") if event["result"] == "stale"] == [2.0]
    assert job.events("task_superseded") == []


def test_worker_that_was_counted_gives_nothing_up(bottle):
    job = bottle(replicas=2, rounds=3, quorum={"percent": 100})
    job.begin()
    job.submit(0, 1)
    beat = job.beat(0, 1)
    job.submit(1, 1)
    assert job.answers[beat].superseded
    job.ask(0)
    assert job.events("task_superseded") == []


def test_process_that_is_started_again_gives_nothing_up(bottle):
    job = late_worker(bottle)
    job.register(2, attempt=2)
    job.ask(2, attempt=2)
    assert job.events("task_superseded") == []
