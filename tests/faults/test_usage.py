"""What cannot run is refused before anything starts: exit code 2, one clear message, nothing left behind."""

from __future__ import annotations

import fcntl
import socket

import pytest

pytestmark = pytest.mark.timeout(30)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}


def assert_refused(runs, fields, *words, arguments=(), run_dir=None):
    """Run, and see that the message has these words and that no file but the job's own has changed."""
    runs.write_job()
    before = files(runs.folder)
    done = runs.run(fields, *arguments, run_dir=run_dir)
    assert (done.exit_code, done.stdout) == (2, ""), done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("nothing was started\n")
    assert done.stderr.count("\n") <= 2
    after = files(runs.folder)
    assert before.keys() == after.keys()
    return done


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"spec.workload.polcy": "fixed"}, ["spec.workload.polcy: unknown field", 'did you mean "policy"']),
        ({"spec.rounds": "many"}, ["spec.rounds", "many"]),
        ({"spec.quorum.minWorkers": 4}, ["spec.quorum.minWorkers", "4", "3"]),
        ({"spec.task.entrypoint": "no_such_module:task"}, ['cannot import "no_such_module": No module named']),
        ({"spec.task.entrypoint": "drift_task:tusk"}, ['has no attribute "tusk", did you mean "task"?']),
    ],
    ids=["unknown field", "wrong type", "quorum above workers", "no module", "no attribute"],
)
def test_a_job_that_is_wrong(runs, fields, words):
    assert_refused(runs, fields, *words)
    assert not runs.run_dir.exists()


def test_a_module_that_needs_what_is_not_installed(runs):
    (runs.folder / "needy_task.py").write_text("import numpy\nimport torchlight\n")
    assert_refused(runs, {"spec.task.entrypoint": "needy_task:task"}, "needy_task.py:2", 'needs "torchlight", which is not installed')


@pytest.mark.parametrize("flag", ["--port", "--metrics-port"])
def test_a_port_in_use(runs, flag):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert_refused(runs, {}, f"port {port} on 127.0.0.1 is in use", arguments=[flag, str(port)])
    assert not runs.run_dir.exists()


@pytest.mark.parametrize("lock", ["runner.lock", ".lock"])
def test_a_run_directory_in_use(runs, lock):
    runs.run_dir.mkdir()
    (runs.run_dir / "runner.lock").touch()
    (runs.run_dir / "events.jsonl").touch()
    with (runs.run_dir / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert_refused(runs, {}, f"{runs.run_dir} is locked")


def test_a_run_directory_whose_run_has_ended(runs, undisturbed):
    fields, ended = undisturbed
    before = files(ended.run_dir)
    assert_refused(runs, fields, f"{ended.run_dir} holds a run that has ended", run_dir=ended.run_dir)
    assert files(ended.run_dir) == before


def test_a_data_folder_without_the_data(runs):
    runs.environment["FEDCORE_DATA"] = str(runs.folder)
    fields = {"spec.task.entrypoint": "fedcore.tasks.mnist:numpy_task", "spec.task.parameters.dataset": "full"}
    assert_refused(runs, fields, "spec.task.parameters", f"is not in {runs.folder}: missing", "train-images-idx3-ubyte")
    assert not runs.run_dir.exists()


def test_a_parameter_that_the_shipped_task_does_not_take(runs):
    fields = {"spec.task.entrypoint": "fedcore.tasks.mnist:numpy_task", "spec.task.parameters.learningRate": "fast"}
    assert_refused(runs, fields, "spec.task.parameters", "learningRate", "fast")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        pytest.param("abc", "'abc' is not allowed; allowed: a whole number from 3 (one for each worker) to 12000", id="no number"),
        pytest.param("2", "'2' is not allowed", id="fewer than workers"),
        pytest.param("12001", "'12001' is not allowed", id="more than there are"),
    ],
)
def test_a_number_of_images_that_cannot_be(runs, images, said):
    fields = {"spec.task.entrypoint": "fedcore.tasks.mnist:numpy_task", "spec.task.parameters.images": images}
    assert_refused(runs, {**fields, "spec.workers.replicas": 3}, "spec.task.parameters.images", said)
    assert not runs.run_dir.exists()
