"""Who takes part: registrations, attempts, sessions and signs of life.

A worker is an index below ``replicas``. A higher attempt of an index replaces a lower one; the same attempt from another process is
refused while the first one lives; the same process may register again at will. A lost worker keeps its session and may come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from fedcore.engine.effects import Fault
from fedcore.wire.protocol import PROTOCOL, FaultCode, Hello, TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MISSED_HEARTBEATS", "Members", "Registration", "Worker", "heartbeat_seconds"]

MISSED_HEARTBEATS = 3
_CALM_WORKERS = 200
_CALLS_PER_SECOND = 40.0


def heartbeat_seconds(replicas: int) -> float:
    """Seconds between a worker's signs of life.

    5 up to 200 workers, so that a loss shows within 15 s; then ``replicas / 40``, so that all together cost 40 small calls a second.
    """
    return 5.0 if replicas <= _CALM_WORKERS else replicas / _CALLS_PER_SECOND


@dataclass(slots=True)
class Worker:
    """One registered worker."""

    index: int
    name: str
    attempt: int
    instance: str
    session: str
    samples: int
    eval_samples: int
    kinds: frozenset[TaskKind]
    interval: float
    last_heard: float
    kind: str
    live: bool = True

    @property
    def preparing(self) -> bool:
        """Whether it is still loading its data: it has a place, and does not take part yet."""
        return self.samples == 0

    @property
    def silent_at(self) -> float:
        """When it counts as lost, if nothing is heard before."""
        return self.last_heard + MISSED_HEARTBEATS * self.interval


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker that may take part.

    ``kind``: new, restart (a higher attempt) or reconnect (the same attempt, a new session). ``displaced``: the session that was here
    before, empty if there was none.
    """

    worker: Worker
    kind: str
    displaced: str = ""


