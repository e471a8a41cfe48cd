"""The workers of one job: who is slow, who is gone, who has how much to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models import dashboard as model

from charts.dashboards import house
from charts.dashboards.panels import BAD, GOOD, WARN, bars, colours, figure, lines, prop, query, rows, steps
from charts.dashboards.promql import Scope
from charts.dashboards.run import JOB, MARKS, MENUS, WORKING
from fedcore.coordinator import metrics

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from fedcore.metrics import Metric

__all__ = ["board"]

_OF_JOB = ('namespace=~"$namespace"', 'federatedjob=~"$federatedjob"')
_EACH = Scope(*_OF_JOB, 'worker=~"$worker"')
_SPREAD = {
    "p90": (prop("custom.fillBelowTo", "p10"), prop("custom.fillOpacity", 15), *colours(x="blue")["x"]),
    "p10": (prop("custom.fillOpacity", 0), *colours(x="blue")["x"]),
    "p50": (prop("custom.fillOpacity", 0), *colours(x=GOOD)["x"]),
}
"""A median in the band that eight of ten lie in."""


def board() -> Dashboard:
    """Return the board."""
    menu = house.several("worker", "Worker", metrics.WORKER_UP, ", ".join(_OF_JOB))
    return house.make(
        "fedcore-workers",
        "FedCore / Workers",
        "The workers of one federated job. Above 200 workers only the 50 slowest or longest unseen have series of their own; spreads are "
        "over all.",
        (*MENUS, menu),
        MARKS,
        (
            house.Row(12, (house.Column(_figures()), _slowest())),
            house.Row(8, _stragglers()),
            house.Row(8, _work()),
            house.Row(12, _each()),
        ),
    )


def _last(metric: Metric) -> str:
    return f"max by (worker) ({JOB.newest(_EACH.last(metric))})"


def _there() -> tuple[str, str]:
    """Return by worker when its series were last there while the job was at work, and when any was: who has left is in no later scrape."""
    last = f"max by (worker) (max_over_time((timestamp({_EACH.series(metrics.WORKER_UP)}) and {WORKING})[$__range:$__interval]))"
    return last, f"scalar(max({last}))"


def _figures() -> tuple[object, ...]:
    last, latest = _there()
    up = f"{_EACH.series(metrics.WORKER_UP)} == 1"
    silence = f"max(time() - {_EACH.series(metrics.WORKER_LAST_SEEN)} and on (instance, worker) {up})"
    return (
        figure(
            "Workers shown",
            "Workers with series of their own; of a finished job, at its end. Good: all of the job, or 50 of more than 200.",
            query(f"count({last} == {latest})", instant=True),
            width=4,
            decimals=0,
        ),
        figure(
            "Workers not shown",
            "Workers whose series were left out, so that a large job does not flood Prometheus. Good: 0 up to 200 workers.",
            query(f"max({JOB.newest(JOB.last(metrics.SERIES_DROPPED))})", instant=True),
            width=4,
            decimals=0,
        ),
        figure(
            "Longest silence",
            "Of a live worker; of a finished job the last such figure. Good: about the heartbeat interval. At three of them the worker "
            "counts as lost.",
            query(f"last_over_time(({silence})[$__range:$__interval])", instant=True),
            width=4,
            unit="s",
            thresholds=steps((None, GOOD), (15, WARN)),
        ),
    )


def _slowest() -> object:
    mean = f"avg_over_time({_EACH.series(metrics.WORKER_ROUND_TRIP)}[$__range] @ end())"
    slowest = f"max by (worker) ({_EACH.series(metrics.WORKER_ROUND_TRIP)}) and on (worker) topk(10, max by (worker) ({mean}))"
    return lines(
        "Slowest ten",
        "Latest round trip of the ten workers with the highest mean over the time range. Good: lines close together. One far above the "
        "others costs the round its quorum wait, or its own update.",
        query(slowest, "{{worker}}"),
        width=20,
        unit="s",
        stepped=True,
        calcs=("mean", "max"),
    )


def _stragglers() -> tuple[object, ...]:
    behind = JOB.quantile(0.95, metrics.STALENESS)
    return (
        lines(
            "Round trip, spread",
            "Median of all workers' trips in the band from p10 to p90. Good: a narrow band. A wide one: the work does not fit the "
            "workers' speed, and a policy like aimd would share it out better than fixed.",
            query(JOB.quantile(0.1, metrics.ROUND_TRIP), "p10"),
            query(JOB.quantile(0.5, metrics.ROUND_TRIP), "p50"),
            query(JOB.quantile(0.9, metrics.ROUND_TRIP), "p90"),
            width=8,
            unit="s",
            overrides=_SPREAD,
        ),
        lines(
            "Stragglers per round",
            "Live participants whose update did not make it when the round closed, on average. Good: near 0; always the same number are "
            "workers that never make it.",
            query(JOB.ratio([JOB.rate(metrics.STRAGGLERS)], [JOB.rate(metrics.ROUNDS_ENDED)]), "stragglers"),
            width=8,
            area=True,
            overrides=colours(stragglers=WARN),
        ),
        lines(
            "Late updates: rounds behind",
            "How many rounds behind updates were that came late. Good: no line, or at most 1: just missed it; 0 is before the next round "
            "had opened. More: the worker works for rounds that are long over.",
            query(f"ceil({behind})", "p95"),
            query(JOB.mean(metrics.STALENESS), "mean"),
            width=8,
            overrides=colours(p95=BAD, mean=WARN),
        ),
    )


def _work() -> tuple[object, ...]:
    return (
        lines(
            "Epochs assigned, spread",
            "Work handed out per task, median in the band from p10 to p90, read from histogram buckets, so roughly. Good: it settles; a "
            "band that stays wide is a policy that found fast and slow workers.",
            query(JOB.quantile(0.1, metrics.ASSIGNED_EPOCHS), "p10"),
            query(JOB.quantile(0.5, metrics.ASSIGNED_EPOCHS), "p50"),
            query(JOB.quantile(0.9, metrics.ASSIGNED_EPOCHS), "p90"),
            width=8,
            overrides=_SPREAD,
        ),
        lines(
            "Workload adjustments, per minute",
            "Changes made by the workload policy. Good: many at first, then few, increases and decreases in balance. With the policy "
            "fixed there are none.",
            query(JOB.per_minute(metrics.ADJUSTMENTS, by="direction"), "{{direction}}"),
            width=8,
            overrides=colours(increase=GOOD, decrease=WARN),
        ),
        lines(
            "Registrations and losses",
            "Within the window. New: at the start, or scaled up. Restart: a process that died and came back. Reconnect: the same process "
            "after a broken connection. Lost: three heartbeats missed. Good: new at the start, then nothing.",
            query(JOB.increase(metrics.REGISTRATIONS, by="kind"), "{{kind}}"),
            query(JOB.increase(metrics.WORKERS_LOST), "lost"),
            width=8,
            decimals=0,
            overrides=colours(new=GOOD, restart=WARN, reconnect="blue", lost=BAD),
        ),
    )


def _each() -> tuple[object, ...]:
    columns: dict[str, Metric] = {
        "Round trip": metrics.WORKER_ROUND_TRIP,
        "Epochs": metrics.WORKER_EPOCHS,
        "Samples": metrics.WORKER_SAMPLES,
        "Last round": metrics.WORKER_LAST_ROUND,
    }
    last, latest = _there()
    queries = {"State": query(f"{_last(metrics.WORKER_UP)} * ({last} == bool {latest})", as_table=True)}
    queries |= {heading: query(_last(metric), as_table=True) for heading, metric in columns.items()}
    queries["Last seen"] = query(f"1000 * {_last(metrics.WORKER_LAST_SEEN)}", as_table=True)
    states = model.ValueMap(
        options={
            "0": model.ValueMappingResult(text="gone", color=BAD, index=0),
            "1": model.ValueMappingResult(text="live", color=GOOD, index=1),
        }
    )
    return (
        bars(
            "Epochs assigned now",
            "The twelve workers with most work. Good: fast workers have more, stragglers less, if the policy is aimd or deadline.",
            query(f"topk(12, {_last(metrics.WORKER_EPOCHS)} and {last} == {latest})", "{{worker}}", instant=True),
            width=8,
            decimals=1,
        ),
        rows(
            "Workers",
            "What is known of each worker now; of a finished job, at its end. Gone: lost, or it has left. Good: live, a last round close "
            "to the open one, and a round trip like its neighbours'.",
            queries,
            keys={"worker": "Worker"},
            width=16,
            sort="Worker",
            overrides={
                "State": (prop("mappings", [states]), prop("custom.cellOptions", {"type": "color-text"}), prop("custom.width", 90)),
                "Round trip": (prop("unit", "s"), prop("custom.width", 120)),
                "Epochs": (prop("decimals", 1), prop("custom.width", 100)),
                "Samples": (prop("custom.width", 120),),
                "Last round": (prop("custom.width", 120),),
                "Last seen": (prop("unit", "dateTimeFromNow"), prop("custom.width", 170)),
            },
        ),
    )
