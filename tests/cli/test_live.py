"""The live view's looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.console import Console

from fedcore.cli.board import Board, Standing, WorkerState
from fedcore.cli.live import LiveView, render, sparkline

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(board, width=120):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render(board, "fedcore 0.1.0 · mnist", NOW, width))
    return capture.get()


def a_board(workers=3):
    board = Board(rounds=10, required=2, workers={f"worker-{i}": Standing(f"worker-{i}") for i in range(workers)})
    board.round, board.opened, board.accepted, board.completed = 7, NOW - timedelta(seconds=1.4), 1, 6
    board.accuracy = {5: 0.91, 6: 0.934}
    return board


def test_render_shows_round_and_workers():
    board = a_board()
    board.workers["worker-0"].state, board.workers["worker-0"].trip_s, board.workers["worker-0"].epochs = WorkerState.IN, 0.41, 6.0
    board.workers["worker-2"].state, board.workers["worker-2"].note = WorkerState.EXITED, "exit 137, restart 1 of 3 in 8 s"
    text = drawn(board)
    assert "Round 7/10" in text
    assert "open 1.4 s, 1 of 2 in" in text
    assert "accuracy 0.934 (v6)" in text
    assert "worker-0    ● in" in text
    assert "0.41 s  6.00 epochs" in text
    assert "worker-2    ✕ lost     exit 137, restart 1 of 3 in 8 s" in text


def test_render_shows_at_most_twenty_workers_worst_first():
    board = a_board(1000)
    board.workers["worker-999"].state = WorkerState.LOST
    text = drawn(board)
    assert "and 980 more" in text
    assert text.index("worker-999") < text.index("worker-0 ")


def test_render_fits_a_narrow_terminal():
    assert all(len(line) <= 60 for line in drawn(a_board(), width=60).splitlines())


def test_the_view_draws_what_it_was_told(capsys):
    console = Console(width=120, force_terminal=True, color_system=None)
    with LiveView(console, a_board(), "header") as view:
        view.event({"time": NOW.isoformat(), "event": "fault", "kill": "worker-1", "round": 7})
        view.refresh()
    shown = capsys.readouterr().out
    assert "killed worker-1 in round 7, as asked" in shown
    assert "Round 7/10" in shown


def test_workers_on_a_cluster_are_ready_or_wait_for_something():
    board = a_board()
    board.workers["worker-0"].state = WorkerState.READY
    board.workers["worker-1"].state, board.workers["worker-1"].note = WorkerState.WAITING, "ImagePullFailed: no such image"
    shown = drawn(board)
    assert "worker-0    ● ready" in shown
    assert "worker-1    ◌ waiting  ImagePullFailed: no such image" in shown


def test_sparkline():
    assert sparkline([]) == ""
    assert sparkline([0.5]) == "▄"
    assert sparkline([0.0, 0.5, 1.0]) == "▂▅█"
    assert len(sparkline([float(i) for i in range(100)])) == 24
