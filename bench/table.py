"""The set of benches that fits ten minutes: ``make bench``. Writes table and machine into docs/benchmarks.md, below what people wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import machine
from bench.memory import measure_memory
from bench.round import measure_round
from bench.scale import measure_scale
from bench.start import measure_start
from bench.wire import measure_wire

__all__ = ["render", "write_table"]

MARK = "<!-- Below: written by `make bench`. -->"
REPEATS = 5
ROUNDS = [
    (4, 10.0, False),
    (8, 10.0, False),
    (4, 100.0, False),
    (8, 100.0, False),
    (4, 10.0, True),
    (8, 10.0, True),
    (4, 100.0, True),
    (8, 100.0, True),
]


def write_table(path: str) -> dict[str, Any]:
    """Run the set, write the page, and return all results."""
    results: dict[str, Any] = {
        "small": measure_round(8, 0.1, tls=False, repeats=REPEATS),
        "rounds": [measure_round(workers, mb, tls=tls, repeats=REPEATS) for workers, mb, tls in ROUNDS],
        "wire": [measure_wire(2, 10.0, tls=tls) for tls in (False, True)],
        "memory": measure_memory([4, 16, 64], 100.0),
        "scale": measure_scale(1000, 0.1, rounds=3, repeats=2),
        "start": measure_start(4, repeats=REPEATS),
    }
    page = Path(path)
    kept = page.read_text("utf-8").partition(MARK)[0] if page.exists() else ""
    page.write_text(f"{kept}{MARK}\n\n{render(results)}", encoding="utf-8")
    return {"bench": "table", "written": path, **results}


def render(results: dict[str, Any]) -> str:
    """Return the page's part for these results."""
    found = machine()
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    few = results["scale"]["control_workers"]
    small, scale, start = results["small"], results["scale"], results["start"]
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {found['machine']}, loopback; {versions}. Median (smallest to largest).",
        "",
        "| round | ratio | with fsync | processor time | round s | control s | fsync s | coordinator MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (small, *results["rounds"]):
        name = f"{row['workers']} x {row['mb']:g} MB{', TLS' if row['tls'] else ''}"
        ratios = " | ".join(_spread(row, key, 2) for key in ("ratio", "ratio_durable", "cpu_ratio"))
        seconds = " | ".join(_spread(row, key, 4) for key in ("round_s", "control_s", "fsync_s"))
        lines.append(f"| {name} | {ratios} | {seconds} | {row['peak_rss_mb']:.0f} |")
    lines += [
        "",
        "| memory, model of 100 MB | peak MB | base MB | above base, models | MB below base + 2 models + 64 MB |",
        "|---|---|---|---|---|",
    ]
    for row in results["memory"]["rows"]:
        lines.append(f"| {row['workers']} workers | {row['peak_mb']} | {row['base_mb']} | {row['models']} | {row['below_bound_mb']} |")
    lines += ["", "| other | figure |", "|---|---|"]
    for row in results["wire"]:
        lines.append(
            f"| bytes on the wire{', TLS' if row['tls'] else ''}, times the parameters | up {row['up_ratio']}, down {row['down_ratio']} |"
        )
    lines += [
        f"| {scale['workers']} workers, 0.1 MB: cost per worker, times that at {few} | {_spread(scale, 'cost_ratio', 2)} |",
        f"| the same: seconds a round; registration of all | {_spread(scale, 'round_s', 2)}; {_spread(scale, 'registration_s', 2)} |",
        f"| the same: threads, descriptors, MB | {scale['threads']}, {scale['descriptors']}, {scale['peak_rss_mb']:.0f} |",
        f"| launch to first round open, {start['workers']} workers without torch, s | {_spread(start, 'start_s', 2)} |",
        f"| the same, times {start['workers'] + 2} interpreters that import numpy | {_spread(start, 'ratio', 2)} |",
        "",
    ]
    return "\n".join(lines)


def _spread(row: dict[str, Any], key: str, digits: int) -> str:
    return f"{row[key]:.{digits}f} ({row[f'{key}_min']:.{digits}f} to {row[f'{key}_max']:.{digits}f})"