@dataclass(slots=True)
class Members:
    """All workers of a job, by index and by session."""

    replicas: int
    attempts: dict[int, int] = field(default_factory=dict)
    """Highest attempt seen of each index; kept in the checkpoint, so that a predecessor stays refused after a restart."""
    names: dict[int, str] = field(default_factory=dict)
    """Name of each index ever registered; a worker without an index gets its old place back by it."""
    displaced: dict[int, dict[str, int]] = field(default_factory=dict)
    """Highest attempts of those whose place another name has taken: they stay refused there, whatever attempt the newcomer is at."""
    live_count: int = 0
    _by_index: dict[int, Worker] = field(default_factory=dict)
    _by_session: dict[str, Worker] = field(default_factory=dict)
    _replaced: set[str] = field(default_factory=set)
    _retired: dict[str, Worker] = field(default_factory=dict)

    @classmethod
    def restore(
        cls, replicas: int, attempts: Mapping[str, int], names: Mapping[str, str], displaced: Mapping[str, Mapping[str, int]]
    ) -> Members:
        """Build from what a checkpoint keeps."""
        return cls(
            replicas,
            {int(i): a for i, a in attempts.items()},
            {int(i): n for i, n in names.items()},
            {int(i): dict(before) for i, before in displaced.items()},
        )

    def live(self) -> Iterator[Worker]:
        """Yield live workers, lowest index first."""
        return (worker for _, worker in sorted(self._by_index.items()) if worker.live)

    def everyone(self) -> Iterator[Worker]:
        """Yield all workers that hold a session, live or not, in no order."""
        yield from self._by_index.values()

    def at(self, index: int) -> Worker | None:
        """Return the worker at this index, live or lost."""
        return self._by_index.get(index)

    def registered(self) -> int:
        """Count the workers that hold a session."""
        return len(self._by_index)

    def retired(self, session: str) -> Worker | None:
        """Return the worker that a scale-down has retired under this session."""
        return self._retired.get(session)

    def find(self, session: str) -> Worker | Fault:
        """Return the worker that holds this session, or the fault to answer with."""
        worker = self._by_session.get(session)
        if worker is not None:
            return worker
        if session in self._replaced:
            return Fault(FaultCode.REPLACED, "a later attempt of this worker has registered")
        return Fault(FaultCode.UNKNOWN_SESSION, "register again, then resubmit what you hold")

    def hear(self, worker: Worker, now: float) -> bool:
        """Note a sign of life; true if the worker comes back from being lost."""
        worker.last_heard = now
        if worker.live or worker.preparing:
            return False
        worker.live = True
        self.live_count += 1
        return True

    def lose(self, worker: Worker) -> None:
        """Count the worker as lost; its session stays good."""
        if worker.live:
            worker.live = False
            self.live_count -= 1

    def remove(self, worker: Worker) -> None:
        """Forget a worker that has left."""
        self.lose(worker)
        self._by_session.pop(worker.session, None)
        self._by_index.pop(worker.index, None)

    def resize(self, replicas: int) -> list[Worker]:
        """Set the declared size, and return the workers whose index is now beyond it: they are to be told to stop."""
        self.replicas = replicas
        beyond = [worker for index, worker in sorted(self._by_index.items()) if index >= replicas]
        for worker in beyond:
            self.remove(worker)
            self._retired[worker.session] = worker
        for worker in self._by_index.values():
            worker.interval = max(worker.interval, heartbeat_seconds(replicas))
        return beyond

    def register(self, hello: Hello, session: str, now: float) -> Registration | Fault:
        """Decide on a registration."""
        if hello.protocol != PROTOCOL:
            return Fault(FaultCode.BAD_REQUEST, f'protocol "{hello.protocol}" is not spoken here, only "{PROTOCOL}"')
        index = self._place(hello)
        if isinstance(index, Fault):
            return index
        refused = self._refusal(hello, index)
        if refused is not None:
            return refused
        known = self._by_index.get(index)
        seen = self.attempts.get(index)
        before = self.names.get(index, hello.name)
        kind = "new" if seen is None or before != hello.name else "restart" if hello.attempt > seen else "reconnect"
        if known is not None and known.preparing and known.instance == hello.instance:
            kind = known.kind
        if known is not None:
            self.remove(known)
            if known.instance != hello.instance:
                self._replaced.add(known.session)
        worker = Worker(
            index=index,
            name=hello.name,
            attempt=hello.attempt,
            instance=hello.instance,
            session=session,
            samples=hello.samples,
            eval_samples=hello.eval_samples,
            kinds=hello.tasks,
            interval=heartbeat_seconds(self.replicas),
            last_heard=now,
            kind=kind,
            live=hello.samples > 0,
        )
        self._by_index[index] = self._by_session[session] = worker
        if seen is not None and before != hello.name:
            self.displaced.setdefault(index, {})[before] = seen
        self.displaced.get(index, {}).pop(hello.name, None)
        self.attempts[index] = hello.attempt
        self.names[index] = hello.name
        self.live_count += worker.live
        return Registration(worker, kind, known.session if known is not None else "")

    def _place(self, hello: Hello) -> int | Fault:
        if hello.index is not None:
            if hello.index < self.replicas:
                return hello.index
            return Fault(FaultCode.BUSY, f"index {hello.index} is outside the {self.replicas} declared workers; scale up, or wait")
        for index, name in self.names.items():
            if name == hello.name and index < self.replicas:
                return index
        never_used = (index for index in range(self.replicas) if index not in self.names)
        vacant = (index for index in range(self.replicas) if (worker := self._by_index.get(index)) is None or not worker.live)
        place = next(chain(never_used, vacant), None)
        return Fault(FaultCode.BUSY, f"all {self.replicas} declared workers are here") if place is None else place

    def _refusal(self, hello: Hello, index: int) -> Fault | None:
        namesake = next((w for w in self._by_index.values() if w.name == hello.name and w.index != index and w.live), None)
        if namesake is not None:
            return Fault(FaultCode.NAME_IN_USE, f'worker {namesake.index} already has the name "{hello.name}"')
        known = self._by_index.get(index)
        if known is not None and known.name != hello.name and not known.live and hello.index is None:
            return None  # a named newcomer takes the place of a lost worker
        if hello.attempt <= self.displaced.get(index, {}).get(hello.name, 0):
            return Fault(FaultCode.REPLACED, f'"{self.names[index]}" has taken the place {index} of "{hello.name}"')
        if hello.attempt < self.attempts.get(index, 0):
            return Fault(FaultCode.REPLACED, f"attempt {self.attempts[index]} of worker {index} has registered")
        if known is not None and known.live and known.instance != hello.instance and hello.attempt == known.attempt:
            return Fault(FaultCode.NAME_IN_USE, f'"{known.name}" (index {index}, attempt {known.attempt}) is held by a live process')
        return None
