"""Which run directory a run may have."""

from __future__ import annotations

import json
import os
import stat

import pytest

from fedcore.jobfile import load_job
from fedcore.local import directory
from fedcore.local.directory import RunDirectoryError, open_run_directory
from fedcore.report.lock import lock_run_dir


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "apiVersion: fedcore.dev/v1alpha1\nkind: FederatedJob\nmetadata: {name: steps}\n"
        "spec: {rounds: 3, task: {entrypoint: 'steps:task'}, workers: {replicas: 2}}\n"
    )
    return lambda *overrides: load_job(path, overrides)


@pytest.fixture
def opened(tmp_path, job):
    """Open a run directory, and forget it again."""

    def open_and_close(*overrides):
        found = open_run_directory(job(*overrides), tmp_path / "run", tmp_path / "runs")
        found.close()
        return found

    return open_and_close


def write_events(tmp_path, *events):
    (tmp_path / "run" / "events.jsonl").write_text("".join(json.dumps({"seq": 0, "resume": 0, **event}) + "\n" for event in events))


def test_a_new_one_is_made_below_the_base_and_has_the_job(tmp_path, job):
    found = open_run_directory(job(), None, tmp_path / "runs")
    assert found.path.parent == tmp_path / "runs"
    assert found.path.name.endswith("-steps")
    assert not found.resumed
    assert load_job(found.path / "job.yaml") == job()
    assert stat.S_IMODE(found.private.stat().st_mode) == 0o700
    found.close()
    assert not found.private.exists()


def test_one_in_use_is_refused(tmp_path, job, opened):
    first = open_run_directory(job(), tmp_path / "run", tmp_path)
    with pytest.raises(RunDirectoryError, match="locked: another run is using it"):
        opened()
    first.close()
    opened()


def test_one_that_a_coordinator_holds_is_refused(tmp_path, opened, monkeypatch):
    opened()
    write_events(tmp_path, {"event": "run_started"})
    monkeypatch.setattr(directory, "_PREDECESSOR_SECONDS", 0.05)
    lock = lock_run_dir(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="a coordinator is using it"):
        opened()
    os.close(lock)


def test_an_unfinished_one_goes_on_with_higher_attempts(tmp_path, opened):
    opened()
    write_events(
        tmp_path,
        {"event": "run_started"},
        {"event": "worker_registered", "worker": "worker-1", "attempt": 3},
        {"event": "worker_registered", "worker": "worker-1", "attempt": 2},
        {"event": "coordinator_resumed", "resume": 1},
    )
    found = opened()
    assert found.resumed
    assert found.attempts == {"coordinator": 2, "worker-1": 3}


def test_a_finished_one_is_refused(tmp_path, opened):
    opened()
    write_events(tmp_path, {"event": "run_started"}, {"event": "run_finished"})
    with pytest.raises(RunDirectoryError, match="has ended; choose another directory"):
        opened()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (("metadata.name", "other"), 'an unfinished run of "steps", not of "other"'),
        (("spec.seed", "7"), "another spec.seed"),
        (("spec.task.entrypoint", "steps:other"), "another spec.task"),
        (("spec.rounds", "2"), r"spec.rounds \(it may only grow, from 3\)"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_one_of_another_job_is_refused(opened, override, said):
    opened()
    with pytest.raises(RunDirectoryError, match=said):
        opened(override)


@pytest.mark.parametrize("override", [("spec.rounds", "5"), ("spec.quorum.percent", "100"), ("spec.workers.maxRestartsPerWorker", "0")])
def test_what_may_change_while_a_job_runs_may_change_between_two_parts_of_a_run(opened, override):
    opened()
    opened(override)


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path, opened):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(RunDirectoryError, match="not empty and holds no run"):
        opened()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path, opened):
    (tmp_path / "run").touch()
    with pytest.raises(RunDirectoryError, match="cannot be a run directory"):
        opened()
