"""Experiments of real runs, as a user starts them; with little training, since it is the running that is tested."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys

import psutil
import pytest

LIMIT_SECONDS = 100
QUICK = """\
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from fedcore.engine.reasons import EndReason
from fedcore.experiments.conduct import conduct
from fedcore.experiments.failures import Failures


class Quick(Failures):
    def runs(self):
        less = ["--set", "spec.workload.epochs=3", *FLAGS]
        return [replace(run, flags=[*run.flags, *less], expected=EndReason(EXPECTED or run.expected)) for run in super().runs()]


EXPECTED, *FLAGS = sys.argv[2:]
if "INTERRUPT_AT_START" in os.environ:
    fork = subprocess._fork_exec

    def fork_and_interrupt(*arguments):
        child = fork(*arguments)
        signal.raise_signal(signal.SIGINT)
        return child

    subprocess._fork_exec = fork_and_interrupt
done = conduct(Quick(workers=3, kill=(0, 2), seeds=1), Path(sys.argv[1]))
print(done.wrong, done.refused)
sys.exit(done.exit_code)
"""


class Started:
    def __init__(self, folder, expected, flags, own):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FEDCORE_")} | own
        self.base = folder / "experiments"
        self.process = subprocess.Popen(
            [sys.executable, "-c", QUICK, str(self.base), expected, *flags],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self):
        out, err = self.process.communicate(timeout=LIMIT_SECONDS)
        return self.process.returncode, out, err

    @property
    def folder(self):
        [folder] = self.base.iterdir()
        return folder

    @property
    def results(self):
        with (self.folder / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*flags, expected="", **own):
        started.append(Started(tmp_path, expected, flags, own))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_failures_ends_by_itself_with_too_few_left(start):
    experiment = start()
    code, out, err = experiment.finish()
    assert code == 0, out + err
    ends = {(row["killed"], row["reason"], row["exit_code"]) for row in experiment.results}
    assert ends == {("0", "Completed", "0"), ("2", "QuorumUnreachable", "3")}
    assert [(row["killed"], row["round"]) for row in experiment.results] == [("0", "1"), ("0", "2"), ("0", "3"), ("2", "1"), ("2", "2")]
    folder = experiment.folder
    assert folder.name.endswith("-failures")
    assert {entry.name for entry in folder.iterdir()} == {
        "job.yaml", "runs", "logs", "results.csv", "figure.png", "figure.svg", "report.html",
    }  # fmt: skip
    for row in experiment.results:
        assert (folder / row["run_dir"] / "summary.json").is_file()
    assert "1/2  0 of 3 killed, seed 0: rounds of" in err
    assert "2/2  2 of 3 killed, seed 0: QuorumUnreachable, exit 3" in err


def test_a_run_that_ends_otherwise_is_exit_1_and_in_the_report(start):
    experiment = start(expected="Completed")  # which two of three killed workers cannot make true
    code, out, err = experiment.finish()
    assert code == 1, out + err
    assert "2 of 3 killed, seed 0: ended with exit 3, QuorumUnreachable; expected exit 0, Completed" in out
    assert "expected exit 0, Completed" in (experiment.folder / "report.html").read_text()
    assert len(experiment.results) == 5


def test_ctrl_c_keeps_what_has_ended(start):
    experiment = start()
    for line in experiment.process.stderr:
        if "left" in line:
            break
    children = psutil.Process(experiment.process.pid).children(recursive=True)
    experiment.process.send_signal(signal.SIGINT)
    code, out, err = experiment.finish()
    assert code == 130, out + err
    assert {row["killed"] for row in experiment.results} == {"0"}
    assert "Broken off: 1 of 2 runs" in (experiment.folder / "report.html").read_text()
    assert (experiment.folder / "figure.png").is_file()
    assert [child for child in children if child.is_running()] == []


def test_ctrl_c_while_a_run_is_started_ends_that_run(start):
    experiment = start(INTERRUPT_AT_START="1")
    code, out, err = experiment.finish()
    assert code == 130, out + err
    assert [process for process in psutil.process_iter() if str(experiment.base) in " ".join(arguments(process))] == []


def arguments(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_refused_job_leaves_nothing(start):
    experiment = start("--set", "spec.rounds=0")
    code, out, err = experiment.finish()
    assert code == 2, out + err
    assert "nothing was started" in out
    assert list(experiment.base.iterdir()) == []
