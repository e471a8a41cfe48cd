"""docs/metrics.md of the three catalogues: ``python -m charts.dashboards.reference``. Here, since only here all of them may be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.coordinator.metrics import CATALOGUE as COORDINATOR
from fedcore.coordinator.metrics import PER_WORKER
from fedcore.metrics import EPOCHS, OPERATIONS, ROUNDS, Kind
from fedcore.worker.metrics import CATALOGUE as WORKER
from fedcore_operator.runtime.metrics import CATALOGUE as OPERATOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fedcore.metrics import Label, Metric

__all__ = ["reference"]

_BUCKETS = {ROUNDS: "ROUNDS", OPERATIONS: "OPERATIONS", EPOCHS: "EPOCHS"}

_HEAD = """# Metrics

Made of the catalogues in code by `make metrics`; a test compares them, and others compare what the processes expose with them. How
Prometheus gets at them, and the alerts: [monitoring.md](monitoring.md).

- Coordinators serve `/metrics` on port 9464 (`--metrics-port`), the operator on 8080, workers only where they are asked to. The format
  is Prometheus's text or OpenMetrics, as the client's `Accept` wants it, packed if it takes gzip.
- All series of coordinators and workers carry `federatedjob`, the job's name. `namespace`, `job`, `instance` belong to the scrape; only
  the operator labels by `namespace` itself, and is scraped with `honorLabels: true`.
- Seconds, bytes and ratios (0 to 1) are the units. `_timestamp_seconds` is Unix time, 0 = not yet. What is not known yet, such as an
  accuracy before an evaluation, has no series; known label values have theirs from the start, so that `rate()` sees 0. In braces: all
  values that a label can have.
- Counters and histograms count the process: after a restart they begin at 0, as `rate()` expects. Gauges that speak of the whole job
  are restored.
- A round has no label. Who was slow in which round stands in updates.csv.
"""
_COORDINATOR = """
`process_*` of the process itself come with them, as prometheus-client names them.

**A round trip** begins when round *r*'s task is handed to a worker, and ends with the last byte of its update for *r*; for a late
worker with the answer that it is late (`stale`), or when it asks for other work after it was told to give this one up (`superseded`).
Accepted and late updates are observed, duplicate and rejected ones are not, nor is a trip that began before a restart of the
coordinator.

**Quorum.** `required` is counted over the declared workers. `accepted` is live: 0 when a round opens, and kept after its close; the
`last_round` gauges are frozen at a close, and are the ones to graph. `fedcore_quorum_met` is the bit of the condition `QuorumMet`;
while it is 0 in a running job, the phase is Degraded.
"""
_POLICY = """
## How many series there are

`spec.metrics.perWorker` says which workers have series of their own, six each: `always` all, `never` none. `auto`, the default: all up
to 200; above that the 50 most telling, lost ones first (the longest unseen, as up to half of them), then the slowest by their latest
round trip, chosen anew after each round's close. `fedcore_worker_series_dropped` says how many are not shown. A worker's series go when
it leaves or its index is scaled away, and ten minutes after it was lost. What that costs:
[measurements/observability.md](measurements/observability.md).

## After the end

A process that ends is forgotten by Prometheus at once. So a coordinator whose job has ended serves on until one scrape with the final
values has been answered, for at most `spec.metrics.lingerSeconds` (45; 0 turns it off), if it has been scraped before or
`FEDCORE_METRICS_MONITORED=1` says that it will be, as the operator does where the chart made a PodMonitor. SIGTERM ends the wait, and
the exit code stays that of the job. The operator shows progress and result for as long as the FederatedJob exists. The run directory is
the truth; reports come from it.

Where nobody scrapes, `FEDCORE_PUSHGATEWAY=http://host:9091` lets a coordinator push its gauges once, at the end, under `job="fedcore"`,
`namespace` (`FEDCORE_NAMESPACE`, else `local`) and `federatedjob`; `http://user:password@host:9091` where it asks for a password.
The push has 5 s, and what goes wrong is logged as `push_failed`. A Pushgateway never forgets: for outcomes only.
"""


def reference() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD, "\n## Coordinator\n\n", *_table(COORDINATOR), _COORDINATOR]
    parts += [
        "\n## Worker\n\n",
        "`fedcore worker --metrics-port PORT` or `FEDCORE_METRICS_PORT`; `--job` or `FEDCORE_JOB` gives the label.\n\n",
    ]
    parts += [*_table(WORKER)]
    parts += ["\n## Operator\n\n", "Only the leader has series of jobs.\n\n", *_table(OPERATOR)]
    parts += ["\n## Buckets\n\n", "Constants, so that the histograms of two jobs add up.\n\n", *_buckets(), _POLICY]
    return "".join(parts)


def _table(catalogue: Sequence[Metric]) -> Iterator[str]:
    yield "| metric | type | labels | help |\n|---|---|---|---|\n"
    for metric in catalogue:
        labels = ", ".join(_label(label) for label in metric.labels)
        text = metric.help + (" (not of every worker, see below)" if metric in PER_WORKER else "")
        yield f"| `{metric.name}` | {_kind(metric)} | {labels} | {text} |\n"


def _kind(metric: Metric) -> str:
    if metric.kind is not Kind.HISTOGRAM:
        return str(metric.kind)
    named = _BUCKETS.get(metric.buckets)
    return f"histogram, {named or ' '.join(f'{bound:g}' for bound in metric.buckets)}"


def _label(label: Label) -> str:
    return f"`{label.name}` {{{', '.join(label.values)}}}" if label.values else f"`{label.name}`"


def _buckets() -> Iterator[str]:
    yield "| name | upper bounds |\n|---|---|\n"
    for bounds, name in _BUCKETS.items():
        yield f"| {name} | {' '.join(f'{bound:g}' for bound in bounds)} |\n"


if __name__ == "__main__":
    print(reference(), end="")
