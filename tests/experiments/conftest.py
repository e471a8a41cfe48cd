"""Runs that have ended, as an experiment reads them: a summary, two tables, a log."""

from __future__ import annotations

import json

import pytest

from fedcore.experiments.experiment import Ended
from support.experiments import SUMMARY


@pytest.fixture
def ended(tmp_path):
    def make(run, summary=SUMMARY, exit_code=0, rounds=(), updates=(), kills=()):
        folder = tmp_path / run.name
        folder.mkdir(exist_ok=True)
        (folder / "rounds.csv").write_text("".join(f"{line}\n" for line in ("round,duration_s", *rounds)))
        (folder / "updates.csv").write_text("".join(f"{line}\n" for line in ("round,worker,result,round_trip_s,train_s,epochs", *updates)))
        log = tmp_path / f"{run.name}.jsonl"
        log.write_text("".join(json.dumps({"event": "fault", "kill": f"worker-{index}"}) + "\n" for index in kills) + "no JSON\n")
        return Ended(run, exit_code, summary, folder, log)

    return make
