"""The workload policies as tables: what a worker gets, and what the next round makes of how it went."""

from __future__ import annotations

import math

import pytest

from fedcore.engine import workload as wl
from fedcore.engine.workload import Cohort, Pace
from fedcore.spec import Workload

NOBODY = Cohort(None)


def policy(name, **fields):
    return Workload.model_validate({"policy": name, **fields})


def measured_pace(epoch_seconds, transfer_seconds=0.0):
    return Pace(epoch_seconds=epoch_seconds, transfer_seconds=transfer_seconds)


# -- fixed and aimd ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [Pace(), Pace(epochs=0.5), measured_pace(9.0)])
def test_fixed_gives_everybody_the_same(pace):
    assert wl.assign(policy("fixed", epochs=2), pace, Cohort(1.0, 1.0, 1.0)) == 2


@pytest.mark.parametrize(
    ("late", "given", "fields", "then"),
    [
        pytest.param(True, 2.0, {}, 1.0, id="late halves"),
        pytest.param(True, 0.3, {}, 0.15, id="late halves again"),
        pytest.param(True, 0.15, {}, 0.1, id="late stops at the least work"),
        pytest.param(True, 2.0, {"minEpochs": 1.5}, 1.5, id="late stops at minEpochs"),
        pytest.param(False, 1.0, {}, 1.25, id="in time adds a quarter"),
        pytest.param(False, 1.0, {"increment": 0.5}, 1.5, id="in time adds the increment"),
        pytest.param(False, 1.9, {}, 2.0, id="in time stops at epochs"),
        pytest.param(False, 1.9, {"maxEpochs": 3}, 2.15, id="in time goes beyond epochs where maxEpochs allows it"),
        pytest.param(False, 2.9, {"maxEpochs": 3}, 3.0, id="in time stops at maxEpochs"),
    ],
)
def test_aimd(late, given, fields, then):
    workload = policy("aimd", epochs=2, **fields)
    if late:
        pace = wl.after_late_round(workload, Pace(epochs=given), given, elapsed=10.0, done=0.5)
    else:
        pace = wl.after_timely_round(workload, Pace(epochs=given), given)
    assert wl.assign(workload, pace, NOBODY) == pytest.approx(then)


def test_aimd_begins_with_the_declared_epochs():
    assert wl.assign(policy("aimd", epochs=1.5), Pace(), NOBODY) == 1.5


# -- deadline ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantile", "target"),
    [
        pytest.param(0.5, 10.0, id="the median of the arrivals"),
        pytest.param(1.0, 40.0, id="the slowest"),
        pytest.param(0.25, 5.0, id="a quarter"),
        pytest.param(0.75, 20.0, id="three quarters"),
        pytest.param(0.625, 15.0, id="between two ranks"),
    ],
)
def test_cohort_aims_at_the_quantile_of_arrivals(quantile, target):
    paces = [measured_pace(seconds) for seconds in (20.0, 1.25, 10.0, 2.5, 5.0)]  # with 2 epochs: 40, 2.5, 20, 5, 10
    assert wl.cohort(policy("deadline", epochs=2, quantile=quantile), paces).target_seconds == pytest.approx(target)


def test_cohort_counts_transfers_into_the_arrival():
    cohort = wl.cohort(policy("deadline", epochs=2), [measured_pace(4.0, 3.0)])
    assert cohort == Cohort(11.0, 4.0, 3.0)


def test_cohort_of_workers_nobody_has_measured_has_no_target():
    workload = policy("deadline", epochs=2)
    cohort = wl.cohort(workload, [Pace(), Pace(epochs=1.0)])
    assert cohort == NOBODY
    assert wl.assign(workload, Pace(), cohort) == 2
    assert wl.assign(workload, measured_pace(9.0), cohort) == 2


