"""Faults in real runs: `support.runs` has the processes, here are the runs that tests share."""

from __future__ import annotations

import shutil

import pytest

from support.runs import TASK, Runs

UNDISTURBED = {"spec.rounds": 8, "spec.task.parameters.seconds": 0.15}
"""Eight quick rounds."""


def _made(folder):
    shutil.copy(TASK, folder)
    return Runs(folder)


@pytest.fixture
def runs(tmp_path):
    made = _made(tmp_path)
    yield made
    made.kill()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Fields of a job, and its run without any fault."""
    made = _made(tmp_path_factory.mktemp("undisturbed"))
    try:
        done = made.run(UNDISTURBED)
    finally:
        made.kill()
    assert done.exit_code == 0, done.stderr
    return UNDISTURBED, done
