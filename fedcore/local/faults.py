"""Faults on purpose, for demonstrations and tests: ``--kill worker-2@3``, ``--kill coordinator@4``, ``--slow worker-1=4``.

Pure: `Faults` sees the job's events and says whom to kill now. Each fault fires once, also when its round reopens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

__all__ = ["COORDINATOR", "Faults", "Kill", "Slow", "parse_kill", "parse_slow", "problems", "worker_name"]

COORDINATOR = "coordinator"
_WORKER = r"worker-(?P<index>0|[1-9][0-9]{0,4})"
_KILL = re.compile(rf"(?P<process>{COORDINATOR}|{_WORKER})@(?P<round>[1-9][0-9]{{0,5}})")
_SLOW = re.compile(rf"(?P<process>{_WORKER})=(?P<factor>[0-9]+(\.[0-9]+)?)")
_UNKNOWN_ROUND_SECONDS = 0.2
"""How long a round is taken to last before one has closed."""


def worker_name(index: int) -> str:
    """Return the name of the worker at an index."""
    return f"worker-{index}"


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill a process in a round: a worker when its task was sent, the coordinator at a random instant."""

    process: str
    index: int | None
    """None: the coordinator."""
    round: int

    def __str__(self) -> str:
        return f"{self.process}@{self.round}"


@dataclass(frozen=True, slots=True)
class Slow:
    """Let a worker train as a machine slower by ``factor`` would."""

    index: int
    factor: float


def parse_kill(text: str) -> Kill:
    """Read ``worker-2@3`` or ``coordinator@4``; a `ValueError` says what is allowed."""
    found = _KILL.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is no fault; allowed: worker-INDEX@ROUND or coordinator@ROUND, such as worker-2@3')
    index = found["index"]
    return Kill(found["process"], None if index is None else int(index), int(found["round"]))


def parse_slow(text: str) -> Slow:
    """Read ``worker-1=4``; a `ValueError` says what is allowed."""
    found = _SLOW.fullmatch(text)
    if found is None or float(found["factor"]) < 1:
        raise ValueError(f'"{text}" is no fault; allowed: worker-INDEX=FACTOR with a factor of at least 1, such as worker-1=4')
    return Slow(int(found["index"]), float(found["factor"]))


def problems(kills: Iterable[Kill], slows: Iterable[Slow], replicas: int, rounds: int) -> list[str]:
    """Say which faults can never happen in a job of this size."""
    found = []
    for kill in kills:
        if kill.index is not None and kill.index >= replicas:
            found.append(f"--kill {kill}: there are {replicas} workers, worker-0 to worker-{replicas - 1}")
        if kill.round > rounds:
            found.append(f"--kill {kill}: the job has {rounds} rounds")
    found += [
        f"--slow worker-{slow.index}: there are {replicas} workers, worker-0 to worker-{replicas - 1}"
        for slow in slows
        if slow.index >= replicas
    ]
    return found


class Faults:
    """Which kills are still to come.

    Parameters
    ----------
    kills : Iterable of Kill
        What was asked for.
    random : Random
        Draws the instants of the coordinator's kills.
    """

    def __init__(self, kills: Iterable[Kill], random: Random) -> None:
        self._waiting = list(kills)
        self._random = random
        self._armed: list[tuple[float, Kill]] = []
        self._round_seconds = _UNKNOWN_ROUND_SECONDS
        self._opened: tuple[int, float] | None = None
        """The round that was opened last, and when."""

    @property
    def unfired(self) -> list[Kill]:
        """Kills whose instant never came."""
        return self._waiting + [kill for _, kill in self._armed]

    def next_deadline(self) -> float | None:
        """When the next armed kill is due."""
        return min((at for at, _ in self._armed), default=None)

    def feed(self, event: Mapping[str, Any], now: float) -> list[Kill]:
        """Take the next event of the job, and return who is to be killed for it."""
        match event["event"]:
            case "task_sent":
                return self._fire(lambda kill: kill.process == event["worker"] and kill.round == event["round"])
            case "round_opened":
                # From one opening to the next, so that a kill may also strike while the version is being written.
                if self._opened is not None and self._opened[0] < event["round"]:
                    self._round_seconds = now - self._opened[1]
                self._opened = (event["round"], now)
                for kill in self._fire(lambda kill: kill.index is None and kill.round == event["round"]):
                    self._armed.append((now + self._random.random() * self._round_seconds, kill))
            case "round_closed":
                return self._due(lambda _at, kill: kill.round <= event["round"])  # the round was shorter than expected
            case _:
                pass
        return []

    def tick(self, now: float) -> list[Kill]:
        """Return the armed kills whose instant has come."""
        return self._due(lambda at, _kill: now >= at)

    def missed(self, kill: Kill) -> None:
        """Take back a kill whose process was not there: it strikes when the round is opened, or its task sent, once more."""
        self._waiting.append(kill)

    def _fire(self, wanted: Any) -> list[Kill]:
        fired = [kill for kill in self._waiting if wanted(kill)]
        self._waiting = [kill for kill in self._waiting if kill not in fired]
        return fired

    def _due(self, wanted: Any) -> list[Kill]:
        due = [(at, kill) for at, kill in self._armed if wanted(at, kill)]
        self._armed = [armed for armed in self._armed if armed not in due]
        return [kill for _, kill in due]
