"""Accuracy of the averaged model by number of workers: ``FEDCORE_DATA=FOLDER python -m bench.accuracy``.

40,000 images of the whole MNIST training set split evenly, quorum 100 %, 2 rounds of 4.5 local epochs, one setting of the task for all;
each point is a real ``fedcore run``, and the figure is the averaged model's accuracy on the 10,000 test images, from summary.json. Prints
one JSON object on stdout; ``--write FOLDER`` writes the table and the CSV.
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

PUBLISHED = {1: 0.9776, 2: 0.9739, 4: 0.9693, 8: 0.9502}
"""What the paper behind the ancestor of this project reports for 1, 2, 4 and 8 workers."""
JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {{name: accuracy}}
spec:
  seed: {seed}
  rounds: 2
  task:
    entrypoint: fedcore.tasks.mnist:task
    parameters: {{dataset: full, images: "{images}", partition: iid}}
  workload: {{policy: fixed, epochs: 4.5}}
  quorum: {{percent: 100, roundTimeoutSeconds: 3600}}
  workers: {{replicas: {workers}}}
"""


def measure(workers: int, seed: int, images: int, folder: Path) -> dict[str, object]:
    """Run one job and return its row."""
    folder.mkdir(parents=True)
    job = folder / "job.yaml"
    job.write_text(JOB.format(seed=seed, images=images, workers=workers))
    command = [sys.executable, "-m", "fedcore.cli.main", "run", str(job), "--run-dir", str(folder / "run"), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{workers} workers, seed {seed}: exit {done.returncode}\n{done.stderr}")
    summary = json.loads(done.stdout)
    return {
        "workers": workers,
        "seed": seed,
        "images": images,
        "accuracy": summary["metrics"]["accuracy"],
        "loss": summary["metrics"]["loss"],
        "duration_s": summary["duration_s"],
    }


def main() -> None:
    """Run all points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--write", type=Path, help="folder for accuracy-vs-workers.md and .csv")
    options = parser.parse_args()
    if not os.environ.get("FEDCORE_DATA"):
        parser.error("FEDCORE_DATA names the folder with the four original MNIST files")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for workers in (int(word) for word in options.workers.split(",")):
                rows.append(measure(workers, seed, options.images, Path(folder) / f"{workers}-{seed}"))
                print(f"seed {seed}, {workers} workers: {rows[-1]['accuracy']:.4f} in {rows[-1]['duration_s']} s", file=sys.stderr)
    if options.write is not None:
        write(rows, options.write, options.images)
    means = {str(workers): statistics.mean(accuracies(rows, workers)) for workers in sorted({int(str(row["workers"])) for row in rows})}
    print(json.dumps({"images": options.images, "seeds": options.seeds, "mean_accuracy": means, "rows": rows}))


def accuracies(rows: list[dict[str, object]], workers: int) -> list[float]:
    """Return all accuracies of one number of workers."""
    return [float(str(row["accuracy"])) for row in rows if row["workers"] == workers]


def write(rows: list[dict[str, object]], folder: Path, images: int) -> None:
    """Write table and CSV."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "accuracy-vs-workers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    seeds = len({row["seed"] for row in rows})
    lines = [
        "# Accuracy by number of workers",
        "",
        f"`FEDCORE_DATA=FOLDER python -m bench.accuracy --images {images} --seeds {seeds}`",
        "",
        f"{images:,} images of the whole set split evenly, quorum 100 %, 2 rounds of `fixed` 4.5 epochs, `fedcore.tasks.mnist:task` with",
        "its defaults. The averaged model on the 10,000 test images; mean and range of the seeds.",
        f"{os.cpu_count()} vCPU, Python {platform.python_version()},",
        f"torch {torch.__version__.split('+')[0]} on the CPU. Every point: [accuracy-vs-workers.csv](accuracy-vs-workers.csv).",
        "",
        "| workers | accuracy, mean | min | max | published | seconds, median |",
        "|---|---|---|---|---|---|",
    ]
    for workers in sorted({int(str(row["workers"])) for row in rows}):
        found = accuracies(rows, workers)
        seconds = statistics.median(float(str(row["duration_s"])) for row in rows if row["workers"] == workers)
        published = f"{PUBLISHED[workers]:.2%}" if workers in PUBLISHED else ""
        lines.append(f"| {workers} | {statistics.mean(found):.2%} | {min(found):.2%} | {max(found):.2%} | {published} | {seconds:.0f} |")
    lines += [
        "",
        "The published figures are one run per point, data counted in batches instead of samples, and the mean of the workers' own models'",
        "accuracy; here it is the averaged model's.",
    ]
    (folder / "accuracy-vs-workers.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
