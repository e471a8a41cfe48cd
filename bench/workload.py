"""How evenly updates arrive under each workload policy: ``python -m bench.workload``.

Four workers of speeds 1, 1/2, 1/4 and 1/8, quorum 100 %, one real ``fedcore run`` per policy and repeat. The spread of a round is
(last - first) / median round trip of its accepted updates, from updates.csv. Prints one JSON object on stdout, and writes the table with
``--write FILE``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
POLICIES = ("deadline", "aimd", "fixed")
SLOW = ("worker-1=2", "worker-2=4", "worker-3=8")
SETTLED = 6
"""First round that the figure counts: by then a policy has seen five rounds of each worker."""
JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {{name: workload-{policy}}}
spec:
  rounds: {rounds}
  task: {{entrypoint: "{entrypoint}", parameters: {{{parameters}}}}}
  workload: {{policy: {policy}, epochs: {epochs}, minEpochs: 0.1, maxEpochs: {most}}}
  quorum: {{percent: 100, roundTimeoutSeconds: 600}}
  workers: {{replicas: 4}}
"""
TASKS = {
    "steady": ("bench.steady_task:SteadyTask", "", 4),
    "numpy": ("fedcore.tasks.mnist:numpy_task", "partition: iid", 30),
}


def spreads(updates: Path) -> dict[int, float]:
    """Return (last - first) / median arrival by round."""
    trips: dict[int, list[float]] = {}
    with updates.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["result"] == "accepted":
                trips.setdefault(int(row["round"]), []).append(float(row["round_trip_s"]))
    return {number: (max(ts) - min(ts)) / statistics.median(ts) for number, ts in sorted(trips.items())}


def measure(policy: str, task: str, rounds: int, folder: Path) -> dict[int, float]:
    """Run one job and return its spreads."""
    entrypoint, parameters, epochs = TASKS[task]
    # aimd takes work away and gives it back within the declared epochs; deadline may give the fast ones more.
    most = epochs * 20 if policy == "deadline" else epochs
    folder.mkdir(parents=True)
    job = folder / "job.yaml"
    job.write_text(JOB.format(policy=policy, rounds=rounds, entrypoint=entrypoint, parameters=parameters, epochs=epochs, most=most))
    command = [sys.executable, "-m", "fedcore.cli.main", "run", str(job), "--run-dir", str(folder / "run"), "--json", "-q", "--no-report"]
    command += [part for slow in SLOW for part in ("--slow", slow)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment, cwd=folder)
    if done.returncode != 0:
        raise SystemExit(f"the run of {policy} ended with {done.returncode}:\n{done.stderr}")
    return spreads(folder / "run" / "updates.csv")


def main() -> None:
    """Run all policies, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="steady", help="steady: a known pace; numpy: handwritten digits, real arithmetic")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file")
    options = parser.parse_args()
    found: dict[str, list[dict[int, float]]] = {policy: [] for policy in POLICIES}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for policy in POLICIES:
                print(f"repeat {repeat + 1} of {options.repeats}: {policy}", file=sys.stderr)
                found[policy].append(measure(policy, options.task, options.rounds, Path(folder) / f"{policy}-{repeat}"))
    result = {policy: summarise(runs) for policy, runs in found.items()}
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(table(result, options), encoding="utf-8")
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"task": options.task, "rounds": options.rounds, "repeats": options.repeats, "machine": machine, "policies": result}))


def summarise(runs: list[dict[int, float]]) -> dict[str, object]:
    """Return median and largest spread from `SETTLED` on, and the median by round."""
    settled = [spread for run in runs for number, spread in run.items() if number >= SETTLED]
    by_round = {number: statistics.median(run[number] for run in runs) for number in runs[0]}
    return {
        "settled_median": round(statistics.median(settled), 4),
        "settled_max": round(max(settled), 4),
        "by_round": {str(number): round(spread, 4) for number, spread in by_round.items()},
    }


def table(result: dict[str, dict[str, object]], options: argparse.Namespace) -> str:
    """Return the Markdown page."""
    rounds = list(next(iter(result.values()))["by_round"])  # type: ignore[call-overload]
    lines = [
        "# How evenly updates arrive",
        "",
        f"`python -m bench.workload --task {options.task} --rounds {options.rounds} --repeats {options.repeats}`",
        "",
        "Four workers of speeds 1 : 1/2 : 1/4 : 1/8, quorum 100 %. Spread of a round = (last - first) / median round trip of its accepted",
        f"updates, from updates.csv. {os.cpu_count()} vCPU, Python {platform.python_version()}, a shared machine. Median of",
        f"{options.repeats} runs by round; the last two columns are over all runs from round {SETTLED} on.",
        "",
        "| policy | " + " | ".join(rounds) + f" | median from {SETTLED} on | max |",
        "|---" * (len(rounds) + 3) + "|",
    ]
    for policy, figures in result.items():
        by_round: dict[str, float] = figures["by_round"]  # type: ignore[assignment]
        cells = " | ".join(f"{spread:.0%}" for spread in by_round.values())
        lines.append(f"| `{policy}` | {cells} | {figures['settled_median']:.1%} | {figures['settled_max']:.1%} |")
    lines += [
        "",
        "`aimd` learns from lateness, and at a quorum of 100 % nobody is late: there it gives what `fixed` gives. Below 100 % it takes",
        "work from those whom rounds close without. `deadline` needs `maxEpochs` above `epochs` to give the fast ones more, as here.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