@pytest.mark.parametrize(
    ("pace", "epochs"),
    [
        pytest.param(measured_pace(5.0, 2.0), 2.0, id="the target less the transfer, by the pace"),
        pytest.param(measured_pace(10.0, 2.0), 1.0, id="half as quick, half as much"),
        pytest.param(measured_pace(5.0), 2.4, id="no transfer"),
        pytest.param(measured_pace(1.0, 2.0), 4.0, id="never above maxEpochs"),
        pytest.param(measured_pace(1000.0, 2.0), 0.5, id="never below minEpochs"),
        pytest.param(measured_pace(5.0, 30.0), 0.5, id="minEpochs where the transfer alone takes too long"),
        pytest.param(measured_pace(0.0, 2.0), 4.0, id="maxEpochs where nothing can be measured"),
        pytest.param(Pace(), 2.75, id="a newcomer is taken for the median of its cohort"),
    ],
)
def test_deadline_gives_what_lands_at_the_target(pace, epochs):
    workload = policy("deadline", epochs=2, minEpochs=0.5, maxEpochs=4)
    assert wl.assign(workload, pace, Cohort(12.0, 4.0, 1.0)) == pytest.approx(epochs)


def test_newcomer_gets_the_cohorts_median_pace_and_transfer():
    cohort = wl.cohort(policy("deadline"), [measured_pace(1.0, 0.1), measured_pace(4.0, 0.2), measured_pace(9.0, 0.9), Pace()])
    assert (cohort.epoch_seconds, cohort.transfer_seconds) == (4.0, 0.2)


# -- what is measured -------------------------------------------------------------------------------------------------------------------


def test_first_round_trip_is_taken_as_it_is_and_later_ones_are_averaged():
    pace = wl.measured(Pace(epochs=1.0), trip_seconds=12.0, train_seconds=10.0, epochs=2.0)
    assert pace == Pace(1.0, 5.0, 2.0)
    assert wl.measured(pace, trip_seconds=21.0, train_seconds=20.0, epochs=2.0) == Pace(1.0, 7.5, 1.5)


def test_training_that_took_longer_than_its_round_trip_leaves_no_transfer():
    assert wl.measured(Pace(), trip_seconds=1.0, train_seconds=2.0, epochs=1.0) == measured_pace(2.0, 0.0)


@pytest.mark.parametrize(
    ("before", "elapsed", "done", "epoch_seconds"),
    [
        pytest.param(Pace(), 10.0, 0.5, 10.0, id="half of 2 epochs in 10 s"),
        pytest.param(measured_pace(1.0, 2.0), 10.0, 0.5, 8.0, id="less the known transfer"),
        pytest.param(measured_pace(30.0), 10.0, 0.5, 30.0, id="never quicker than measured"),
        pytest.param(Pace(), 10.0, 0.0, 5.0, id="nothing reported: at least all of it would have taken longer"),
        pytest.param(Pace(), 10.0, 5e-324, 5.0, id="as good as nothing reported"),
        pytest.param(Pace(), 10.0, 1e-310, 5.0, id="a share that is no number's inverse"),
        pytest.param(Pace(), 10.0, 0.0099, 5.0, id="less than can be told from"),
        pytest.param(Pace(), 10.0, 0.01, 500.0, id="the least that can be told from"),
        pytest.param(measured_pace(1.0, 20.0), 10.0, 0.5, 1.0, id="the transfer alone took longer"),
    ],
)
def test_late_worker_has_its_pace_told_from_what_it_has_done(before, elapsed, done, epoch_seconds):
    pace = wl.after_late_round(policy("deadline", epochs=2), before, 2.0, elapsed=elapsed, done=done)
    assert pace.epoch_seconds == pytest.approx(epoch_seconds)
    assert pace.transfer_seconds == before.transfer_seconds


