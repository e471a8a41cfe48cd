"""What the local runner does about processes that end, as a function of (state, event, now): no process, pipe or clock in here.

The coordinator ends the job whenever it can. The supervisor restarts what died within its budget, tells the coordinator who is gone for
good and what end it wants, and decides by itself only when there is no coordinator to do so.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from fedcore.engine.reasons import EndReason, Phase
from fedcore.engine.restarts import Cause, GaveUp, Record, RestartPolicy, after_end
from fedcore.local.faults import COORDINATOR, worker_name
from fedcore.local.messages import Exited, JobFinished, Note, Send, Start, StopAsked, Tell, Tick
from fedcore.report.summary import End

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore.local.messages import Action, Event

__all__ = ["Supervisor", "worker_cause"]

RUN_DIRECTORY_LOCKED = "RunDirectoryLocked"
DISMISSAL_SECONDS = 20.0
"""After the end: the coordinator tells each worker to stop for three heartbeats (15 s) at most."""
WORKERS_ALONE_SECONDS = 2.0
"""After the end and without the coordinator: what workers get to go by themselves."""
COORDINATOR_ALONE_SECONDS = 1.0
"""After the end and without workers: what the coordinator gets, beside the time for its last scrape. It would wait for dead workers until
it takes them for lost."""
DRAIN_SECONDS = 10.0
"""From SIGTERM to SIGKILL."""
END_ASKED_SECONDS = 30.0
"""How long a coordinator may take to do an end that it was asked for; it looks at its job input once a second."""


class _State(Enum):
    WAITING = auto()
    RUNNING = auto()
    ENDED = auto()


@dataclass(slots=True)
class _Place:
    name: str
    index: int | None
    record: Record
    policy: RestartPolicy
    state: _State = _State.WAITING
    started_at: float | None = None
    started: int = 0
    """Highest attempt started."""


def worker_cause(exited: Exited, non_retryable: frozenset[int]) -> Cause:
    """Make a cause of a worker's end. Exit 3 and 4 blame others: the job's quorum, a coordinator out of reach."""
    if exited.reason in {"stopped", "retired"}:
        return Cause.FINISHED
    if exited.exit_code in {0, 3, 4}:
        return Cause.DISRUPTED
    return Cause.FATAL if exited.exit_code in non_retryable else Cause.FAILED


class Supervisor:
    """Keeps one job's processes going.

    Parameters
    ----------
    replicas : int
        Number of workers.
    workers, coordinator : RestartPolicy
        Their budgets.
    non_retryable : frozenset of int
        Exit codes after which another attempt would end the same way.
    attempts : Mapping
        Highest attempt of each process in an earlier part of this run, which this one resumes.
    """

    def __init__(
        self,
        replicas: int,
        workers: RestartPolicy,
        coordinator: RestartPolicy,
        non_retryable: frozenset[int],
        attempts: Mapping[str, int] | None = None,
    ) -> None:
        used = attempts or {}
        names: list[tuple[str, int | None, RestartPolicy]] = [(COORDINATOR, None, coordinator)]
        names += [(worker_name(index), index, workers) for index in range(replicas)]
        self._places = {name: _Place(name, index, Record(attempt=used.get(name, 0) + 1), policy) for name, index, policy in names}
        self._coordinator = self._places[COORDINATOR]
        self._non_retryable = non_retryable
        self._gone: set[int] = set()
        self._asked: End | None = None
        self._decide_at: float | None = None
        self._term_at: float | None = None
        self._kill_at: float | None = None
        self._alone_seconds = COORDINATOR_ALONE_SECONDS
        self._over = False
        """Nothing is started any more."""
        self.interrupted = False
        self.end: End | None = None
        """The end that the supervisor decided, None while or if the coordinator's word counts."""

    # -- what the runner asks ---------------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the job is over and every process gone."""
        return self._over and not any(place.state is _State.RUNNING for place in self._places.values())

    @property
    def worker_restarts(self) -> int:
        """Workers' processes started again."""
        return sum(max(place.started - 1, 0) for place in self._places.values() if place.index is not None)

    @property
    def coordinator_restarts(self) -> int:
        """Coordinators started again."""
        return max(self._coordinator.started - 1, 0)

    def next_deadline(self) -> float | None:
        """When a `Tick` is wanted."""
        times = [self._decide_at, self._term_at, self._kill_at]
        if not self._over:
            times += [place.record.not_before for place in self._places.values() if place.state is _State.WAITING]
        return min((time for time in times if time is not None), default=None)

    def start(self, now: float) -> list[Action]:
        """Return the first starts, the coordinator's before its workers'."""
        return self._starts(now)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Advance by one event and say what has to happen."""
        match event:
            case Exited():
                actions = self._exited(event, now)
            case JobFinished():
                if not self._over:
                    self._alone_seconds = event.linger_seconds + COORDINATOR_ALONE_SECONDS
                    self._finish(term_at=now + max(DISMISSAL_SECONDS, self._alone_seconds))
                actions = []
            case StopAsked():
                actions = self._stop(now)
            case Tick():
                actions = []
            case _:
                assert_never(event)
        return actions + self._tick(now)

    # -- ends -------------------------------------------------------------------------------------------------------------------------

    def _exited(self, exited: Exited, now: float) -> list[Action]:
        place = self._places[exited.name]
        place.state = _State.ENDED
        if self._over:
            if place is self._coordinator and self._term_at is not None:
                self._term_at = min(self._term_at, now + WORKERS_ALONE_SECONDS)
            return []
        if place is self._coordinator and exited.end is not None:
            return self._decide(exited.end, now)
        cause = self._coordinator_cause(exited) if place.index is None else worker_cause(exited, self._non_retryable)
        after = after_end(place.record, cause, place.started_at, now, place.policy)
        told = {"exit_code": exited.exit_code, "reason": exited.reason or None, "message": exited.message or None}
        role = "coordinator" if place.index is None else "worker"
        told = {**({} if place.index is None else {"worker": place.name}), "attempt": place.record.attempt, **told}
        if cause is Cause.FINISHED:
            return []
        if isinstance(after, Record):
            place.record, place.state = after, _State.WAITING
            count = (
                {"restart": after.restarts, "of": place.policy.max_restarts} if cause is Cause.FAILED else {"disruption": after.disruptions}
            )
            note = Note(f"{role}_exited", {**told, **count, "in_s": round(after.not_before - now, 3)})
            wanted = self._asked if place.index is None else None  # nobody is left to do the end that was asked for
            return [note] if wanted is None else [note, *self._decide(wanted, now)]
        notes: list[Action] = [Note(f"{role}_gave_up", told)]
        return notes + self._gave_up(place, after, exited, now)

    def _gave_up(self, place: _Place, after: GaveUp, exited: Exited, now: float) -> list[Action]:
        said = f"{place.name} ended with exit code {exited.exit_code}{f': {exited.message}' if exited.message else ''}"
        if after.cause is Cause.FATAL:
            return self._ask_end(End(Phase.FAILED, EndReason.NON_RETRYABLE_EXIT, said), now)
        if place.index is None:
            spent = f"; {after.record.restarts} of {place.policy.max_restarts} restarts are spent"
            return self._decide(End(Phase.FAILED, EndReason.COORDINATOR_FAILED, said + spent), now)
        self._gone.add(place.index)
        return [self._tell()]

    def _coordinator_cause(self, exited: Exited) -> Cause:
        """Make a cause: an end without ``run_finished`` is a crash, whatever its code; a predecessor's lock goes away by itself."""
        fatal = exited.exit_code in self._non_retryable and exited.reason != RUN_DIRECTORY_LOCKED
        return Cause.FATAL if fatal else Cause.FAILED

    def _ask_end(self, end: End, now: float) -> list[Action]:
        if self._coordinator.state is not _State.RUNNING:
            return self._decide(end, now)
        if self._asked is not None:
            return []
        self._asked, self._decide_at = end, now + END_ASKED_SECONDS
        return [self._tell()]

    def _tell(self) -> Tell:
        return Tell(tuple(sorted(self._gone)), self._asked)

    def _decide(self, end: End, now: float) -> list[Action]:
        self.end = end
        self._finish(term_at=now)
        return []

    def _finish(self, term_at: float) -> None:
        self._over, self._decide_at = True, None
        self._term_at = term_at
        self._kill_at = term_at + DRAIN_SECONDS

    def _stop(self, now: float) -> list[Action]:
        if self.interrupted:
            return self._send(signal.SIGKILL)
        if not self._over:
            self.end = End(Phase.INTERRUPTED, EndReason.INTERRUPTED, "stopped by a signal; run it again with this run directory to go on")
        self.interrupted = True
        self._finish(term_at=now)
        return []

    # -- time -------------------------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        if self._decide_at is not None and now >= self._decide_at and self._asked is not None:
            self._decide(self._asked, now)
        if self._term_at is not None and not self._workers_running:
            self._term_at = min(self._term_at, now + self._alone_seconds)
        if self._term_at is not None and now >= self._term_at:
            self._term_at = None
            actions += self._send(signal.SIGTERM)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            actions += self._send(signal.SIGKILL)
        return actions + self._starts(now)

    def _starts(self, now: float) -> list[Action]:
        if self._over:
            return []
        actions: list[Action] = []
        for place in self._places.values():
            if place.state is _State.WAITING and now >= place.record.not_before:
                place.state, place.started_at, place.started = _State.RUNNING, now, place.record.attempt
                actions.append(Start(place.name, place.record.attempt))
        return actions

    @property
    def _workers_running(self) -> bool:
        return any(place.state is _State.RUNNING for place in self._places.values() if place.index is not None)

    def _send(self, number: signal.Signals) -> list[Action]:
        return [Send(place.name, number) for place in self._places.values() if place.state is _State.RUNNING]
