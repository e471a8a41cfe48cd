"""Children: their environment, and their ends. Any fedcore command will do."""

from __future__ import annotations

import os
import select
import signal

import pytest

from fedcore.local.messages import Exited
from fedcore.local.processes import Process, child_environment, start_process

SECONDS_MS = 30_000


@pytest.fixture
def started(tmp_path):
    children = []

    def start(*arguments, environment=None):
        process = start_process(
            "worker-0",
            arguments,
            child_environment(os.environ, environment or {}),
            log=tmp_path / "worker-0.log",
            termination=tmp_path / "worker-0.end",
            descriptors=[],
        )
        children.append(process)
        return process

    yield start
    for process in children:
        if process.popen.returncode is None:
            process.send(signal.SIGKILL)
            process.reap()


def ended(process: Process) -> Exited:
    poll = select.poll()
    poll.register(process.descriptor, select.POLLIN)
    assert poll.poll(SECONDS_MS), "still running"
    return process.reap()


def test_child_environment_keeps_what_was_meant_for_the_runner_from_the_child():
    inherited = {"PATH": "/bin", "FEDCORE_RUN_DIR": "/r", "FEDCORE_DATA": "/d", "MKL_NUM_THREADS": "4"}
    environment = child_environment(inherited, {"FEDCORE_ATTEMPT": "2"})
    assert "FEDCORE_RUN_DIR" not in environment
    assert environment["FEDCORE_DATA"] == "/d"
    assert environment["FEDCORE_ATTEMPT"] == "2"
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("1", "4")


def test_an_end_has_the_exit_code_and_the_last_line_of_the_log(started):
    exited = ended(started("worker", "--coordinator", "nowhere"))
    assert (exited.name, exited.exit_code, exited.reason) == ("worker-0", 2, "")
    assert exited.message.startswith("error: --entrypoint")


def test_a_killed_process_has_the_code_a_shell_gives_and_no_last_line(started):
    process = started("worker", "--coordinator", "http://127.0.0.1:9", "--entrypoint", "a:b")
    process.send(signal.SIGKILL)
    assert ended(process) == Exited("worker-0", 137)


def test_the_termination_message_wins(started, tmp_path):
    process = started("--version")
    (tmp_path / "worker-0.end").write_text('{"schema": 1, "reason": "stopped", "message": "the job is over"}')
    assert ended(process) == Exited("worker-0", 0, "stopped", "the job is over")


def test_a_signal_to_a_process_that_has_ended_is_lost(started):
    process = started("--version")
    poll = select.poll()
    poll.register(process.descriptor, select.POLLIN)
    assert poll.poll(SECONDS_MS)
    process.send(signal.SIGTERM)
    assert process.reap().exit_code == 0
