"""The figures that docs/measurements records, measured again: accuracy and spread, never seconds."""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEDCORE = str(Path(sys.executable).with_name("fedcore"))
LEAST = {1: 0.972, 2: 0.974, 4: 0.969, 8: 0.950}


def bench(module, *arguments):
    command = [sys.executable, "-m", f"bench.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=3000)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def whole_set():
    """The folder of the original files: FEDCORE_DATA, or the one that lies beside a clone here and there."""
    beside = ROOT.parent / "shared" / "data" / "mnist"
    folder = os.environ.get("FEDCORE_DATA") or (str(beside) if beside.is_dir() else "")
    return folder or pytest.skip("FEDCORE_DATA names no folder with the original MNIST files")


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.timeout(3600)
def test_accuracy_by_workers_on_the_whole_set(tmp_path):
    command = [FEDCORE, "experiment", "accuracy-vs-workers", "--images", "40000"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "FEDCORE_DATA": whole_set()}, timeout=3000
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [results] = (tmp_path / "experiments").glob("*/results.csv")
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {workers: statistics.mean(float(row["accuracy"]) for row in rows if row["workers"] == str(workers)) for workers in LEAST}
    assert {workers: mean >= LEAST[workers] for workers, mean in found.items()} == dict.fromkeys(LEAST, True), found


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_deadline_policy_lands_workers_of_unequal_speed_together():
    found = bench("workload", "--repeats", "1")["policies"]
    assert found["deadline"]["settled_max"] <= 0.15
    assert found["deadline"]["settled_max"] < found["fixed"]["settled_median"]


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.timeout(600)
def test_the_main_job_and_a_script_of_its_own_agree(tmp_path):
    run_dir = tmp_path / "run"
    command = [FEDCORE, "run", str(ROOT / "examples" / "mnist.yaml"), "--run-dir", str(run_dir), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    accuracy = json.loads(done.stdout)["metrics"]["accuracy"]
    assert accuracy >= 0.97
    script = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "evaluate.py"), str(run_dir)], capture_output=True, text=True, timeout=100
    )
    assert script.returncode == 0, script.stderr
    assert f"{accuracy:.4f}" in script.stdout or f"{accuracy:.2%}" in script.stdout, script.stdout


@pytest.mark.timeout(60)
def test_the_numpy_job_needs_no_torch(tmp_path):
    """Without PyTorch: importing it is made to fail, in every process of the run."""
    block = tmp_path / "site"
    for name in ("torch", "torchvision"):
        (block / name).mkdir(parents=True)
        (block / name / "__init__.py").write_text("raise ImportError('not installed')\n")
    command = [FEDCORE, "run", str(ROOT / "examples" / "numpy.yaml"), "--run-dir", str(tmp_path / "run"), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, env={**os.environ, "PYTHONPATH": str(block)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["accuracy"] >= 0.9
