"""``kubectl fedjob watch``: a job on a cluster in the view of a local run, until it ends."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from fedcore import __version__
from fedcore.cli.closing import count, headline
from fedcore.cli.fedjob.source import Follower, Source
from fedcore.cli.fedjob.story import tell
from fedcore.cli.fedjob.trouble import TIMED_OUT, UNREACHABLE, Trouble
from fedcore.cli.plain import PlainView
from fedcore.cli.terminal import can_draw
from fedcore.engine.reasons import EXIT_CODE, EndReason, Phase

if TYPE_CHECKING:
    from fedcore.cli.fedjob.http import Http
    from fedcore.cli.fedjob.scene import Scene
    from fedcore.cli.live import LiveView
    from fedcore.local.plan import View

__all__ = ["WatchOptions", "closing_lines", "exit_code", "watch"]

_LOOK_SECONDS = 1.0
_UNREACHABLE_SECONDS = 120.0
"""A cluster that does not answer for so long ends the watch; a laptop that changes networks must not."""
_DELETED = 1
_FEW = 4


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What the flags say."""

    timeout_seconds: float | None = None
    color: bool = True
    log_format: Literal["text", "json"] = "text"


def watch(http: Http, namespace: str, name: str, options: WatchOptions) -> int:
    """Show a job until it ends and return the exit code of its outcome.

    Raises
    ------
    Trouble
        There is no such job, or it was deleted; the time is up; the cluster is out of reach for two minutes.
    """
    deadline = None if options.timeout_seconds is None else time.monotonic() + options.timeout_seconds
    source = Source(http, namespace, name)
    scene = source.read()
    for sentence in source.hidden:
        print(f"note: {sentence}", file=sys.stderr)
    with _view(scene, http.context, options) as view:
        scene = _follow(view, source, scene, deadline)
    print("\n".join(closing_lines(scene)))
    return exit_code(scene)


def exit_code(scene: Scene) -> int:
    """Return the exit code of a job that has ended, which is that of a local run."""
    reason = "" if scene.end is None else scene.end.reason
    return EXIT_CODE[EndReason(reason)] if reason in set(EndReason) else 1


def closing_lines(scene: Scene) -> list[str]:
    """Return the last words on a job that has ended."""
    status, end = scene.status, scene.end
    assert end is not None
    phase = Phase.SUCCEEDED if end.type == "Complete" else Phase.FAILED
    completed = status.result.rounds if status.result is not None else rounds_closed(scene)
    began, ended = status.start_time or scene.created, status.completion_time or end.last_transition_time
    words = [headline(phase, end.reason, completed, (ended - began).total_seconds())]
    metrics = () if status.result is None else status.result.metrics
    words += [f"{one.name} {float(one.value):.3f}" for one in metrics[:_FEW] if one.value]
    for number, noun in (
        (0 if status.progress is None else status.progress.late, "late update"),
        (status.workers.restarts, "worker restart"),
        (status.coordinator.restarts, "coordinator restart"),
        (status.workers.disruptions + status.coordinator.disruptions, "disruption"),
    ):
        if number:
            words.append(count(number, noun))
    lines = [" · ".join(words)]
    if phase is Phase.FAILED:
        lines += [f"  {end.message}"] if end.message else []
        lines.append(f"  Next    kubectl fedjob why {scene.name} -n {scene.namespace}")
    return lines


def rounds_closed(scene: Scene) -> int:
    """Return how many rounds are known to have closed."""
    progress = scene.status.progress
    return progress.recent_rounds[-1].round if progress is not None and progress.recent_rounds else 0


def _view(scene: Scene, context: str, options: WatchOptions) -> AbstractContextManager[View | LiveView]:
    if options.log_format == "json" or not can_draw(color=options.color):
        return nullcontext(PlainView(verbose=False, log_format=options.log_format, rounds=scene.rounds, extras={}))
    from rich.console import Console

    from fedcore.cli.board import Board, Standing, WorkerState
    from fedcore.cli.live import LiveView

    names = [f"worker-{index}" for index in range(scene.replicas)]
    board = Board(scene.rounds, scene.required, {name: Standing(name) for name in names}, resting=WorkerState.READY)
    quorum = f"quorum {scene.required} of {scene.replicas} ({scene.quorum.percent} %)"
    header = (
        f"fedcore {__version__} · {scene.name} · {scene.replicas} workers · {quorum} · {scene.rounds} rounds · {context}/{scene.namespace}"
    )
    return LiveView(Console(stderr=True, highlight=False), board, header)


def _follow(view: View, source: Source, first: Scene, deadline: float | None) -> Scene:
    """Show what happens until the job has ended, and return how it stands then."""
    scene = first
    _show(view, None, scene)
    follower = Follower(source)
    if scene.end is None:
        follower.start()
    seen_at = time.monotonic()
    while scene.end is None:
        found = follower.wait(view.refresh_seconds or _LOOK_SECONDS)
        now = time.monotonic()
        seen_at = seen_at if follower.trouble is not None else now
        if (follower.gone and (found is None or found.end is None)) or (found is not None and found.uid != scene.uid):
            raise Trouble(f"job {scene.name} was deleted before its end", _DELETED)
        if follower.trouble is not None and now - seen_at > _UNREACHABLE_SECONDS:
            raise Trouble(f"job {scene.name} cannot be seen any more; it goes on without us: {follower.trouble}", UNREACHABLE)
        if deadline is not None and now >= deadline:
            raise Trouble(f"job {scene.name} has not ended within --timeout; it goes on", TIMED_OUT)
        if found is not None:
            _show(view, scene, found)
            scene = found
        view.refresh()
    follower.stop()
    return scene


def _show(view: View, before: Scene | None, after: Scene) -> None:
    for event in tell(before, after, datetime.now(UTC)):
        view.event(event)
