"""What a report tells of a run, from its events."""

from __future__ import annotations

from fedcore.report.history import Entry, HistoryFold
from fedcore.report.plots.strip import stragglers


def told(events):
    fold = HistoryFold()
    for event in events:
        fold.feed(event)
    return fold.history()


def test_each_worker_in_each_round(two_rounds):
    history = told(two_rounds)
    assert history.entries == {
        "worker-0": {1: Entry(1.0, 0.75, accepted=True), 2: Entry(1.0, 0.5, accepted=True)},
        "worker-1": {1: Entry(0.5, 1.0, accepted=True, late=True), 2: Entry(0.25, 0.75, accepted=True)},
    }
    assert history.trips() == [0.5, 0.75, 0.75, 1.0]
    assert history.late_by_round() == {1: 1, 2: 0}
    assert history.measured == {1: {"accuracy": 0.625, "loss": 1.25}, 2: {"accuracy": 0.875, "loss": 0.5, "f1": 0.8}}
    assert history.measured_at == {1: 2.0, 2: 3.5}
    assert (history.declared, history.restarts) == (2, {"worker-1": 1})


def test_what_went_wrong_is_told_with_its_round(two_rounds):
    told_of = [(one.round, one.kind, one.text) for one in told(two_rounds).happenings]
    assert told_of == [
        (1, "update_rejected", "worker-1: an update was rejected (non_finite)"),
        (2, "worker_lost", "worker-1 was silent for 15 s"),
        (2, "worker_restarted", "worker-1 came back as attempt 2"),
    ]


def test_a_round_that_is_opened_anew_collects_anew_and_its_outage_is_known(resumed):
    history = told(resumed)
    assert history.entries["worker-0"] == {1: Entry(1.0, None, accepted=True), 2: Entry(1.0, 0.5, accepted=True)}
    assert history.outages == {1: 8.0}
    assert [row["outcome"] for row in history.rounds] == ["full", "aborted"]
    kinds = [one.kind for one in history.happenings]
    assert kinds == ["update_rejected", "coordinator_resumed", "deadline_missed", "ended"]


def test_rounds_that_are_not_complete_are_there(two_rounds):
    history = told(two_rounds[:-8])  # both workers have work in round 2, nothing came back
    assert [(row["round"], row["outcome"]) for row in history.rounds] == [(1, "full"), (2, None)]


def test_who_still_works_for_an_open_round_does_not_lack_an_update(two_rounds):
    parts = told(two_rounds[:-8]).parts()
    assert [(part.worker, part.rounds, part.accepted, part.missing) for part in parts] == [("worker-1", 1, 1, 0), ("worker-0", 2, 1, 0)]
    assert stragglers(parts) == []


def test_who_never_answered_in_a_round_that_ended_lacks_one(resumed):
    """Round 2 was aborted: worker-0 had answered, worker-1 had not."""
    end = resumed.pop()
    resumed.add(31, "task_sent", 1, round=2, worker="worker-1", attempt=1, epochs=1.0)
    assert {part.worker: part.missing for part in told([*resumed, end]).parts()} == {"worker-0": 0, "worker-1": 1}


def test_workers_are_in_the_order_of_their_numbers_and_parts_worst_first(log):
    log.add(0, "run_started", run_id="r", job="j", rounds=1, workers=3, required=1)
    log.add(0, "round_opened", round=1, version=0, participants=3, required=1)
    for worker in ("worker-10", "worker-9", "site"):
        log.add(0, "task_sent", round=1, worker=worker, epochs=1.0)
    log.update(1, 1, "worker-9", round_trip_s=1.0)
    log.update(3, 1, "worker-10", round_trip_s=3.0)
    log.closed(3, 1)
    history = told(log)
    assert list(history.entries) == ["site", "worker-9", "worker-10"]
    assert [part.worker for part in history.parts()] == ["site", "worker-10", "worker-9"]


def test_nothing_is_a_history_too():
    history = told([])
    assert (history.rounds, history.parts(), history.happenings) == ([], [], [])
