"""The run directory: names, torn lines, and CSV text to the letter."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from fedcore.report import rundir

ROUNDS_CSV = """\
round,resume,outcome,opened_at,duration_s,overhead_s,participants,required,accepted,late,duplicate,rejected,stragglers,lost,\
deadlines_missed,quorum_wait_s,round_trip_p50_s,round_trip_p95_s,round_trip_max_s,slowest_worker,aggregation_s,checkpoint_s,samples,\
epochs_min,epochs_median,epochs_max,bytes_sent,bytes_received,train_loss,accuracy,loss
1,0,full,2026-11-24T09:11:04.000Z,1.0,0.25,2,2,2,0,1,1,0,0,0,0.25,0.875,0.9875,1.0,worker-1,0.02,0.01,200,0.5,0.75,1.0,810,1220,0.5,0.625,1.25
2,0,full,2026-11-24T09:11:05.125Z,1.375,,2,2,2,1,0,0,0,1,0,0.5,0.625,0.7375,0.75,worker-1,0.02,0.01,200,0.25,0.625,1.0,800,800,0.5,0.875,0.5
"""
UPDATES_CSV = """\
time,resume,round,worker,attempt,result,reason,round_trip_s,train_s,epochs,samples,bytes,staleness_rounds,base_version,train_loss,\
eval_accuracy,eval_loss
2026-11-24T09:11:04.750Z,0,1,worker-0,1,accepted,,0.75,0.5,1.0,100,400,0,0,0.5,,
2026-11-24T09:11:04.800Z,0,1,worker-1,1,rejected,non_finite,,,1.0,100,400,0,0,0.5,,
2026-11-24T09:11:05.000Z,0,1,worker-1,1,accepted,,1.0,0.875,0.5,100,400,0,0,0.5,,
2026-11-24T09:11:05.010Z,0,1,worker-1,1,duplicate,,,,1.0,100,400,0,0,0.5,,
2026-11-24T09:11:05.200Z,0,1,worker-1,1,stale,,1.2,,1.0,100,400,1,0,0.5,,
2026-11-24T09:11:06.000Z,0,2,worker-0,1,accepted,,0.5,0.25,1.0,100,400,0,1,0.5,0.5,1.5
2026-11-24T09:11:06.500Z,0,2,worker-1,1,accepted,,0.75,0.5,0.25,100,400,0,1,0.5,0.75,1.0
"""


def write_events(path, events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def read(run_dir):
    return (run_dir / rundir.ROUNDS).read_text("utf-8"), (run_dir / rundir.UPDATES).read_text("utf-8")


def test_tables_of_a_run_to_the_letter(tmp_path, two_rounds):
    write_events(tmp_path / rundir.EVENTS, two_rounds)
    rundir.rebuild_tables(tmp_path)
    assert read(tmp_path) == (ROUNDS_CSV, UPDATES_CSV)


@pytest.mark.parametrize("cut", range(0, 27, 3))
def test_a_resume_at_any_event_gives_the_same_files(tmp_path, two_rounds, cut):
    with rundir.TableFiles(tmp_path) as files:
        for event in two_rounds[:cut]:
            files.feed(event)
    with (tmp_path / rundir.ROUNDS).open("a") as file:
        file.write("1,0,fu")  # killed half-way through a row
    with rundir.TableFiles(tmp_path, two_rounds[:cut]) as files:
        for event in two_rounds[cut:]:
            files.feed(event)
    assert read(tmp_path) == (ROUNDS_CSV, UPDATES_CSV)


def test_rows_are_on_disk_as_soon_as_they_are_complete(tmp_path, two_rounds):
    files = rundir.TableFiles(tmp_path)
    for event in two_rounds[:8]:
        files.feed(event)
    assert read(tmp_path)[1] == "".join(UPDATES_CSV.splitlines(keepends=True)[:3])
    files.close()


def test_read_events_drops_torn_lines(tmp_path):
    path = tmp_path / rundir.EVENTS
    path.write_bytes(b'{"event": "a"}\n{"event": "b", "x{"event": "c"}\n{"event": "d"}\n{"event": "e"')
    assert [event["event"] for event in rundir.read_events(path)] == ["a", "d"]


def test_read_events_of_no_file_is_empty(tmp_path):
    assert list(rundir.read_events(tmp_path / rundir.EVENTS)) == []


def test_new_run_dir_is_named_by_time_and_job_and_never_shared(tmp_path):
    now = datetime(2026, 11, 24, 9, 11, 3, tzinfo=UTC)
    names = [rundir.new_run_dir(tmp_path / "runs", "mnist", now).name for _ in range(3)]
    assert names == ["20261124-091103-mnist", "20261124-091103-mnist-2", "20261124-091103-mnist-3"]


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Succeeded", True), ("Failed", True), ("Interrupted", False)],
)
def test_is_finished_by_its_summary(tmp_path, phase, finished):
    rundir.write_json(tmp_path / rundir.SUMMARY, {"phase": phase})
    assert rundir.is_finished(tmp_path) is finished


def test_is_finished_by_its_events(tmp_path, two_rounds):
    write_events(tmp_path / rundir.EVENTS, two_rounds[:-1])
    assert not rundir.is_finished(tmp_path)
    write_events(tmp_path / rundir.EVENTS, two_rounds)
    assert rundir.is_finished(tmp_path)


def test_publish_newest_version_takes_the_last_complete_pair(tmp_path):
    versions = tmp_path / rundir.VERSIONS
    versions.mkdir()
    for number, complete in ((1, True), (2, True), (3, False)):
        (versions / f"{number:06d}.safetensors").write_text(str(number))
        if complete:
            (versions / f"{number:06d}.json").write_text("{}")
    rundir.publish_newest_version(tmp_path)
    rundir.publish_newest_version(tmp_path)
    assert (tmp_path / rundir.MODEL).read_text() == "2"
    assert not (tmp_path / f".{rundir.MODEL}.part").exists()


def test_publish_newest_version_without_any_leaves_nothing(tmp_path):
    rundir.publish_newest_version(tmp_path)
    assert list(tmp_path.iterdir()) == []
