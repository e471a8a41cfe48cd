"""A real Prometheus scrapes real runs: each query of the boards of one job has data, and the figures are those of the files."""

import math
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from fedcore.report.tables import moment
from support.asking import ask
from support.eventful import DOOMED
from support.rules import RECORDS
from support.watched import NAMESPACE
from tests.dashboards.queries import Source, queries, shipped, values

pytestmark = pytest.mark.timeout(300)  # half a minute where there is nothing else to do
BOARDS = {uid: board for uid, board in shipped().items() if uid != "fedcore-overview"}
"""The overview needs an operator: the cluster's tests ask for it."""
MAY_BE_ZERO = {
    "fedcore-workers Workers not shown": "there are five",
    "fedcore-run Live above required": "the job has lost a worker for good",
}
"""All other panels have something other than zero to show."""
WINDOW = "30s"


def asked(watched, query):
    """Ask at the end of the run, which is the range that is shown."""
    return ask(watched.prometheus, query, watched.start, watched.end)


def filled(watched):
    return values(namespace=NAMESPACE, federatedjob=watched.job, window=WINDOW, span_seconds=watched.span_seconds, step_seconds=1)


@cache
def answers(watched):
    """Every query of the boards with its answer."""
    return {query: asked(watched, query) for board in BOARDS.values() for query in queries(board, filled(watched))}


def test_every_panel_variable_and_annotation_has_data(watched):
    found = answers(watched)
    assert {str(query): answer.problem for query, answer in found.items() if answer.problem} == {}
    assert {query.source for query in found} == set(Source)


def test_every_panel_but_those_listed_has_something_other_than_zero(watched):
    shown = {}
    for query, answer in answers(watched).items():
        if query.source is Source.PANEL:
            panel = f"{query.board} {query.title}"
            shown[panel] = shown.get(panel, False) or any(answer.finite)
    assert {panel for panel, something in shown.items() if not something} <= set(MAY_BE_ZERO)
    assert set(MAY_BE_ZERO) <= set(shown)


def test_the_table_of_workers_knows_who_is_gone(watched):
    state, *_ = (query for query in answers(watched) if query.title == "Workers")
    found = {labels["worker"]: value for labels, value in watched.prometheus.query(state.expr, watched.end)}
    assert found == {f"worker-{index}": float(index != DOOMED) for index in range(5)}


@pytest.mark.parametrize("name", ["Coordinator started", "Finished"])
def test_a_mark_is_drawn_wherever_the_steps_fall(watched, name):
    """The end of a run is in one scrape alone."""
    seconds = 10
    given = filled(watched) | {"__interval": f"{seconds}s"}
    (mark,) = [one for one in queries(BOARDS["fedcore-run"], given) if one.source is Source.ANNOTATION and one.title == name]
    for shift in range(seconds):
        assert watched.prometheus.query_range(mark.expr, watched.start + shift, watched.end + seconds, step=seconds), shift


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("fedcore_rounds_total", "fedcore_round_total", id="a misspelt metric"),
        pytest.param("by (outcome)", "by (outcome", id="an unbalanced brace"),
    ],
)
def test_a_planted_fault_is_found(watched, right, wrong):
    query = next(query for query in answers(watched) if query.title == "Rounds by outcome, per minute")
    assert right in query.expr
    assert asked(watched, replace(query, expr=query.expr.replace(right, wrong))).problem


def counted(rows, column):
    return {(key,): float(number) for key, number in Counter(row[column] for row in rows).items()}


def nonzero(found):
    return {key: value for key, value in found.items() if value}


def total(rows, column):
    return sum(float(row[column]) for row in rows if row[column])


def test_rounds_and_updates_are_those_of_the_tables(watched):
    rounds, updates = watched.run.rounds, watched.run.updates
    assert nonzero(watched.last("fedcore_rounds_total", "outcome")) == counted(rounds, "outcome")
    assert nonzero(watched.last("fedcore_updates_total", "result")) == counted(updates, "result")
    rejected = [row for row in updates if row["result"] == "rejected"]
    assert nonzero(watched.last("fedcore_updates_rejected_total", "reason")) == counted(rejected, "reason") == {("non_finite",): 1}
    assert watched.last("fedcore_stragglers_total") == {(): total(rounds, "stragglers")}
    assert watched.last("fedcore_samples_total") == {(): total(rounds, "samples")}
    assert watched.last("fedcore_quorum_deadlines_missed_total") == {(): total(rounds, "deadlines_missed")}
    assert watched.last("fedcore_current_round") == {(): float(rounds[-1]["round"])}
    kinds = Counter(event["kind"] for event in watched.run.named("worker_registered"))
    assert nonzero(watched.last("fedcore_worker_registrations_total", "kind")) == {(kind,): float(n) for kind, n in kinds.items()}


