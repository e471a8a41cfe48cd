"""``python -m bench NAME``: what FedCore costs, each figure against a control in the same run.

The last line of stdout is one JSON object; progress goes to stderr. ``python -m bench NAME --help`` says what each one takes.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from bench.memory import measure_memory, measure_soak
from bench.report import measure_report
from bench.round import measure_round
from bench.scale import measure_scale
from bench.scrape import measure_scrape
from bench.start import measure_start
from bench.table import write_table
from bench.wire import measure_wire

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description="What FedCore costs, each figure against a control in the same run.")
    benches = top.add_subparsers(dest="bench", required=True)

    one = benches.add_parser("round", help="a round, times a plain HTTP (or raw TLS) round")
    _size(one, workers=4, mb=10.0)
    one.add_argument("--tls", action="store_true", help="serve under TLS; the control is a raw TLS round")
    one.add_argument("--repeats", type=int, default=5, help="pairs of job and control (5)")
    one.add_argument("--rounds", type=int, help="rounds counted in each; by default about two seconds' worth")

    memory = benches.add_parser("memory", help="the coordinator's peak memory; with --minutes, whether it grows")
    memory.add_argument("--workers", type=int, nargs="+", default=None, help="numbers of workers (4 16 64; with --minutes 16)")
    memory.add_argument("--mb", type=float, help="model, in 10**6 bytes (100; with --minutes 1)")
    memory.add_argument("--minutes", type=float, help="run rounds for so long")

    scale = benches.add_parser("scale", help="many simulated workers, times the cost per worker at 100")
    _size(scale, workers=1000, mb=0.1)
    scale.add_argument("--repeats", type=int, default=3, help="pairs (3)")
    scale.add_argument("--rounds", type=int, default=3, help="rounds counted in each (3)")

    scraped = benches.add_parser("scrape", help="a scrape of /metrics with many simulated workers, for each policy of perWorker")
    scraped.add_argument("--workers", type=int, default=1000)
    policies = ["auto", "always", "never"]
    scraped.add_argument("--policies", nargs="+", choices=policies, default=policies, help="values of spec.metrics.perWorker (all)")
    scraped.add_argument("--repeats", type=int, default=15, help="scrapes of each kind (15)")

    start = benches.add_parser("start", help="from launch to the first open round, times as many interpreters that import numpy")
    start.add_argument("--workers", type=int, default=4)
    start.add_argument("--repeats", type=int, default=5)

    wire = benches.add_parser("wire", help="bytes on the wire, times the parameters")
    _size(wire, workers=2, mb=10.0)
    wire.add_argument("--tls", action="store_true")

    report = benches.add_parser("report", help="what a report costs: a run with and without it, and one of many workers")
    report.add_argument("--workers", type=int, default=1000, help="simulated workers of the large run (1000)")
    report.add_argument("--rounds", type=int, default=100, help="its rounds (100)")
    report.add_argument("--repeats", type=int, default=5, help="pairs of small runs with and without (5)")

    table = benches.add_parser("table", help="the set that fits ten minutes, as the table in docs/benchmarks.md")
    table.add_argument("--write", default="docs/benchmarks.md", help="file to write (docs/benchmarks.md)")
    return top


def _size(bench: argparse.ArgumentParser, *, workers: int, mb: float) -> None:
    bench.add_argument("--workers", type=int, default=workers, help=f"number of workers ({workers})")
    bench.add_argument("--mb", type=float, default=mb, help=f"model, in 10**6 bytes ({mb:g})")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    match given.bench:
        case "round":
            return measure_round(given.workers, given.mb, tls=given.tls, repeats=given.repeats, rounds=given.rounds)
        case "memory" if given.minutes:
            return measure_soak((given.workers or [16])[0], given.mb or 1.0, given.minutes)
        case "memory":
            return measure_memory(given.workers or [4, 16, 64], given.mb or 100.0)
        case "scale":
            return measure_scale(given.workers, given.mb, rounds=given.rounds, repeats=given.repeats)
        case "scrape":
            return measure_scrape(given.workers, given.policies, repeats=given.repeats)
        case "start":
            return measure_start(given.workers, repeats=given.repeats)
        case "report":
            return measure_report(given.workers, given.rounds, given.repeats)
        case "wire":
            return measure_wire(given.workers, given.mb, tls=given.tls)
        case _:
            return write_table(given.write)


def main(arguments: Sequence[str] | None = None) -> None:
    print(json.dumps(measure(parser().parse_args(arguments))))


if __name__ == "__main__":
    main()
