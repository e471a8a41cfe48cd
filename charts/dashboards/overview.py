"""All jobs, and the operator that runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import BigValueTextMode

from charts.dashboards import house
from charts.dashboards.panels import BAD, GOOD, WARN, colours, figure, lines, prop, query, rows, steps
from charts.dashboards.promql import ALERTS, Scope
from fedcore.coordinator import metrics as coordinator
from fedcore_operator.runtime import metrics

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from fedcore.metrics import Metric

__all__ = ["board"]

_JOBS = Scope('namespace=~"$namespace"')
_OPERATOR = Scope()
"""Of the operator itself: the namespace of these series is its own."""
_JOB = "namespace, federatedjob"
_NAME = "{{namespace}}/{{federatedjob}}"
_AT_WORK = 'phase=~"Starting|Running|Degraded"'
_RUN_BOARD = (
    "/d/fedcore-run?${datasource:queryparam}&${__url_time_range}&var-namespace=${__data.fields.Namespace}&var-federatedjob=${__value.text}"
)


def board() -> Dashboard:
    """Return the board."""
    return house.make(
        "fedcore-overview",
        "FedCore / Overview",
        "All federated jobs of a cluster, and the operator that runs them. It needs the operator's metrics.",
        (house.several("namespace", "Namespace", metrics.JOB_INFO),),
        (),
        (
            house.Row(4, _figures()),
            house.Row(8, (_table(),)),
            house.Row(8, _progress()),
            house.Row(8, _lives()),
            house.Row(8, _reconciles()),
            house.Row(8, _calls()),
        ),
    )


def _each(metric: Metric, *matchers: str) -> str:
    """Take one series per job, of however many replicas the operator has."""
    return f"max by ({_JOB}) ({_JOBS.series(metric, *matchers)})"


def _ended(phase: str) -> str:
    seen = _JOBS.last(metrics.JOB_PHASE, f'phase="{phase}"')
    within = f"{_JOBS.last(metrics.JOB_COMPLETION)} > time() - $__range_s"
    return f"count(max by ({_JOB}) ({seen}) == 1 and on ({_JOB}) {within}) or vector(0)"


def _at_work(metric: Metric) -> str:
    return f"sum({_each(metric)} and on ({_JOB}) {_JOBS.series(metrics.JOB_PHASE, _AT_WORK)} == 1) or vector(0)"


def _figures() -> tuple[object, ...]:
    by_phase = f"sum by (phase) (max by (namespace, phase) ({_JOBS.series(metrics.JOBS)})) > 0"
    degraded = _each(metrics.JOB_PHASE, 'phase="Degraded"')
    firing = _OPERATOR.series(ALERTS, 'alertname=~"FedCore.*"', 'alertstate="firing"')
    return (
        figure(
            "Jobs by phase",
            "Jobs that exist, whatever the time range. Good: Running and Succeeded. Pending for long: the cluster has no room, or the job "
            "was not accepted.",
            query(by_phase, "{{phase}}", instant=True),
            width=8,
            decimals=0,
            text=BigValueTextMode.VALUE_AND_NAME,
            overrides=colours(Degraded=BAD, Failed=BAD, Succeeded=GOOD),
        ),
        figure(
            "Ended in the time range",
            "Jobs that ended within the time range, deleted ones included. Good: none failed.",
            query(_ended("Succeeded"), "succeeded", instant=True),
            query(_ended("Failed"), "failed", instant=True),
            width=5,
            decimals=0,
            text=BigValueTextMode.VALUE_AND_NAME,
            overrides=colours(succeeded=GOOD) | {"failed": (prop("thresholds", steps((None, "text"), (1, BAD)).build()),)},
        ),
        figure(
            "Below quorum",
            "Jobs that wait because too few of their workers are live. Good: 0. They fail when their grace period is over.",
            query(f"count({degraded} == 1) or vector(0)", instant=True),
            width=3,
            decimals=0,
            thresholds=steps((None, GOOD), (1, BAD)),
        ),
        figure(
            "Workers",
            "Of all jobs that are at work. Good: as many ready as desired; fewer for long: look at the pods that are Pending.",
            query(_at_work(metrics.JOB_READY_WORKERS), "ready", instant=True),
            query(_at_work(metrics.JOB_DESIRED_WORKERS), "desired", instant=True),
            width=5,
            decimals=0,
            text=BigValueTextMode.VALUE_AND_NAME,
        ),
        figure(
            "Alerts firing",
            "FedCore's alerts, if Prometheus has the rules. Good: 0. Each names its runbook.",
            query(f"count({firing}) or vector(0)", instant=True),
            width=3,
            decimals=0,
            thresholds=steps((None, GOOD), (1, BAD)),
        ),
    )


def _table() -> object:
    restarts = f"sum by ({_JOB}) (max by ({_JOB}, role) ({_JOBS.series(metrics.JOB_RESTARTS)}))"
    columns = {
        "": query(f"max by ({_JOB}, phase) ({_JOBS.series(metrics.JOB_PHASE)}) == 1", as_table=True),
        "Round": query(_each(metrics.JOB_CURRENT_ROUND), as_table=True),
        "Target": query(_each(metrics.JOB_TARGET_ROUNDS), as_table=True),
        "Workers ready": query(_each(metrics.JOB_READY_WORKERS), as_table=True),
        "Required": query(_each(metrics.JOB_REQUIRED_WORKERS), as_table=True),
        "Accuracy": query(_each(metrics.JOB_ACCURACY), as_table=True),
        "Restarts": query(restarts, as_table=True),
    }
    phases = {"Succeeded": GOOD, "Degraded": BAD, "Failed": BAD}
    words = {name: model.ValueMappingResult(text=name, color=colour, index=place) for place, (name, colour) in enumerate(phases.items())}
    link = {"title": "Open this run", "url": _RUN_BOARD}
    return rows(
        "Jobs",
        "Jobs that exist. Good: ready at or above required until the last round, and an accuracy that grows. A click on a job opens its "
        "run.",
        columns,
        keys={"namespace": "Namespace", "federatedjob": "Job", "phase": "Phase"},
        width=24,
        sort="Job",
        overrides={
            "Job": (prop("links", [link]),),
            "Phase": (prop("mappings", [model.ValueMap(options=words)]), prop("custom.cellOptions", {"type": "color-text"})),
            "Accuracy": (prop("unit", "percentunit"), prop("decimals", 1)),
        },
    )


def _progress() -> tuple[object, ...]:
    rounds = _JOBS.per_minute(coordinator.ROUNDS_ENDED, 'outcome!="aborted"', by=_JOB)
    return (
        lines(
            "Accuracy by job",
            "Of each job's averaged model. Good: lines that rise and level off.",
            query(_each(metrics.JOB_ACCURACY), _NAME),
            width=12,
            unit="percentunit",
            stepped=True,
            calcs=("lastNotNull",),
        ),
        lines(
            "Rounds per minute by job",
            "Rounds that closed, as the coordinators count them. Good: a steady rate until the job is done. Falling to 0 before: stalled.",
            query(rounds, _NAME),
            width=12,
            calcs=("lastNotNull",),
        ),
    )


def _lives() -> tuple[object, ...]:
    restarts, disruptions = (
        f"round(sum by (role) (max by ({_JOB}, role) (increase({_JOBS.series(metric)}[$window]))))"
        for metric in (metrics.JOB_RESTARTS, metrics.JOB_DISRUPTIONS)
    )
    return (
        lines(
            "Restarts and disruptions",
            "Pods replaced within the window. Restarts cost budget: the process failed. Disruptions do not: drained, preempted, evicted. "
            "Good: nothing but drains you know of.",
            query(restarts, "{{role}} restarts"),
            query(disruptions, "{{role}} disruptions"),
            width=8,
            decimals=0,
        ),
        lines(
            "Job duration",
            "Start to end, of jobs that ended within the window in all namespaces; gaps where none did. Good: what you know of your jobs.",
            query(_OPERATOR.quantile(0.5, metrics.JOB_DURATION), "p50"),
            query(_OPERATOR.quantile(0.95, metrics.JOB_DURATION), "p95"),
            width=8,
            unit="s",
            overrides=colours(p50=GOOD, p95=WARN),
        ),
        lines(
            "Time to first round",
            "Creation of a job until its round 1 opens: scheduling, pulling images, starting Python. Good: below a minute once the images "
            "are on the nodes.",
            query(_OPERATOR.quantile(0.5, metrics.TIME_TO_FIRST_ROUND), "p50"),
            query(_OPERATOR.quantile(0.95, metrics.TIME_TO_FIRST_ROUND), "p95"),
            width=8,
            unit="s",
            overrides=colours(p50=GOOD, p95=WARN),
        ),
    )


def _reconciles() -> tuple[object, ...]:
    return (
        lines(
            "Reconcile duration",
            "One look of the operator at one job. Good: p95 below a second. If it grows with the number of jobs, the API server is slow: "
            "see the requests below.",
            query(_OPERATOR.quantile(0.5, metrics.RECONCILE_DURATION), "p50"),
            query(_OPERATOR.quantile(0.95, metrics.RECONCILE_DURATION), "p95"),
            query(_OPERATOR.quantile(0.99, metrics.RECONCILE_DURATION), "p99"),
            width=8,
            unit="s",
            overrides=colours(p50=GOOD, p95=WARN, p99=BAD),
        ),
        lines(
            "Reconciles by result, per minute",
            "Done: nothing more to do now. Requeue: to be looked at again at a known time. Error: tried again with a growing delay. Good: "
            "hardly any error.",
            query(f"60 * {_OPERATOR.rate(f'{metrics.RECONCILE_DURATION.name}_count', by='result')}", "{{result}}"),
            width=8,
            overrides=colours(done=GOOD, requeue="blue", error=BAD),
        ),
        lines(
            "Queue depth",
            "Jobs that were due for a look at the same time, the most within the window. Good: a few, after many changes at once. If it "
            "grows and stays, the operator does not keep pace.",
            query(f"max(max_over_time({_OPERATOR.series(metrics.QUEUE_DEPTH)}[$window]))", "due"),
            width=8,
            decimals=0,
            area=True,
        ),
    )


def _calls() -> tuple[object, ...]:
    age = f"time() - max by (resource) ({_OPERATOR.series(metrics.WATCH_LAST_EVENT)} > 0)"
    polls = _OPERATOR.per_minute(metrics.POLLS, by="result")
    return (
        lines(
            "API requests, per minute",
            "Calls to the Kubernetes API by verb and code. Good: codes of 200 and 201; 409 now and then. 429: the API server slows the "
            "operator down. 403: its role lacks a right.",
            query(_OPERATOR.per_minute(metrics.KUBE_REQUESTS, by="verb, code"), "{{verb}} {{code}}"),
            width=8,
        ),
        lines(
            "Watch age",
            "Longest time without an item of a watch, within the window. Good: while pods come and go, seconds; where nothing changes it "
            "grows without harm. Growing although there are changes: the watch is stuck.",
            query(f"max_over_time(({age})[$window:$__interval])", "{{resource}}"),
            width=8,
            unit="s",
        ),
        lines(
            "Progress polls by result, per minute",
            "The operator asks each coordinator how far it is. Good: ok; refused for a moment while a coordinator starts. Timeouts: it is "
            "overloaded, or a NetworkPolicy is in between.",
            query(polls, "{{result}}"),
            width=8,
            overrides=colours(ok=GOOD, timeout=WARN, refused="blue", invalid=BAD),
        ),
    )
