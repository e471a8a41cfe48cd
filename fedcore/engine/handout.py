"""What a worker is told to do: tasks for parked polls, and whether work under way can still be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.engine import workload as wl
from fedcore.engine.effects import (
    Fault,
)
from fedcore.engine.polls import Call
from fedcore.engine.rounds import Participant
from fedcore.engine.seeds import init_seed, task_seed
from fedcore.engine.state import Stage, State, rounded
from fedcore.wire.protocol import (
    Base,
    HeartbeatReply,
    Task,
    TaskKind,
    weights_path,
)
from fedcore.wire.protocol import Work as WireWork

if TYPE_CHECKING:
    from fedcore.engine.membership import Worker


__all__ = ["Handout"]


class Handout(State):
    """Hands out tasks."""

    def _serve(self, worker: Worker, now: float) -> None:
        """Answer a worker's parked poll if there is something for it to do."""
        task = self._task_for(worker, now)
        if task is None:
            return
        parked = self._polls.take(worker.session, Call.TASK)
        if parked is None:
            return
        if task.kind is TaskKind.TRAIN:
            self._sent(worker, task, now)
        elif task.kind is TaskKind.STOP:
            self._told.add(worker.session)
        self._answer(parked.ticket, task)

    def _task_for(self, worker: Worker, now: float) -> Task | None:
        if self.end is not None:
            return Task(kind=TaskKind.STOP, reason=str(self.end.reason))
        if worker.preparing:
            return None
        if self.stage is Stage.INIT and worker.index == self._maker and TaskKind.INIT in worker.kinds:
            work = WireWork(epochs=0, deadline_seconds=self._remaining(now))
            return Task(kind=TaskKind.INIT, work=work, seed=init_seed(self.spec.seed))
        if self.stage is Stage.MEASURING and worker.index in self._asked and TaskKind.EVALUATE in worker.kinds and self.version is not None:
            work = WireWork(epochs=0, deadline_seconds=self._remaining(now))
            return Task(kind=TaskKind.EVALUATE, round=self.version, base=self._wire_base(), work=work, evaluate=True)
        if self.stage is not Stage.OPEN or self.round is None or TaskKind.TRAIN not in worker.kinds:
            return None
        current = self.round
        participant = current.participants.get(worker.index)
        if participant is None:  # after a restart everybody is on the way back, so all are waited for
            participant = self._join(worker, self._cohort(current.participants), waited_for=now < self._lenient_until)
        if participant.answered is not None:
            return None
        return Task(
            kind=TaskKind.TRAIN,
            round=current.number,
            base=self._wire_base(),
            work=WireWork(epochs=participant.epochs, deadline_seconds=self._remaining(now)),
            seed=task_seed(self.spec.seed, worker.index, current.number),
            evaluate=current.evaluate_base and TaskKind.EVALUATE in worker.kinds,
        )

    def _sent(self, worker: Worker, task: Task, now: float) -> None:
        assert self.round is not None
        participant = self.round.participants[worker.index]
        participant.sent_at, participant.done = now, 0.0
        trips = self._trips.setdefault(worker.index, {})
        trips[task.round] = now
        for old in [r for r in trips if r < task.round - 1]:
            del trips[old]
        self._record(
            "task_sent",
            round=task.round,
            worker=worker.name,
            attempt=worker.attempt,
            epochs=participant.epochs,
            evaluate=task.evaluate,
        )

    def _wire_base(self) -> Base:
        assert self.version is not None
        return Base(id=self.base, version=self.version, href=weights_path(self.version), bytes=self._size_bytes)

    def _cohort(self, indexes: Any) -> wl.Cohort:
        if self.spec.workload.policy != "deadline":
            return wl.Cohort(None)
        return wl.cohort(self.spec.workload, [self._paces[i] for i in indexes if i in self._paces])

    def _join(self, worker: Worker, others: wl.Cohort, *, waited_for: bool) -> Participant:
        assert self.round is not None
        epochs = wl.assign(self.spec.workload, self._paces.get(worker.index, wl.Pace()), others)
        participant = Participant(epochs, waited_for)
        self.round.participants[worker.index] = participant
        return participant

    def _wanted(self, worker: Worker, round_number: int) -> bool:
        """Whether the work a heartbeat speaks of can still be used."""
        match self.stage:
            case Stage.INIT:
                return round_number == 0 and worker.index == self._maker
            case Stage.OPEN:
                return self.round is not None and round_number == self.round.number
            case Stage.MEASURING:
                return round_number == self.version and worker.index in self._asked
            case _:
                return False

    def _still_wanted(self, now: float) -> HeartbeatReply:
        return HeartbeatReply(superseded=False, deadline_seconds=self._remaining(now))

    def _remaining(self, now: float) -> float:
        return max((self._deadline_at or now) - now, 0.0)

    def _supersede(self) -> None:
        """Tell the workers whose work can no longer be used."""
        for session in self._polls.sessions(Call.HEARTBEAT):
            found = self.members.find(session)
            parked = self._polls.take(session, Call.HEARTBEAT)
            if parked is None:
                continue
            if not isinstance(found, Fault) and self._wanted(found, parked.round):
                self._polls.park(session, Call.HEARTBEAT, parked)
            else:
                if not isinstance(found, Fault):
                    self._overtake(found, parked.round)
                self._answer(parked.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))

    def _overtake(self, worker: Worker, round_number: int) -> None:
        """Note that a worker is being told to give up its work for a round, if that is training which it was sent and has not answered."""
        newest = max(self._trips.get(worker.index, {}), default=0)
        unanswered = self._trip_ended.get(worker.index, 0) < newest
        if round_number == newest and unanswered and self.stage in {Stage.CLOSING, Stage.BETWEEN, Stage.OPEN}:
            self._overtaken[worker.session] = newest

    def _gave_up(self, worker: Worker, now: float) -> None:
        """Record that a worker has given up work that came too late, which ends its round trip."""
        number = self._overtaken.pop(worker.session, None)
        if number is not None:
            self._trip_ended[worker.index] = number
            trip = rounded(now - self._trips[worker.index][number])
            self._record("task_superseded", round=number, worker=worker.name, attempt=worker.attempt, round_trip_s=trip)

    def _release(self, session: str) -> None:
        """Answer what a session that goes away has parked, so that no call waits for nothing."""
        self._overtaken.pop(session, None)
        task, heartbeat = self._polls.take(session, Call.TASK), self._polls.take(session, Call.HEARTBEAT)
        if task is not None:
            self._answer(task.ticket, Task(kind=TaskKind.WAIT))
        if heartbeat is not None:
            self._answer(heartbeat.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))
