"""The live view: a few lines on a terminal that follow the job, drawn by rich on stderr."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedcore.cli.board import Board, Standing, WorkerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

__all__ = ["LiveView", "render", "sparkline"]

_SHOWN_WORKERS = 20
_REFRESH_SECONDS = 0.1
_TWO_COLUMNS_WIDTH = 96
_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 24
_LOOKS = {
    WorkerState.GONE: ("✕", "gone", "red"),
    WorkerState.EXITED: ("✕", "lost", "red"),
    WorkerState.LOST: ("✕", "lost", "red"),
    WorkerState.WAITING: ("◌", "waiting", "yellow"),
    WorkerState.TRAINING: ("◐", "training", "cyan"),
    WorkerState.IDLE: ("○", "idle", "dim"),
    WorkerState.READY: ("●", "ready", "green"),
    WorkerState.IN: ("●", "in", "green"),
}


class LiveView:
    """Draws the board again and again, at most ten times a second.

    Parameters
    ----------
    console : Console
        Where: stderr, a terminal.
    board : Board
        What is known; fed by `event`.
    header : str
        The line above it all.
    """

    refresh_seconds: float | None = _REFRESH_SECONDS

    def __init__(self, console: Console, board: Board, header: str) -> None:
        self._board = board
        self._header = header
        self._console = console
        self._drawn_at = 0.0
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._draw()
        self._live.stop()

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        self._board.feed(event)
        if event["event"] == "fault":
            self._console.print(Text(f"killed {event['kill']} in round {event['round']}, as asked", style="yellow"))

    def refresh(self) -> None:
        """Draw anew, unless it was done a moment ago."""
        now = time.monotonic()
        if now - self._drawn_at >= _REFRESH_SECONDS:
            self._drawn_at = now
            self._draw()

    def _draw(self) -> None:
        self._live.update(render(self._board, self._header, datetime.now(UTC), self._console.width), refresh=True)


def render(board: Board, header: str, now: datetime, width: int) -> RenderableType:
    """Draw a board as it stands."""
    return Group(Text(header, style="bold", overflow="ellipsis", no_wrap=True), _progress(board, now, width), _workers(board, now, width))


def _progress(board: Board, now: datetime, width: int) -> RenderableType:
    line = Text()
    if board.opened is None:
        line.append(board.status)
    else:
        line.append(f"open {(now - board.opened).total_seconds():.1f} s, {board.accepted} of {board.required} in")
    if board.accuracy:
        version, accuracy = max(board.accuracy.items())
        line.append(f"    accuracy {accuracy:.3f} (v{version}) ")
        line.append(sparkline([value for _, value in sorted(board.accuracy.items())]), style="cyan")
    left = board.seconds_left(now)
    if left is not None:
        line.append(f"    about {int(left) // 60}:{int(left) % 60:02d} left", style="dim")
    done = board.completed + (min(board.accepted / board.required, 1.0) if board.opened is not None and board.required else 0.0)
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=board.rounds, completed=done, width=28 if width >= _TWO_COLUMNS_WIDTH else 12)
    row.add_row(f"Round {board.round}/{board.rounds}", bar, line)
    return row


def _workers(board: Board, now: datetime, width: int) -> RenderableType:
    worst = sorted(board.workers.values(), key=lambda worker: (worker.state, worker.since or now, _index(worker)))
    shown = worst[:_SHOWN_WORKERS]
    if len(worst) <= _SHOWN_WORKERS:
        shown.sort(key=_index)
    columns = 2 if width >= _TWO_COLUMNS_WIDTH else 1
    height = -(-len(shown) // columns)
    table = Table.grid(padding=(0, 3))
    for number in range(height):
        table.add_row(*(_worker(worker, now) for worker in shown[number::height]))
    if len(worst) > len(shown):
        table.add_row(Text(f"  and {len(worst) - len(shown)} more", style="dim"))
    return table


def _index(worker: Standing) -> tuple[int, str]:
    return len(worker.name), worker.name


def _worker(worker: Standing, now: datetime) -> Text:
    glyph, word, style = _LOOKS[worker.state]
    text = Text(f"  {worker.name:<11} ")
    text.append(f"{glyph} {word:<9}", style=style)
    if worker.state <= WorkerState.WAITING:
        return text.append(worker.note)
    if worker.state is WorkerState.TRAINING and worker.since is not None:
        text.append(f"{(now - worker.since).total_seconds():6.2f} s")
    elif worker.trip_s is not None:
        text.append(f"{worker.trip_s:6.2f} s")
    if worker.epochs is not None:
        text.append(f" {worker.epochs:5.2f} epochs")
    if worker.late_in is not None:
        text.append(f"   late in round {worker.late_in}", style="yellow")
    if worker.note:
        text.append(f"   {worker.note}", style="dim")
    return text


def sparkline(values: list[float]) -> str:
    """Return the last values as bars between the lowest and the highest of them."""
    values = values[-_SPARKS:]
    if not values:
        return ""
    low, high = min(values), max(values)
    if high == low:
        return _BARS[3] * len(values)
    return "".join(_BARS[1 + round((value - low) / (high - low) * 6)] for value in values)
