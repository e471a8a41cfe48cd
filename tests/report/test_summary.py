"""The summary: its keys, and how it speaks of ends that the coordinator did not write down."""

from __future__ import annotations

from pathlib import Path

from fedcore.engine.reasons import EndReason, Phase
from fedcore.report.summary import End, summarise


def test_a_finished_run(two_rounds):
    assert summarise(two_rounds, run_dir=Path("/runs/a")) == {
        "schema": 1,
        "job": "mnist",
        "run_id": "r1",
        "phase": "Succeeded",
        "reason": "Completed",
        "message": "",
        "exit_code": 0,
        "rounds_completed": 2,
        "rounds_target": 2,
        "metrics": {"accuracy": 0.875, "loss": 0.5, "f1": 0.8},
        "duration_s": 4.0,
        "quorum": {"required": 2, "rounds_with_quorum": 2},
        "updates": {"accepted": 4, "late": 1, "duplicate": 1, "rejected": 1},
        "worker_restarts": 1,
        "coordinator_restarts": 0,
        "bytes": {"sent": 1610, "received": 2020},
        "run_dir": "/runs/a",
    }


def test_a_failed_run_after_a_resume(resumed):
    summary = summarise(resumed, run_dir=Path("/runs/a"))
    assert (summary["phase"], summary["reason"], summary["exit_code"]) == ("Failed", "QuorumLost", 3)
    assert summary["rounds_completed"] == summary["quorum"]["rounds_with_quorum"] == 1
    assert summary["metrics"] is None
    assert summary["coordinator_restarts"] == 1
    assert summary["bytes"] == {"sent": 1010, "received": 920}


def test_a_job_that_grew_while_it_ran(two_rounds):
    two_rounds.insert(-1, {**two_rounds[-2], "event": "spec_changed", "rounds": 9, "workers": 4, "required": 3})
    summary = summarise(two_rounds, run_dir=Path("/runs/a"))
    assert (summary["rounds_target"], summary["quorum"]["required"]) == (9, 3)


def test_metrics_of_an_older_version_are_not_those_of_the_final_model(two_rounds):
    events = [event for event in two_rounds if event.get("version") != 2]
    assert summarise(events, run_dir=Path("/runs/a"))["metrics"] is None


def test_an_unfinished_run_is_interrupted(two_rounds):
    summary = summarise(two_rounds[:-1], run_dir=Path("/runs/a"), worker_restarts=5)
    assert (summary["phase"], summary["reason"], summary["exit_code"]) == ("Interrupted", "Interrupted", 130)
    assert summary["worker_restarts"] == 5


def test_a_run_that_never_started_has_the_supervisors_word():
    end = End(Phase.FAILED, EndReason.COORDINATOR_FAILED, "exit 1")
    summary = summarise([], run_dir=Path("/runs/a"), job="mnist", end=end)
    assert (summary["job"], summary["reason"], summary["exit_code"], summary["duration_s"]) == ("mnist", "CoordinatorFailed", 1, 0.0)


def test_the_events_own_end_wins_over_the_supervisors(two_rounds):
    end = End(Phase.FAILED, EndReason.COORDINATOR_FAILED, "exit 1")
    assert summarise(two_rounds, run_dir=Path("/runs/a"), end=end)["reason"] == "Completed"