def test_durations_and_trips_are_those_of_the_tables(watched):
    rounds, updates = watched.run.rounds, watched.run.updates
    assert nonzero(watched.last("fedcore_round_duration_seconds_count", "outcome")) == counted(rounds, "outcome")
    seconds = watched.last("fedcore_round_duration_seconds_sum", "outcome")
    for outcome in ("full", "quorum"):
        assert seconds[outcome,] == pytest.approx(total([row for row in rounds if row["outcome"] == outcome], "duration_s"), abs=0.01)
    for result in ("accepted", "stale"):
        trips = [row for row in updates if row["result"] == result and row["round_trip_s"]]
        assert trips
        assert watched.last("fedcore_worker_round_trip_seconds_count", "result")[result,] == len(trips)
        seconds = watched.last("fedcore_worker_round_trip_seconds_sum", "result")[result,]
        assert seconds == pytest.approx(total(trips, "round_trip_s"), abs=0.01 * len(trips))


def test_bytes_and_the_model_are_those_of_the_summary(watched):
    summary, rounds = watched.run.summary, watched.run.rounds
    sent = {(direction,): float(number) for direction, number in summary["bytes"].items()}
    assert watched.last("fedcore_payload_bytes_total", "direction") == sent
    assert sent == {("sent",): total(rounds, "bytes_sent"), ("received",): total(rounds, "bytes_received")}
    assert watched.last("fedcore_eval_accuracy_ratio")[()] == pytest.approx(summary["metrics"]["accuracy"])
    assert watched.last("fedcore_eval_loss")[()] == pytest.approx(summary["metrics"]["loss"])
    assert watched.last("fedcore_eval_version") == {(): summary["rounds_completed"]}


def test_times_are_those_of_the_events(watched):
    first, last = watched.run.events[0], watched.run.events[-1]
    assert (first["event"], last["event"]) == ("run_started", "run_finished")
    assert watched.last("fedcore_run_start_timestamp_seconds")[()] == pytest.approx(moment(first["time"]).timestamp(), abs=0.1)
    assert watched.last("fedcore_run_end_timestamp_seconds")[()] == pytest.approx(moment(last["time"]).timestamp(), abs=0.1)


def test_a_job_that_ends_between_two_scrapes_leaves_accuracy_and_reason_behind(brief):
    selector = f'fedcore_phase{{federatedjob="{brief.job}", phase="Succeeded"}}'
    seen = brief.prometheus.samples(selector, brief.span_seconds, brief.end)
    ended = moment(brief.run.named("run_finished")[0]["time"]).timestamp()
    assert [value for _, value in seen] == [0.0] * (len(seen) - 1) + [1.0]
    (before, _), (after, _) = seen[-2:]
    assert before < ended < after  # it has waited for this scrape, and for no other
    assert brief.last("fedcore_eval_accuracy_ratio")[()] == pytest.approx(brief.run.summary["metrics"]["accuracy"])
    assert nonzero(brief.last("fedcore_finished", "reason")) == {("Completed",): 1.0}
    assert nonzero(brief.last("fedcore_rounds_total", "outcome")) == counted(brief.run.rounds, "outcome")


def test_prometheus_evaluates_every_rule_and_the_runs_faults_are_alerted(watched):
    groups = watched.prometheus.ask("rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert {name: rule["health"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    for record in RECORDS:
        found = watched.prometheus.query_range(f'{record}{{federatedjob="{watched.job}"}}', watched.start, watched.end, step=1)
        assert any(math.isfinite(value) for _, line in found for value in line), record
    seen = watched.prometheus.query_range(f'ALERTS{{federatedjob="{watched.job}"}}', watched.start, watched.end, step=1)
    states = {(labels["alertname"], labels["alertstate"]) for labels, _ in seen}
    assert ("FedCoreUpdatesRejected", "firing") in states  # the visitor's
    assert ("FedCoreWorkerLost", "pending") in states  # who was given up
