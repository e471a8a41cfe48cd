"""Workers that die: for good, for a while, all at once, and such as can never work."""

from __future__ import annotations

import pytest

from fedcore.report.tables import moment

EIGHT = {
    "spec.workers.replicas": 8,
    "spec.quorum.percent": 75,
    "spec.rounds": 5,
    "spec.task.parameters.seconds": 0.5,
}
"""Six of eight are needed. By round 4 all have long been there."""


def kills(number, *indexes):
    return [part for index in indexes for part in ("--kill", f"worker-{index}@{number}")]


@pytest.mark.timeout(60)
def test_three_of_eight_gone_for_good_end_the_job_within_the_round(runs):
    done = runs.run({**EIGHT, "spec.workers.maxRestartsPerWorker": 0}, *kills(4, 1, 3, 6))
    assert done.exit_code == 3, done.stderr
    assert (done.summary["phase"], done.summary["reason"], done.summary["exit_code"]) == ("Failed", "QuorumUnreachable", 3)
    assert done.summary["message"].startswith("3 of 8 workers are gone for good, 6 are required")
    assert (done.summary["rounds_completed"], done.summary["rounds_target"], done.summary["worker_restarts"]) == (3, 5, 0)
    last = done.events[-1]
    assert (last["event"], last["reason"], last["exit_code"]) == ("run_finished", "QuorumUnreachable", 3)
    assert "reason=QuorumUnreachable" in done.log("coordinator")
    assert "reason=QuorumUnreachable" in done.stderr
    opened = next(event for event in done.named("round_opened") if event["round"] == 4)
    assert (moment(last["time"]) - moment(opened["time"])).total_seconds() < opened["deadline_s"]

    assert [row["round"] for row in done.rounds] == ["1", "2", "3", "4"]
    assert {row["outcome"] for row in done.rounds[:3]} <= {"full", "quorum"}
    assert done.rounds[3]["outcome"] == "aborted"
    accepted = [event for event in done.named("update") if event["result"] == "accepted"]
    assert sum(row["result"] == "accepted" for row in done.updates) == len(accepted) == done.summary["updates"]["accepted"]
    assert {int(row["accepted"]) for row in done.rounds[:3]} <= {6, 7, 8}
    done.assert_nothing_counted_twice()
    assert (done.run_dir / "versions" / "000003.json").is_file()


@pytest.mark.timeout(60)
def test_two_of_eight_restarted_in_the_midst_of_a_round(runs):
    everybody = {"spec.quorum.percent": 100}  # or the job might end before they are back
    done = runs.run({**EIGHT, **everybody}, *kills(4, 2, 7))
    assert done.exit_code == 0, done.stderr
    assert (done.summary["phase"], done.summary["worker_restarts"], done.summary["coordinator_restarts"]) == ("Succeeded", 2, 0)
    again = {(e["worker"], e["attempt"]) for e in done.named("worker_registered") if e["kind"] == "restart"}
    assert again == {("worker-2", 2), ("worker-7", 2)}
    assert [row["round"] for row in done.rounds] == [str(number) for number in range(1, 6)]
    done.assert_nothing_counted_twice()


@pytest.mark.timeout(60)
def test_quorum_lost_when_nobody_comes_back_in_time(runs):
    fields = {
        "spec.failurePolicy.restartBackoffSeconds": 600,
        "spec.quorum.roundTimeoutSeconds": 2,
        "spec.quorum.lossGracePeriodSeconds": 1,
    }
    done = runs.run(fields, *kills(2, 0, 1, 2))
    assert done.exit_code == 3, done.stderr
    assert (done.summary["reason"], done.summary["rounds_completed"], done.summary["worker_restarts"]) == ("QuorumLost", 1, 0)
    assert done.rounds[0]["outcome"] in {"full", "quorum"}
    assert done.rounds[1]["outcome"] == "aborted"
    assert done.rounds[1]["deadlines_missed"] == "1"
    assert done.named("quorum_lost")


@pytest.mark.timeout(60)
def test_a_worker_that_can_never_work_ends_the_job_in_its_own_words(runs):
    done = runs.run({"spec.task.entrypoint": "drift_task:refusing"})
    assert done.exit_code == 1, done.stderr
    assert (done.summary["reason"], done.summary["rounds_completed"]) == ("NonRetryableExit", 0)
    assert "worker-1 ended with exit code 2" in done.summary["message"]
    assert "learningRate" in done.summary["message"]
    assert "it is a word" in done.summary["message"]
    assert done.summary["worker_restarts"] == 0
    assert done.summary["duration_s"] < 10
