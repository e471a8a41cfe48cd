"""The tables: what each column holds, and when a row is complete."""

from __future__ import annotations

import pytest

from fedcore.report.tables import ROUND_COLUMNS, UPDATE_COLUMNS, Tables, quantile


def rows_of(events, table):
    tables = Tables()
    return [row.values for event in events for row in tables.feed(event) if row.table == table]


def test_a_round_is_complete_when_the_next_one_closes_or_the_job_ends(two_rounds):
    tables = Tables()
    given = [(event["event"], row.values["round"]) for event in two_rounds for row in tables.feed(event) if row.table == "rounds"]
    assert given == [("round_closed", 1), ("run_finished", 2)]


def test_rows_have_the_columns_in_order(two_rounds):
    assert all(tuple(row) == ROUND_COLUMNS for row in rows_of(two_rounds, "rounds"))
    assert all(tuple(row) == UPDATE_COLUMNS for row in rows_of(two_rounds, "updates"))


def test_counts_run_from_a_rounds_opening_to_the_next_ones(two_rounds):
    first, second = rows_of(two_rounds, "rounds")
    assert (first["late"], first["duplicate"], first["rejected"], first["lost"]) == (0, 1, 1, 0)
    assert (second["late"], second["duplicate"], second["rejected"], second["lost"]) == (1, 0, 0, 1)
    assert (first["bytes_sent"], first["bytes_received"]) == (810, 1220)
    assert (second["bytes_sent"], second["bytes_received"]) == (800, 800)


def test_accuracy_is_that_of_the_version_the_round_made(two_rounds):
    assert [(row["accuracy"], row["loss"]) for row in rows_of(two_rounds, "rounds")] == [(0.625, 1.25), (0.875, 0.5)]


def test_overhead_is_opening_to_opening_less_the_longest_accepted_work(two_rounds):
    first, second = rows_of(two_rounds, "rounds")
    assert first["overhead_s"] == pytest.approx(1.125 - 0.875)
    assert second["overhead_s"] is None


def test_a_reopened_round_collects_anew_and_keeps_its_counts(resumed):
    first = rows_of(resumed, "rounds")[0]
    assert (first["resume"], first["accepted"], first["rejected"]) == (1, 2, 1)
    assert first["round_trip_p50_s"] == first["round_trip_max_s"] == 1.5
    assert first["slowest_worker"] == "worker-1"
    assert (first["epochs_min"], first["epochs_max"]) == (2.0, 2.0)
    assert (first["bytes_sent"], first["bytes_received"]) == (810, 860)
    assert first["overhead_s"] == pytest.approx(1.5)


def test_a_round_open_at_the_end_is_aborted(resumed):
    last = rows_of(resumed, "rounds")[-1]
    assert (last["round"], last["outcome"], last["accepted"], last["deadlines_missed"]) == (2, "aborted", 1, 1)
    assert last["duration_s"] == 20.0
    assert (last["stragglers"], last["samples"], last["accuracy"]) == (None, None, None)


def test_required_of_an_open_round_follows_the_job(resumed):
    resumed.insert(-1, {**resumed[-2], "event": "spec_changed", "rounds": 9, "workers": 4, "required": 3})
    last = rows_of(resumed, "rounds")[-1]
    assert (last["outcome"], last["required"]) == ("aborted", 3)


def test_an_aborted_round_that_the_coordinator_closed_has_one_row(resumed):
    end = resumed.pop()
    resumed.closed(31.5, 2, resume=1, outcome="aborted", duration_s=20.0, accepted=1, stragglers=1)
    rows = rows_of([*resumed, end], "rounds")
    assert [(row["round"], row["outcome"], row["stragglers"]) for row in rows] == [(1, "full", 0), (2, "aborted", 1)]


def test_an_interrupted_run_has_no_row_for_its_open_round(resumed):
    assert rows_of(resumed[:-1], "rounds") == []


def test_a_round_that_was_durable_but_never_said_so_still_has_a_row(resumed):
    events = [event for event in resumed if event["event"] not in {"round_closed", "checkpoint_written"}]
    first = rows_of(events, "rounds")[0]
    assert (first["round"], first["outcome"], first["accepted"], first["duration_s"]) == (1, "quorum", 2, None)


@pytest.mark.parametrize("run", ["two_rounds", "resumed"])
def test_columns_add_up_to_the_updates_whatever_happens(run, request):
    events = request.getfixturevalue(run)
    results = [row["result"] for row in rows_of(events, "updates")]
    rounds = rows_of(events, "rounds")
    assert sum(row["late"] for row in rounds) == results.count("stale")
    assert sum(row["rejected"] for row in rounds) == results.count("rejected")
    assert sum(row["duplicate"] for row in rounds) == results.count("duplicate")


@pytest.mark.parametrize(
    ("ordered", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.95, 3.0), ([1.0, 2.0], 0.5, 1.5), ([1.0, 2.0, 3.0, 4.0, 5.0], 0.95, 4.8)],
)
def test_quantile(ordered, share, expected):
    assert quantile(ordered, share) == expected
