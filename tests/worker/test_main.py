"""Whole processes: signals, files and exit codes are the operating system's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest


def finish(process):
    _, log = process.communicate(timeout=30)
    return process.returncode, log


def test_a_stopped_worker_leaves_its_reason_behind(server, spawn, tmp_path):
    server.give(server.train(1))
    process = spawn("Toy")
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert (tmp_path / "ready").exists()
    server.stop_worker("QuorumLost")
    code, log = finish(process)
    assert code == 3, log
    assert json.loads((tmp_path / "end.json").read_text()) == {"schema": 1, "reason": "stopped", "message": "the job has ended: QuorumLost"}
    assert not (tmp_path / "ready").exists()
    assert "worker_ended reason=stopped exit_code=3" in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_a_worker_in_training(server, spawn, tmp_path, number):
    server.give(server.train(1))
    process = spawn("Patient")
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    process.send_signal(number)
    code, log = finish(process)
    assert code == 0, log
    assert server.of("fedcore.leave") == [("s2", "left")]
    assert json.loads((tmp_path / "end.json").read_text())["reason"] == "left"


def test_a_task_that_does_not_listen_is_ended_when_the_grace_has_passed(server, spawn, tmp_path):
    server.give(server.train(1))
    process = spawn("Deaf", FEDCORE_DRAIN_SECONDS="0.2")
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    process.send_signal(signal.SIGTERM)
    code, log = finish(process)
    assert code == 0, log
    assert server.of("fedcore.leave")
    assert json.loads((tmp_path / "end.json").read_text())["reason"] == "left"


def test_a_second_signal_ends_it_at_once(server, spawn):
    server.give(server.train(1))
    process = spawn("Deaf")
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    process.send_signal(signal.SIGTERM)
    assert "drain signal=SIGTERM" in "".join(iter_until(process.stderr, "drain signal=SIGTERM"))
    process.send_signal(signal.SIGTERM)
    code, log = finish(process)
    assert code == 143, log


def iter_until(lines, text):
    for line in lines:
        yield line
        if text in line:
            return


def test_it_ends_with_the_process_that_started_it(server, spawn):
    reading, writing = os.pipe()
    server.give(server.train(1))
    process = spawn("Deaf", FEDCORE_LIFELINE_FD=str(reading))
    os.close(reading)
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    os.close(writing)
    code, log = finish(process)
    assert code == 143, log


def test_json_logs_are_one_object_per_line(server, spawn):
    server.give(server.train(1))
    process = spawn("Crashing", FEDCORE_LOG_FORMAT="json")
    code, log = finish(process)
    assert code == 1
    events = [json.loads(line) for line in log.splitlines()]
    assert [event["event"] for event in events] == ["registered", "task_failed", "worker_ended"]
    assert "ZeroDivisionError" in events[1]["traceback"]


def test_numpy_is_not_imported_before_its_threads_are_limited():
    program = "import sys, fedcore.worker.main; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
