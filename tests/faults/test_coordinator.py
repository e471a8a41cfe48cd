"""The coordinator dies, at any instant: the result is that of a run in which it did not."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.runs import children

if TYPE_CHECKING:
    from pathlib import Path

LARGE = {"spec.rounds": 8, "spec.task.parameters.seconds": 0.5, "spec.task.parameters.values": 2000000}
"""8 MB: writing a version takes a while."""


def assert_as_if_nothing_had_happened(done, reference, restarts=1):
    assert done.exit_code == 0, done.stderr
    assert (done.summary["phase"], done.summary["coordinator_restarts"], done.summary["worker_restarts"]) == ("Succeeded", restarts, 0)
    assert done.summary["rounds_completed"] == 8
    assert done.model == reference.model
    assert [row["round"] for row in done.rounds] == [str(number) for number in range(1, 9)]
    assert {row["accepted"] for row in done.rounds} == {"3"}
    done.assert_nothing_counted_twice()
    assert [(e["round"], e["outcome"]) for e in done.named("round_closed")] == [(number, "full") for number in range(1, 9)]
    assert len({event["seq"] for event in done.events}) == len(done.events)


@pytest.mark.timeout(90)
def test_killed_at_a_random_instant(runs, undisturbed):
    fields, reference = undisturbed
    done = runs.run(fields, "--kill", "coordinator@4")
    assert_as_if_nothing_had_happened(done, reference)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_runs_each_killed_at_another_instant_of_round_4(runs):
    reference = runs.run(LARGE, run_dir=runs.folder / "reference")
    assert reference.exit_code == 0, reference.stderr
    struck = []
    for number in range(10):
        run_dir = runs.folder / f"run-{number}"
        if number < 6:
            done = runs.run(LARGE, "--kill", "coordinator@4", run_dir=run_dir)
        else:  # while the version is written; a random instant would seldom be there
            sight = ("000004.safetensors.tmp", "000004.safetensors", "000004.json.tmp", "000004.json")[number - 6]
            process = runs.start(LARGE, run_dir=run_dir)
            runs.wait_for(process, "quorum_reached", "round=4")
            coordinator = children(process)["coordinator"].pid
            wait_for_file(run_dir / "versions" / sight)
            os.kill(coordinator, signal.SIGKILL)
            done = runs.finish(process, run_dir=run_dir)
        assert_as_if_nothing_had_happened(done, reference)
        struck.append(where(done))
    print("killed", *struck, sep="\n  ")
    assert len(set(struck)) >= 3


@pytest.mark.long
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("after", "sight"),
    [
        ("listening", "000000.safetensors.tmp"),
        ("listening", "000000.safetensors"),
        ("listening", "000000.json"),
        ("listening", "000001.safetensors.tmp"),
        ("round=7/8", "000008.safetensors"),
        ("round=7/8", "000008.json"),
    ],
)
def test_killed_at_the_edges_of_the_job(runs, undisturbed, after, sight):
    fields, reference = undisturbed
    process = runs.start(fields)
    runs.wait_for(process, after)
    coordinator = children(process)["coordinator"].pid
    wait_for_file(runs.run_dir / "versions" / sight)
    os.kill(coordinator, signal.SIGKILL)
    done = runs.finish(process)
    assert_as_if_nothing_had_happened(done, reference)
    assert done.summary["metrics"] == reference.summary["metrics"]
    assert done.named("coordinator_resumed") or sight.startswith("000000")


@pytest.mark.long
@pytest.mark.timeout(90)
def test_killed_twice_with_workers_that_die_too(runs, undisturbed):
    fields, reference = undisturbed
    done = runs.run(fields, *("--kill", "coordinator@3", "--kill", "worker-1@3", "--kill", "coordinator@6", "--kill", "worker-2@7"))
    assert done.exit_code == 0, done.stderr
    assert (done.summary["coordinator_restarts"], done.summary["worker_restarts"], done.model) == (2, 2, reference.model)
    assert [row["round"] for row in done.rounds] == [str(number) for number in range(1, 9)]
    done.assert_nothing_counted_twice()


def wait_for_file(path: Path):
    """Look without a pause: a temporary file is there for a millisecond, and on a busy machine only what it became is seen."""
    became = path.with_suffix("") if path.suffix == ".tmp" else path
    deadline = time.monotonic() + 20
    while not (path.exists() or became.exists()):
        assert time.monotonic() < deadline


def where(done):
    """Say what had happened of round 4 when the coordinator was killed."""
    resumed = done.named("coordinator_resumed")[0]
    before = [e for e in done.events if e["seq"] < resumed["seq"] and e.get("round") == 4 and e["resume"] == 0]
    logged = sum(e["event"] == "checkpoint_written" and e["version"] == 4 and e["resume"] == 0 for e in done.events)
    accepted = sum(e["event"] == "update" and e["result"] == "accepted" for e in before)
    return f"accepted {accepted} of 3, its version logged {logged}, resumed from version {resumed['version']}"


@pytest.mark.timeout(60)
def test_a_terminated_coordinator_leaves_a_durable_state(runs, undisturbed):
    fields, reference = undisturbed
    process = runs.start(fields)
    runs.wait_for(process, "round_closed", "round=3/8")
    children(process)["coordinator"].send_signal(signal.SIGTERM)
    exited = runs.wait_for(process, "coordinator_exited")
    assert "exit_code=143" in exited.split()
    done = runs.finish(process)
    assert "terminated version=" in done.log("coordinator")
    assert done.named("coordinator_resumed")[0]["version"] >= 3
    assert_as_if_nothing_had_happened(done, reference)


@pytest.mark.timeout(60)
def test_a_coordinator_whose_budget_is_spent_fails_the_job(runs):
    done = runs.run({"spec.coordinator.maxRestarts": 1}, "--kill", "coordinator@2", "--kill", "coordinator@3")
    assert done.exit_code == 1, done.stderr
    assert (done.summary["phase"], done.summary["reason"], done.summary["coordinator_restarts"]) == ("Failed", "CoordinatorFailed", 1)
    assert done.summary["message"] == "coordinator ended with exit code 137; 1 of 1 restarts are spent"
    assert (done.events[-1]["event"], done.events[-1]["reason"]) == ("run_finished", "CoordinatorFailed")
    assert done.rounds[-1]["outcome"] in {"aborted", "full"}
    done.assert_nothing_counted_twice()
