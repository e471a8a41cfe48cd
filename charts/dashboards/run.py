"""One job: is it getting somewhere, and where does its time go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import BigValueTextMode

from charts.dashboards import house
from charts.dashboards.panels import BAD, GOOD, LIMIT, WARN, colours, figure, lines, prop, query, steps
from charts.dashboards.promql import PROCESS_MEMORY, PROCESS_START, Scope
from fedcore.coordinator import metrics

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from fedcore.metrics import Metric

__all__ = ["JOB", "MARKS", "MENUS", "WORKING", "board"]

JOB = Scope('namespace=~"$namespace"', 'federatedjob=~"$federatedjob"')
MENUS = (
    house.several("namespace", "Namespace", metrics.RUN_INFO),
    house.one("federatedjob", "Job", metrics.RUN_INFO, 'namespace=~"$namespace"'),
)
MARKS = (
    house.mark("Coordinator started", f"{JOB.series(PROCESS_START)} * 1000", "blue"),
    # Who has ended is scraped once more and no more: a step between two scrapes would miss it.
    house.mark("Finished", f"last_over_time({JOB.series(metrics.RUN_END)}[$__interval]) * 1000 > 0", "purple"),
)
_LIVE = 'state=~"training|idle"'
_WORKING_PHASE = JOB.series(metrics.PHASE, 'phase=~"Running|Degraded"')
WORKING = f"on () {_WORKING_PHASE} == 1"
"""What follows an ``and``, to keep times at which the job was at work."""
_QUORUM_WORDS = model.ValueMap(
    options={
        "0": model.ValueMappingResult(text="lost", color=BAD, index=0),
        "1": model.ValueMappingResult(text="met", color=GOOD, index=1),
    }
)
_LATE = (prop("displayName", "late"),)


def board() -> Dashboard:
    """Return the board."""
    return house.make(
        "fedcore-run",
        "FedCore / Run",
        "One federated job, as its coordinator sees it: quorum, rounds, the model, and what goes wrong. It needs no operator.",
        MENUS,
        MARKS,
        (
            house.Row(4, _figures()),
            house.Row(8, _model()),
            house.Row(8, _time()),
            house.Row(8, _counts()),
            house.Row(8, _transport()),
        ),
    )


def _at_work(expression: str) -> str:
    """Take the last value while the job was at work: when it has ended, its workers are told to leave."""
    return f"last_over_time(({expression} and {WORKING})[$__range:$__interval])"


def _figures() -> tuple[object, ...]:
    spare = _at_work(f"sum({JOB.series(metrics.WORKERS, _LIVE)}) - max({JOB.series(metrics.REQUIRED_UPDATES)})")
    late = JOB.ratio(
        [JOB.rate(metrics.UPDATES, 'result="stale"', over="$__range")],
        [JOB.rate(metrics.UPDATES, over="$__range")],
    )
    return (
        figure(
            "Phase",
            "Where the job is, or how it ended. Running and Succeeded are good. Degraded: too few workers are live for a quorum. Failed: "
            "the reason is in `kubectl fedjob why` and in the run's summary.",
            query(JOB.newest(f"{JOB.last(metrics.PHASE)} == 1"), "{{phase}}", instant=True),
            width=4,
            text=BigValueTextMode.NAME,
            overrides=colours(Succeeded=GOOD, Degraded=BAD, Failed=BAD),
        ),
        figure(
            "Round",
            "The open round, else the last one, and how many were asked for. Good: the first grows until it is the second.",
            query(f"max({JOB.newest(JOB.last(metrics.CURRENT_ROUND))})", "now", instant=True),
            query(f"max({JOB.newest(JOB.last(metrics.TARGET_ROUNDS))})", "of", instant=True),
            width=4,
            decimals=0,
            text=BigValueTextMode.VALUE_AND_NAME,
        ),
        figure(
            "Accuracy",
            "Of the latest averaged model that was evaluated, weighted by samples. What is good depends on the task.",
            query(f"max({JOB.newest(JOB.last(metrics.EVAL_ACCURACY))})", instant=True),
            width=4,
            unit="percentunit",
            decimals=1,
        ),
        figure(
            "Quorum now",
            "Whether enough workers are live for a round to close; of a finished job, until its end. Good: met. While it is lost the job "
            "waits for the grace period, then fails.",
            query(_at_work(f"max({JOB.series(metrics.QUORUM_MET)})"), instant=True),
            width=3,
            mappings=(_QUORUM_WORDS,),
        ),
        figure(
            "Live above required",
            "How many workers can be lost before the quorum is, while the job runs; of a finished job the last such figure. Good: 1 or "
            "more. 0: the next loss breaks the quorum.",
            query(spare, instant=True),
            width=3,
            decimals=0,
            thresholds=steps((None, BAD), (0, WARN), (1, GOOD)),
        ),
        figure(
            "Round trip, p95",
            "19 of 20 trips were shorter: handing out a round's work until the update's last byte, late ones included. Good: well below "
            "the round timeout.",
            query(JOB.quantile(0.95, metrics.ROUND_TRIP, over="$__range"), instant=True),
            width=3,
            unit="s",
        ),
        figure(
            "Late updates",
            "Share of updates that came after their round had closed: work that was done for nothing. Good: below 10 %; above 30 % the "
            "quorum is too low for these workers, or their work too long.",
            query(late, instant=True),
            width=3,
            unit="percentunit",
            decimals=1,
            thresholds=steps((None, GOOD), (0.1, WARN), (0.3, BAD)),
        ),
    )


def _model() -> tuple[object, ...]:
    return (
        lines(
            "Accuracy of the averaged model",
            "Measured by the workers on held-out data and weighted by samples. Good: it rises and levels off. A fall that stays points to "
            "workers whose data drifted, or to a learning rate that is too high.",
            query(f"max({JOB.series(metrics.EVAL_ACCURACY)})", "accuracy"),
            width=8,
            unit="percentunit",
            stepped=True,
            area=True,
            overrides=colours(accuracy=GOOD),
        ),
        lines(
            "Loss",
            "Evaluation: of the averaged model on held-out data. Training: what workers report of their own data. Good: both fall. "
            "Training that falls while evaluation rises is overfitting.",
            query(f"max({JOB.series(metrics.EVAL_LOSS)})", "evaluation"),
            query(f"max({JOB.series(metrics.TRAIN_LOSS)})", "training"),
            width=8,
            stepped=True,
            overrides=colours(evaluation="blue", training="purple"),
        ),
        lines(
            "Quorum",
            "Of each round when it closed: its participants, and whose updates were averaged. Good: accepted stays at or above the dashed "
            "line and near the participants; the gap between them are stragglers.",
            query(f"max({JOB.series(metrics.DECLARED_WORKERS)})", "declared"),
            query(f"max({JOB.series(metrics.LAST_PARTICIPANTS)})", "participants"),
            query(f"max({JOB.series(metrics.LAST_ACCEPTED)})", "accepted"),
            query(f"max({JOB.series(metrics.REQUIRED_UPDATES)})", "required"),
            width=8,
            decimals=0,
            stepped=True,
            overrides=colours(declared="#8e8e8e", participants="blue", accepted=GOOD) | {"required": LIMIT},
        ),
    )


def _time() -> tuple[object, ...]:
    return (
        lines(
            "Worker round trip",
            "Handing out a round's work until the update's last byte: fetching the model, training and sending. All trips, late ones "
            "included, and those that counted. Good: p95 near p50; a p99 far above are stragglers.",
            query(JOB.quantile(0.5, metrics.ROUND_TRIP), "p50"),
            query(JOB.quantile(0.95, metrics.ROUND_TRIP), "p95"),
            query(JOB.quantile(0.99, metrics.ROUND_TRIP), "p99"),
            query(JOB.quantile(0.95, metrics.ROUND_TRIP, 'result="accepted"'), "p95 accepted"),
            width=8,
            unit="s",
            overrides=colours(p50=GOOD, p95=WARN, p99=BAD) | {"p95 accepted": (*LIMIT[1:], *colours(x="blue")["x"])},
        ),
        lines(
            "Round duration",
            "Opening of a round until its close. Good: steady, and near the median trip of the figure beside it. Near the round timeout "
            "the quorum is reached only at the deadline.",
            query(JOB.quantile(0.5, metrics.ROUND_DURATION), "p50"),
            query(JOB.quantile(0.95, metrics.ROUND_DURATION), "p95"),
            width=8,
            unit="s",
            overrides=colours(p50=GOOD, p95=WARN),
        ),
        lines(
            "Where a round goes",
            "Means per round, on a logarithmic scale. Quorum wait: first update until the required one. Overhead: all of a round that is "
            "not the slowest counted worker's own work; it holds the next two. Good: overhead is small beside the wait.",
            query(JOB.mean(metrics.QUORUM_WAIT), "quorum wait"),
            query(JOB.mean(metrics.ROUND_OVERHEAD), "overhead"),
            query(JOB.mean(metrics.AGGREGATION), "aggregation"),
            query(JOB.mean(metrics.CHECKPOINT), "checkpoint"),
            width=8,
            unit="s",
            logarithmic=True,
            overrides=colours(**{"quorum wait": WARN, "overhead": "blue", "aggregation": GOOD, "checkpoint": "purple"}),
        ),
    )


def _counts() -> tuple[object, ...]:
    return (
        lines(
            "Updates by result, per minute",
            "Good: accepted, and few others. Late: the round had closed. Duplicate: sent again after a broken connection, counted once. "
            "Rejected: refused by a check, see the figure on the right below.",
            query(JOB.per_minute(metrics.UPDATES, by="result"), "{{result}}"),
            width=8,
            overrides=colours(accepted=GOOD, duplicate="blue", rejected=BAD) | {"stale": (*_LATE, *colours(x=WARN)["x"])},
        ),
        lines(
            "Rounds by outcome, per minute",
            "Full: everybody's update counted. Quorum: closed with the required ones. Aborted: open when the job ended. Good: a steady "
            "rate, mostly full; aborted only at the end of a job that failed.",
            query(JOB.per_minute(metrics.ROUNDS_ENDED, by="outcome"), "{{outcome}}"),
            width=8,
            stacked=True,
            overrides=colours(full=GOOD, quorum=WARN, aborted=BAD),
        ),
        lines(
            "Workers by state",
            "Registered workers, means over the window: within a round each changes from training to idle. Good: the stack is as high as "
            "the workers declared, none of it lost. Much idle: the fast ones wait for the slow.",
            query(f"sum by (state) (avg_over_time({JOB.series(metrics.WORKERS)}[$window]))", "{{state}}"),
            width=8,
            stacked=True,
            overrides=colours(training=GOOD, idle="blue", lost=BAD),
        ),
    )


def _by_reason(metric: Metric) -> str:
    """Show a line for each reason that occurred, and where none did one at 0: twenty such lines would hide the one that is not."""
    return f"{JOB.increase(metric, by='reason')} > 0 or on () {JOB.increase(metric)}"


def _transport() -> tuple[object, ...]:
    return (
        lines(
            "Payload",
            "Weights sent and updates received, without headers. Good: about the model's size times the participants per round, each way.",
            query(JOB.rate(metrics.PAYLOAD, by="direction"), "{{direction}}"),
            width=6,
            unit="Bps",
            overrides=colours(sent="blue", received=GOOD),
        ),
        lines(
            "Requests, p95 by method",
            "Handling time, without the waiting of a long poll. Good: all but the transfer of weights take milliseconds; if all rise "
            "together the coordinator lacks CPU or its disk is slow.",
            query(f"{JOB.quantile(0.95, metrics.RPC_DURATION, by='method')} >= 0", "{{method}}"),
            width=6,
            unit="s",
        ),
        lines(
            "Refused and rejected",
            "Within the window, by reason. Requests refused before they were read, and updates that failed a check. Good: nothing. "
            "Unauthorized is a worker with an old secret, or a stranger.",
            query(_by_reason(metrics.REQUESTS_REFUSED), "requests {{reason}}"),
            query(_by_reason(metrics.UPDATES_REJECTED), "updates {{reason}}"),
            width=6,
            decimals=0,
        ),
        lines(
            "Coordinator memory",
            "Resident set. Good: level after the first rounds, whatever the number of workers, and below the pod's limit.",
            query(f"max({JOB.series(PROCESS_MEMORY)})", "resident"),
            width=6,
            unit="bytes",
            area=True,
        ),
    )
