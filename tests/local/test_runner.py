"""What a runner leaves behind, whatever its coordinator could still do."""

from __future__ import annotations

import csv
import json

import pytest

from fedcore.jobfile import load_job
from fedcore.local.directory import open_run_directory
from fedcore.local.plan import Plan
from fedcore.local.runner import _Runner

JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: steps}
spec: {rounds: 2, task: {entrypoint: "steps:task"}, workers: {replicas: 1}}
"""


class View:
    refresh_seconds = None

    def event(self, event):
        assert event["event"] != "run_directory_incomplete", event

    def refresh(self):
        pass


@pytest.fixture
def runner(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    job = load_job(tmp_path / "job.yaml")
    directory = open_run_directory(job, tmp_path / "run", tmp_path)
    made = _Runner(Plan(job, None, directory, 1, 2), View())
    yield made
    made.close()
    directory.close()


def events():
    common = {"resume": 0, "time": "2026-11-24T09:11:03.000Z"}
    yield {**common, "event": "run_started", "run_id": "r", "job": "steps", "rounds": 2, "workers": 1, "required": 1}
    for number in (1, 2):
        yield {**common, "event": "round_opened", "round": number, "version": number - 1, "participants": 1, "required": 1}
        yield {**common, "event": "round_closed", "round": number, "outcome": "full", "accepted": 1, "required": 1}
    yield {**common, "event": "run_finished", "phase": "Succeeded", "reason": "Completed", "message": "", "exit_code": 0}


def test_coordinator_that_died_behind_its_last_word_leaves_the_newest_model_and_whole_tables(runner, tmp_path):
    """An earlier part of the run has left a model; this one was killed between ``run_finished`` and the last files."""
    run = tmp_path / "run"
    (run / "versions").mkdir()
    for version in ("000001", "000002"):
        (run / "versions" / f"{version}.safetensors").write_text(f"version {version}")
        (run / "versions" / f"{version}.json").write_text("{}")
    (run / "model.safetensors").write_text("version 000001")
    (run / "rounds.csv").write_text("torn")
    (run / "events.jsonl").write_text("".join(json.dumps({"seq": seq, **event}) + "\n" for seq, event in enumerate(events())))

    for _ in range(2):
        summary = runner.conclude()
        assert (summary["phase"], summary["rounds_completed"]) == ("Succeeded", 2)
        assert (run / "model.safetensors").read_text() == "version 000002"
        with (run / "rounds.csv").open(newline="") as file:
            assert [row["round"] for row in csv.DictReader(file)] == ["1", "2"]
        assert (run / "updates.csv").read_text().count("\n") == 1
