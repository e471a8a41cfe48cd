"""The local runner itself: killed, interrupted, run again."""

from __future__ import annotations

import signal

import pytest

from support.runs import children, wait_for_end


def assert_goes_on(runs, fields, reference, stopped_at):
    done = runs.run(fields)
    assert done.exit_code == 0, done.stderr
    assert (done.summary["phase"], done.summary["rounds_completed"], done.model) == ("Succeeded", 8, reference.model)
    assert [row["round"] for row in done.rounds] == [str(number) for number in range(1, 9)]
    assert len({event["run_id"] for event in done.named("run_started")}) == 1
    assert done.named("coordinator_resumed")[0]["version"] >= stopped_at
    done.assert_nothing_counted_twice()


@pytest.mark.timeout(60)
def test_killed_it_takes_its_children_along_and_the_run_can_be_resumed(runs, undisturbed):
    fields, reference = undisturbed
    process = runs.start(fields)
    runs.wait_for(process, "round_closed", "round=3/8")
    found = children(process)
    assert set(found) == {"coordinator", "0", "1", "2"}
    process.kill()
    for child in found.values():
        wait_for_end(child.pid, seconds=5)
    assert not (runs.run_dir / "summary.json").exists()
    assert_goes_on(runs, fields, reference, stopped_at=3)


@pytest.mark.timeout(60)
def test_interrupted_it_says_so_and_the_run_can_be_resumed(runs, undisturbed):
    fields, reference = undisturbed
    process = runs.start(fields)
    runs.wait_for(process, "round_closed", "round=3/8")
    found = children(process)
    process.send_signal(signal.SIGINT)
    stopped = runs.finish(process, limit=15)
    assert stopped.exit_code == 130, stopped.stderr
    assert (stopped.summary["phase"], stopped.summary["reason"], stopped.summary["exit_code"]) == ("Interrupted", "Interrupted", 130)
    assert stopped.summary["rounds_completed"] >= 3
    for child in found.values():
        wait_for_end(child.pid, seconds=0.1)
    assert_goes_on(runs, fields, reference, stopped_at=stopped.summary["rounds_completed"])
