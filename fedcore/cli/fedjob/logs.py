"""``kubectl fedjob logs``: the logs of a job's coordinator and workers, each line with the name of its pod.

Beside the current attempt of each place the operator keeps the newest one that ended: its last lines say why there is another. With
``--follow`` the pods of later attempts join in, until the job ends.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedcore.cli.fedjob.pods import COORDINATOR, WORKER, newest_first_by_place
from fedcore.cli.fedjob.source import Follower, Source
from fedcore.cli.fedjob.trouble import UNREACHABLE, USAGE, ApiTrouble, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fedcore.cli.fedjob.http import Http
    from fedcore.cli.fedjob.pods import PodSight
    from fedcore.cli.fedjob.scene import Scene

__all__ = ["LogsOptions", "logs", "select"]

_MOST_FOLLOWED = 100
_LOOK_SECONDS = 1.0
_UNREACHABLE_SECONDS = 120.0
_AGAIN_SECONDS = 1.0
_COLORS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_STAMPED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogsOptions:
    """What the flags say."""

    role: Literal["coordinator", "worker"] | None = None
    indexes: tuple[int, ...] = ()
    attempt: int | None = None
    previous: bool = False
    follow: bool = False
    tail: int | None = None
    color: bool = True


def logs(http: Http, namespace: str, name: str, options: LogsOptions) -> int:
    """Print logs and return 0.

    Raises
    ------
    Trouble
        There is no such job or no such pod.
    """
    source = Source(http, namespace, name)
    scene = source.read()
    chosen = select(scene, options)
    if not chosen and not options.follow:
        raise Trouble(_nothing(scene, source), USAGE)
    printer = _Printer(source, options)
    if options.follow:
        _follow(source, scene, options, printer)
        return 0
    for pod in chosen:
        if pod.started:
            printer.print_log(pod)
        else:
            print(f"{pod.name} has no log yet: {pod.waits_for or 'it starts'}{f': {pod.message}' if pod.message else ''}", file=sys.stderr)
    return 0


def select(scene: Scene, options: LogsOptions) -> list[PodSight]:
    """Return the pods whose logs are meant, the coordinator's first, of each place the older attempt first."""
    chosen: list[PodSight] = []
    for index, pods in newest_first_by_place(scene.pods).items():
        role = COORDINATOR if index is None else WORKER
        if (options.role is not None and role != options.role) or (options.indexes and index not in options.indexes):
            continue
        if options.attempt is not None:
            meant = [pod for pod in pods if pod.attempt == options.attempt]
        elif options.previous:
            current = scene.attempts.get(index, pods[0].attempt + 1)
            meant = [pod for pod in pods if pod.attempt < current and pod.started][:1]
        else:
            meant = pods
        chosen += reversed(meant)
    return chosen


def _nothing(scene: Scene, source: Source) -> str:
    there = ", ".join(pod.name for pod in scene.pods[:12]) + (f" and {len(scene.pods) - 12} more" if len(scene.pods) > 12 else "")
    if source.hidden:
        return "; ".join(source.hidden)
    if not scene.pods:
        return f"job {scene.name} has no pods: `kubectl fedjob why {scene.name} -n {scene.namespace}` says why"
    return f"job {scene.name} has no such pod; there are {there}"


class _Printer:
    """Prints lines of pods, whole, from several threads."""

    def __init__(self, source: Source, options: LogsOptions) -> None:
        self._source = source
        self._options = options
        self._color = options.color and sys.stdout.isatty()
        self._lock = threading.Lock()
        self.closed = threading.Event()
        """Nobody reads any more."""

    def print_log(self, pod: PodSight) -> None:
        """Print what a pod has said until now; one that is gone meanwhile is named on stderr."""
        try:
            for line in self._lines(pod, "", follow=False):
                self._print(pod, _STAMPED.sub(rb"\2", line))
        except ApiTrouble as trouble:
            if trouble.code not in {400, 404}:
                raise
            print(f"{pod.name}: {trouble}", file=sys.stderr)

    def follow_log(self, pod: PodSight) -> None:
        """Print what a pod says until it ends, or nobody reads."""
        with suppress(BrokenPipeError):
            self._follow(pod)

    def _follow(self, pod: PodSight) -> None:
        """Print a stream; one that breaks, as balancers do to silent ones, is taken up where it was."""
        last = ""
        while not self.closed.is_set():
            resumed = last
            try:
                for line in self._lines(pod, last, follow=True):
                    stamped = _STAMPED.fullmatch(line)
                    last = last if stamped is None else stamped[1].decode()
                    if stamped is None or last > resumed:  # the server begins with the whole second
                        self._print(pod, line if stamped is None else stamped[2])
                if self._has_ended(pod):
                    return
            except ApiTrouble as trouble:
                if trouble.code in {400, 401, 403, 404}:
                    print(f"{pod.name}: {trouble}", file=sys.stderr)
                    return
            self.closed.wait(_AGAIN_SECONDS)

    def _has_ended(self, pod: PodSight) -> bool:
        raw = self._source.http.get(f"/api/v1/namespaces/{self._source.namespace}/pods/{pod.name}")
        states = [one.get("state") or {} for one in (raw.get("status") or {}).get("containerStatuses") or [] if one.get("name") == pod.role]
        return any("terminated" in state for state in states)

    def _lines(self, pod: PodSight, since: str, *, follow: bool) -> Iterator[bytes]:
        query = {"container": pod.role, "timestamps": "true"} | ({"follow": "true"} if follow else {})
        if since:
            query["sinceTime"] = since
        elif self._options.tail is not None:
            query["tailLines"] = str(self._options.tail)
        path = f"/api/v1/namespaces/{self._source.namespace}/pods/{pod.name}/log"
        return self._source.http.lines(path, None if follow else 60.0, **query)

    def _print(self, pod: PodSight, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\n")
        name = f"[{pod.name}]"
        if self._color:
            name = f"\x1b[{_COLORS[(pod.index + 1 if pod.index is not None else 0) % len(_COLORS)]}m{name}\x1b[0m"
        with self._lock:
            try:
                print(name, text, flush=self._options.follow)
            except BrokenPipeError:
                self.closed.set()
                raise


def _follow(source: Source, scene: Scene, options: LogsOptions, printer: _Printer) -> None:
    """Print logs as they grow, those of pods to come too, until the job has ended and all is said."""
    threads: dict[str, threading.Thread] = {}

    def take_up(pods: Iterable[PodSight]) -> None:
        for pod in pods:
            if pod.name in threads or not pod.started:
                continue
            if sum(thread.is_alive() for thread in threads.values()) >= _MOST_FOLLOWED:
                raise Trouble(f"more than {_MOST_FOLLOWED} logs to follow at once; --index or --role choose some", USAGE)
            threads[pod.name] = threading.Thread(target=printer.follow_log, args=(pod,), name=pod.name, daemon=True)
            threads[pod.name].start()

    take_up(select(scene, options))
    follower = Follower(source)
    if scene.end is None:
        follower.start()
    seen_at = time.monotonic()
    while scene.end is None:
        found = follower.wait(_LOOK_SECONDS)
        if follower.gone or printer.closed.is_set():
            break
        seen_at = seen_at if follower.trouble is not None else time.monotonic()
        if follower.trouble is not None and time.monotonic() - seen_at > _UNREACHABLE_SECONDS:
            raise Trouble(str(follower.trouble), UNREACHABLE)
        if found is not None:
            scene = found
            take_up(select(scene, options))
    follower.stop()
    for thread in threads.values():
        while thread.is_alive() and not printer.closed.is_set():
            thread.join(_LOOK_SECONDS)
