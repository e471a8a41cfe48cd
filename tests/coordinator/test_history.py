"""What each event adds to the metrics, and what a resumed coordinator takes over."""

from __future__ import annotations

import pytest

from fedcore.coordinator.history import History

NOON = "2026-11-24T12:00:0{}.000Z"
NOON_SECONDS = 1795521600.0


def event(name, second=0, **fields):
    return {"time": NOON.format(second), "seq": 0, "resume": 0, "event": name, **fields}


def update(result, worker="w", number=1, **fields):
    known = {"round_trip_s": 2.5, "train_s": 2.0, "samples": 100, "staleness_rounds": 0, "reason": ""}
    return event("update", round=number, worker=worker, result=result, **{**known, **fields})


def closed(number=1, outcome="full", **fields):
    known = {"duration_s": 3.0, "participants": 3, "accepted": 2, "required": 2, "stragglers": 1, "quorum_wait_s": 0.5}
    return event("round_closed", round=number, outcome=outcome, **{**known, "samples": 200, "train_loss": 0.1, **fields})


def added(history, *events):
    return [(metric.name.removeprefix("fedcore_"), labels, value) for each in events for metric, labels, value in history.feed(each)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            update("accepted"),
            [("updates_total", ("accepted",), 1), ("worker_round_trip_seconds", ("accepted",), 2.5), ("samples_total", (), 100)],
            id="an accepted update: result, trip, samples",
        ),
        pytest.param(
            update("accepted", round_trip_s=None), [("updates_total", ("accepted",), 1), ("samples_total", (), 100)],
            id="a trip that began under another coordinator is not observed",
        ),
        pytest.param(
            update("stale", staleness_rounds=2),
            [("updates_total", ("stale",), 1), ("worker_round_trip_seconds", ("stale",), 2.5), ("update_staleness_rounds", (), 2)],
            id="a late one: how late",
        ),
        pytest.param(
            update("rejected", reason="non_finite"),
            [("updates_total", ("rejected",), 1), ("updates_rejected_total", ("non_finite",), 1)],
            id="a rejected one: why, and no trip",
        ),
        pytest.param(update("duplicate"), [("updates_total", ("duplicate",), 1)], id="a duplicate: no trip"),
        pytest.param(
            event("task_superseded", worker="w", round_trip_s=4.0), [("worker_round_trip_seconds", ("superseded",), 4.0)],
            id="work that was given up: its trip",
        ),
        pytest.param(
            closed(outcome="quorum"),
            [
                ("rounds_total", ("quorum",), 1), ("quorum_wait_seconds", (), 0.5),
                ("round_duration_seconds", ("quorum",), 3.0), ("stragglers_total", (), 1),
            ],
            id="a round that closed",
        ),
        pytest.param(
            closed(outcome="aborted", quorum_wait_s=None), [("rounds_total", ("aborted",), 1)], id="an aborted one has no duration",
        ),
        pytest.param(
            event("checkpoint_written", version=1, duration_s=0.2, aggregation_s=0.1, bytes=8),
            [("checkpoint_seconds", (), 0.2), ("aggregation_seconds", (), 0.1)],
            id="a version",
        ),
        pytest.param(
            event("checkpoint_written", version=0, duration_s=0.2, aggregation_s=0.0, bytes=8), [("checkpoint_seconds", (), 0.2)],
            id="the first weights are no sum",
        ),
        pytest.param(event("task_sent", round=1, worker="w", epochs=2.0), [("assigned_epochs", (), 2.0)], id="work handed out"),
        pytest.param(
            event("worker_registered", worker="w", kind="restart"), [("worker_registrations_total", ("restart",), 1)], id="a registration",
        ),
        pytest.param(event("worker_lost", worker="w"), [("workers_lost_total", (), 1)], id="a lost worker"),
        pytest.param(event("round_deadline_missed", round=1), [("quorum_deadlines_missed_total", (), 1)], id="a missed deadline"),
        pytest.param(event("listening", url="x"), [], id="what metrics do not show"),
    ],
)  # fmt: skip
def test_event_adds(given, expected):
    assert added(History(), given) == expected


def test_workload_is_adjusted_between_rounds_and_not_by_handing_the_same_out_again():
    sent = [
        event("task_sent", round=number, worker="w", epochs=epochs) for number, epochs in [(1, 2.0), (1, 2.0), (2, 1.0), (3, 1.5), (4, 1.5)]
    ]
    changes = [(labels, value) for name, labels, value in added(History(), *sent) if name == "workload_adjustments_total"]
    assert changes == [(("decrease",), 1), (("increase",), 1)]


def test_overhead_is_from_opening_to_opening_less_the_longest_accepted_work():
    history = History()
    events = [
        event("round_opened", 0, round=1), update("accepted", "a", train_s=1.0), update("accepted", "b", train_s=2.5),
        update("rejected", "c", reason="norm", train_s=9.0), closed(), event("round_opened", 3, round=2),
        closed(2), event("round_opened", 6, round=3),
    ]  # fmt: skip
    overheads = [value for name, _, value in added(history, *events) if name == "round_overhead_seconds"]
    assert overheads == [pytest.approx(0.5)]  # of round 2 no work was reported
    assert history.round_opened_at == NOON_SECONDS + 6


def test_resumed_coordinator_knows_what_was_and_counts_nothing_of_it():
    history = History()
    past = [
        event("run_started", 1), event("checkpoint_written", 2, version=0, duration_s=0, aggregation_s=0, bytes=64),
        event("round_opened", 2, round=1), event("task_sent", round=1, worker="w", epochs=2.0), update("accepted"), closed(),
        event("checkpoint_written", 3, version=1, duration_s=0, aggregation_s=0, bytes=64),
        event("round_opened", 4, round=2), update("accepted", number=2), event("quorum_lost", 5, round=2),
    ]  # fmt: skip
    for each in past:
        history.feed(each)
    assert added(history, event("coordinator_resumed", 8, round=2, version=1)) == []
    assert added(history, event("round_opened", 9, round=2)) == []  # what lies between the openings was nobody's overhead
    assert (history.started_at, history.checkpoint_at, history.quorum_lost_at) == (NOON_SECONDS + 1, NOON_SECONDS + 3, NOON_SECONDS + 5)
    assert history.model_bytes == 64
    assert history.closed["round"] == 1
    worker = history.workers["w"]
    assert (worker.epochs, worker.round_trip_s, worker.accepted_round) == (2.0, 2.5, None)


def test_aborted_round_leaves_the_last_closed_one_standing():
    history = History()
    added(history, closed(1), closed(2, outcome="aborted"))
    assert (history.closed["round"], history.closes) == (1, 1)


def test_quorum_that_is_regained_and_worker_that_leaves_are_forgotten():
    history = History()
    added(history, update("accepted"), event("quorum_lost", 1), event("quorum_regained", 2), event("worker_left", worker="w"))
    assert history.quorum_lost_at == 0
    assert history.workers == {}


def test_end_is_kept_with_the_bytes_it_says():
    history = History()
    added(history, event("run_finished", 7, bytes_sent=5, bytes_received=6))
    assert (history.finished_at, history.carried) == (NOON_SECONDS + 7, (5, 6))