def test_late_worker_that_never_got_its_task_is_not_measured():
    pace = wl.after_late_round(policy("deadline", epochs=2), measured_pace(3.0, 1.0), 2.0, elapsed=None, done=0.0)
    assert pace == Pace(1.0, 3.0, 1.0)


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 1.7e308])
def test_paces_that_are_no_numbers_are_not_kept(seconds):
    before = measured_pace(3.0, 1.0)
    assert wl.measured(before, trip_seconds=5.0, train_seconds=seconds, epochs=0.01) == before
    assert wl.measured(before, trip_seconds=math.inf, train_seconds=1.0, epochs=1.0) == before
    late = wl.after_late_round(policy("deadline", epochs=2), before, 0.01, elapsed=seconds, done=0.5)
    assert (late.epoch_seconds, late.transfer_seconds) == (3.0, 1.0)


# -- in the engine ----------------------------------------------------------------------------------------------------------------------


def epochs_sent(job, round_number):
    """What each worker was told, and what the log says of it: they are the same."""
    answers = {}
    for index in range(job.spec.workers.replicas):
        task = job.task(index)
        assert task.round == round_number
        answers[f"worker-{index}"] = task.work.epochs
    sent = {record["worker"]: record["epochs"] for record in job.events("task_sent") if record["round"] == round_number}
    assert sent == answers
    return [epochs for _, epochs in sorted(answers.items())]


def test_tasks_follow_aimd(bottle):
    job = bottle(3, rounds=9, quorum={"percent": 66, "graceSeconds": 0}, workload={"policy": "aimd", "epochs": 2})
    job.begin()
    assert epochs_sent(job, 1) == [2, 2, 2]
    job.now += 1
    for number, expected in [(2, 1.0), (3, 0.5)]:
        job.submit(0, number - 1)
        job.submit(1, number - 1)  # closes at once, without worker 2
        assert epochs_sent(job, number) == [2, 2, expected]
    job.submit(2, 3)
    job.submit(0, 3)  # now without worker 1
    assert epochs_sent(job, 4) == [2, 1.0, 0.75]


def test_tasks_follow_the_deadline_policy(bottle):
    job = bottle(3, rounds=9, quorum={"percent": 100}, workload={"policy": "deadline", "epochs": 2, "minEpochs": 0.1})
    job.begin()
    assert epochs_sent(job, 1) == [2, 2, 2]
    job.now += 8
    for index, seconds in enumerate([2.0, 4.0, 8.0]):
        job.submit(index, 1, seconds=seconds)
    # seconds per epoch 1, 2, 4 and transfers of 6, 4, 0 s: all arrive at 8 s, which is the target, with the 2 epochs they had
    assert epochs_sent(job, 2) == [2, 2, 2]
    job.now += 8
    for index, seconds in enumerate([2.0, 4.0, 16.0]):
        job.submit(index, 2, seconds=seconds)
    # worker 2 now averages 6 s per epoch; the median arrival stays at 8 s
    assert epochs_sent(job, 3) == pytest.approx([2, 2, 8 / 6])


def test_late_worker_under_the_deadline_policy_gets_less_by_what_it_had_done(bottle):
    job = bottle(3, rounds=9, quorum={"percent": 66, "graceSeconds": 0}, workload={"policy": "deadline", "epochs": 2, "minEpochs": 0.1})
    job.begin()
    job.now += 4
    job.beat(2, 1, done=0.25)  # half an epoch in 4 s: 8 s for one
    job.submit(0, 1, seconds=4.0)
    job.submit(1, 1, seconds=4.0)  # 2 s for one; all aim at 4 s
    assert epochs_sent(job, 2) == pytest.approx([2, 2, 0.5])


@pytest.mark.parametrize("done", [5e-324, 1e-310, 1e-9])
def test_a_share_of_next_to_nothing_harms_nobody(bottle, done):
    job = bottle(3, rounds=9, quorum={"percent": 66, "graceSeconds": 0}, workload={"policy": "deadline", "epochs": 0.5})
    job.begin()
    job.now += 4
    job.beat(2, 1, done=done)
    job.submit(0, 1, seconds=4.0)
    job.submit(1, 1, seconds=4.0)
    assert job.versions[1]["paces"]["2"]["epoch_seconds"] == 8.0
