"""Disks that are full: of a run, of its spool alone. Real ones, of a few hundred kilobytes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from contextlib import suppress

import pytest
import xxhash

from support.runs import LIMIT_SECONDS

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def disk(tmp_path):
    """Mount a file system of so many bytes somewhere."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    mounted = []

    def mount(folder, size_bytes):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)], capture_output=True, text=True)
        if done.returncode != 0 and not os.environ.get("CI"):
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Take all the space that is left, and return what holds it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def assert_failed_with_the_last_version_intact(done, rounds):
    assert done.exit_code == 1, done.stderr
    assert "reason=CheckpointFailed" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" not in done.log("coordinator")
    assert "No space left on device" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["phase"], summary["reason"], summary["rounds_completed"]) == ("Failed", "CheckpointFailed", rounds)
    assert "No space left on device" in summary["message"]
    newest = max(done.run_dir.glob("versions/*.json"))
    assert int(newest.stem) == rounds
    weights = newest.with_suffix(".safetensors").read_bytes()
    assert xxhash.xxh3_128_hexdigest(weights) == json.loads(newest.read_text())["base"]
    assert (done.run_dir / "model.safetensors").read_bytes() == weights


def test_no_room_for_the_next_version(runs, disk):
    disk(runs.run_dir, 700_000)  # versions of 200 kB each, one after the other kept
    done = runs.run()
    assert_failed_with_the_last_version_intact(done, done.summary["rounds_completed"])
    assert done.summary == json.loads(done.stdout)
    assert done.events[-1]["event"] == "run_finished"
    assert done.rounds[-1]["outcome"] == "aborted"
    assert not list(done.run_dir.rglob("*.tmp"))


def test_no_byte_left_on_the_disk(runs, disk):
    disk(runs.run_dir, 8_000_000)
    process = runs.start({"spec.rounds": 1000})
    runs.wait_for(process, "round_closed", "round=3/1000")
    fill(runs.run_dir)
    done = runs.finish(process)
    summary = json.loads(done.stdout)
    assert_failed_with_the_last_version_intact(done, summary["rounds_completed"])
    assert summary["rounds_completed"] >= 3


def test_a_log_that_takes_nothing_more(runs):
    process = runs.start({"spec.rounds": 1000, "spec.task.parameters.values": 100})
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8192, 8192))  # its children inherit it; events.jsonl is the first to get there
    done = runs.finish(process)
    assert done.exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr + done.log("coordinator")
    assert (done.summary["phase"], done.summary["reason"]) == ("Failed", "CheckpointFailed")
    assert done.summary["coordinator_restarts"] == 0
    assert "File too large" in done.summary["message"]
    assert json.loads(done.stdout) == done.summary
    assert all(done.events)
    refused = runs.run()
    assert refused.exit_code == 2
    assert "holds a run that has ended" in refused.stderr


def test_a_disk_that_is_full_from_the_start(runs, disk):
    fill(disk(runs.run_dir.parent / "full", 100_000))
    done = runs.run(run_dir=runs.folder / "full" / "run")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("cannot be a run directory: No space left on device; nothing was started\n")


def test_a_full_spool_only_makes_uploads_wait(runs, disk):
    runs.run_dir.mkdir()
    (runs.run_dir / "runner.lock").touch()  # else a directory that holds no run
    ballast = fill(disk(runs.run_dir / "spool", 200_000_000))
    # The coordinator clears its spool at its start: what is to stay has to be open, and loses its name.
    held = ballast.open("rb")
    process = runs.start({"spec.task.parameters.values": "10000000"})  # 40 MB: more than the spool keeps in memory
    log = runs.run_dir / "logs" / "worker-0.log"
    wait_for_text(log, "HTTP 503")
    assert not (runs.run_dir / "versions" / "000000.json").exists()
    held.close()
    done = runs.finish(process)
    assert done.exit_code == 0, done.stderr
    assert (done.summary["phase"], done.summary["rounds_completed"], done.summary["worker_restarts"]) == ("Succeeded", 4, 0)
    assert "no room to spool" in log.read_text()
    assert {row["result"] for row in done.updates} == {"accepted"}


def wait_for_text(path, text):
    deadline = time.monotonic() + LIMIT_SECONDS
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {path}"
