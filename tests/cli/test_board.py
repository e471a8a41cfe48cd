"""The board: what the live view knows after which events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fedcore.cli.board import Board, Standing, WorkerState

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def board():
    return Board(rounds=3, required=2, workers={f"worker-{i}": Standing(f"worker-{i}") for i in range(3)})


def feed(board, at, event, **fields):
    board.feed({"time": (START + timedelta(seconds=at)).isoformat(), "event": event, **fields})


def open_round(board, at, number):
    feed(board, at, "round_opened", round=number, required=2, participants=3)
    for worker in board.workers:
        feed(board, at, "task_sent", round=number, worker=worker, epochs=2.0)


def accept(board, at, number, worker, trip=0.5):
    feed(board, at, "update", round=number, worker=worker, result="accepted", round_trip_s=trip, epochs=2.0)


def close(board, at, number):
    feed(board, at, "round_closed", round=number, outcome="quorum")


def test_a_round_from_opening_to_close(board):
    open_round(board, 0, 1)
    assert {worker.state for worker in board.workers.values()} == {WorkerState.TRAINING}
    accept(board, 1, 1, "worker-0")
    accept(board, 1, 1, "worker-2")
    assert (board.accepted, board.workers["worker-0"].state, board.workers["worker-0"].trip_s) == (2, WorkerState.IN, 0.5)
    close(board, 2, 1)
    assert (board.completed, board.opened) == (1, None)
    assert board.workers["worker-1"].late_in == 1
    assert board.workers["worker-0"].late_in is None


def test_a_killed_worker_until_it_is_back(board):
    open_round(board, 0, 1)
    feed(board, 1, "worker_exited", worker="worker-1", exit_code=137, restart=1, of=3, in_s=8.0)
    worker = board.workers["worker-1"]
    assert (worker.state, worker.note) == (WorkerState.EXITED, "exit 137, restart 1 of 3 in 8 s")
    feed(board, 2, "worker_lost", worker="worker-1", silent_s=15.0)
    assert worker.note.startswith("exit 137")
    feed(board, 9, "worker_registered", worker="worker-1", attempt=2, kind="restart")
    assert (worker.state, worker.note) == (WorkerState.IDLE, "")


def test_a_worker_that_nobody_starts_again_stays_gone(board):
    feed(board, 1, "worker_gave_up", worker="worker-1", exit_code=1)
    feed(board, 2, "worker_lost", worker="worker-1", silent_s=15.0)
    assert board.workers["worker-1"].state is WorkerState.GONE


def test_a_reopened_round_collects_anew(board):
    open_round(board, 0, 1)
    accept(board, 1, 1, "worker-0")
    feed(board, 2, "coordinator_exited", exit_code=137, restart=1, of=3, in_s=1.0)
    assert board.status == "coordinator gone (exit 137), restart 1 of 3"
    open_round(board, 4, 1)
    assert (board.round, board.accepted) == (1, 0)


def test_seconds_left_follow_the_pace_of_the_last_rounds(board):
    open_round(board, 0, 1)
    assert board.seconds_left(START) is None
    open_round(board, 2, 2)
    assert board.seconds_left(START + timedelta(seconds=3)) == pytest.approx(3.0)


def test_accuracy_belongs_to_its_version(board):
    feed(board, 0, "evaluated", version=1, metrics={"accuracy": 0.5, "loss": 1.0})
    feed(board, 0, "evaluated", version=2, metrics={"loss": 0.5})
    assert board.accuracy == {1: 0.5}
    assert board.metrics_version == 2


def test_events_it_does_not_know_change_nothing(board):
    feed(board, 0, "checkpoint_written", version=1)
    assert board.round == 0
