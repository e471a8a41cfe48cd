"""The round engine: a job as a function of (state, event, now).

Events come in, effects go out, time is an argument. The engine owns every deadline of training: `next_deadline` says when it wants a
`Tick`, and an event is taken before the deadlines that passed meanwhile, so that a slow server never punishes a worker that was in time.

======== ======================================================= =========================================================
stage    meaning                                                 goes on when
======== ======================================================= =========================================================
STARTING the required workers have not been live together        they are: INIT, or OPEN if there is a version
INIT     one worker makes the first weights                      they are durable: BETWEEN
OPEN     a round collects updates                                `Round.outcome` says so: CLOSING
CLOSING  the mean is being written                               it is durable: BETWEEN, or after the last round MEASURING
BETWEEN  no round is open, since too few workers are live        enough are: OPEN
MEASURING the last version is evaluated                          all asked have answered or the deadline passes: ENDED
ENDED    workers are told to stop                                never: a terminal state is terminal
======== ======================================================= =========================================================
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, assert_never

from fedcore.engine import events as ev
from fedcore.engine.calls import Calls
from fedcore.engine.effects import (
    AdoptInitial,
    Effect,
    Fault,
)
from fedcore.engine.membership import Worker
from fedcore.engine.polls import Call
from fedcore.engine.reasons import EndReason
from fedcore.engine.state import RETIRED, Stage, rounded
from fedcore.wire.protocol import (
    Task,
    TaskKind,
)

if TYPE_CHECKING:
    from fedcore.engine.events import Event
    from fedcore.spec import Spec

__all__ = ["Engine"]


class Engine(Calls):
    """One job's rounds. Everything goes in through `handle` and comes out as its effects; see `State` for the parameters."""

    def next_deadline(self) -> float | None:
        """When the engine wants a `Tick`; None only when the job is over and every worker told, or nothing can happen by itself."""
        times = [self._polls.next_expiry(), self._next_silence()]
        if self.stage is Stage.ENDED:
            times.append(self._stop_at)
        elif self._pending_end is None:  # a decided end waits for the version that is being written, and for nothing else
            times += [self._active_at, self._lost_at]
            times.append(self._startup_at if self.stage is Stage.STARTING else self._deadline_at)
            if self._lenient_until > self._now:
                times.append(self._lenient_until)
            if self.stage is Stage.OPEN and self.round is not None:
                times.append(self.round.grace_at)
        return min((t for t in times if t is not None), default=None)

    def start(self, now: float) -> list[Effect]:
        """Return the first effects: adopt ``task.initialWeights``, or reopen the round that a restart interrupted."""
        if self.version is None:
            if self.spec.task.initial_weights:
                self._out.append(AdoptInitial("", self._checkpoint(0)))
        elif self.version >= self.spec.rounds:
            self._measure(now)
        else:
            self._open(now)
        return self._flush(now)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Advance the job by one event and say what has to happen; nothing happens here. ``now``: monotonic seconds."""
        match event:
            case ev.Registered():
                self._register(event, now)
            case ev.TaskAsked():
                self._ask(event, now)
            case ev.HeartbeatReceived():
                self._heartbeat(event, now)
            case ev.Heard():
                self._find(event.session, now)
            case ev.UploadOffered():
                self._offer(event, now)
            case ev.UploadRefused():
                self._refuse_upload(event, now)
            case ev.Submitted():
                self._submit(event, now)
            case ev.Left():
                self._leave(event, now)
            case ev.VersionWritten():
                self._written(event, now)
            case ev.WriteFailed():
                self._pending_end = None
                self._finish(EndReason.CHECKPOINT_FAILED, event.message, now)
            case ev.SpecChanged():
                self._change(event.spec, now)
            case ev.WorkerGone():
                self._gone[event.index] = event.message
            case ev.WorkerRevived():
                self._gone.pop(event.index, None)
            case ev.EndAsked():
                self._fail(event.reason, event.message, now)
            case ev.Tick():
                pass
            case _:
                assert_never(event)
        return self._flush(now)

    def _flush(self, now: float) -> list[Effect]:
        """Let time and numbers have their effect until nothing more follows, and hand out what has to happen."""
        self._now = now
        self._silence(now)
        self._expire_polls(now)
        while self.stage is not Stage.ENDED and self._advance(now):
            pass
        self._watch_stop(now)
        out, self._out = self._out, []
        return out

    def _advance(self, now: float) -> bool:
        """Make at most one transition; true if one was made."""
        self._judge_strength(now)
        if self._past_an_end(now):
            return True
        enough = self.members.live_count >= self.required
        match self.stage:
            case Stage.STARTING if enough:
                if self.version is None and self.spec.task.initial_weights:
                    return False  # its adoption is on the way
                self._between(Stage.INIT if self.version is None else Stage.BETWEEN, now)
                return True
            case Stage.BETWEEN if enough:
                self._open(now)
                return True
            case Stage.INIT:
                return self._choose_maker(now)
            case Stage.OPEN:
                return self._settle_round(now)
            case Stage.MEASURING:
                out_of_time = self._due(now) or (self._active_at is not None and now >= self._active_at)
                if out_of_time or not any(self._may_answer(index, now) for index in self._asked):
                    self._record_evaluation()
                    self._finish(EndReason.COMPLETED, "", now)
                    return True
            case _:
                pass
        if self.stage is Stage.BETWEEN and self._due(now):
            self._missed((self.version or 0) + 1, 0, now)
        return False

    def _past_an_end(self, now: float) -> bool:
        # Once all rounds are done nothing takes that from the job: MEASURING ends by itself.
        if self._pending_end is not None or self.stage is Stage.MEASURING:
            return False
        if self._active_at is not None and now >= self._active_at:
            self._fail(
                EndReason.DEADLINE_EXCEEDED, f"the job has run for {self.spec.active_deadline_seconds} s (activeDeadlineSeconds)", now
            )
            return True
        if self.stage is Stage.STARTING and self._startup_at is not None and now >= self._startup_at:
            self._fail(
                EndReason.STARTUP_DEADLINE_EXCEEDED,
                f"{self.members.live_count} of {self.required} required workers after {self.spec.startup_deadline_seconds} s"
                " (startupDeadlineSeconds)",
                now,
            )
            return True
        replicas = self.spec.workers.replicas
        gone = [index for index in self._gone if index < replicas]
        if replicas - len(gone) < self.required:
            self._fail(
                EndReason.QUORUM_UNREACHABLE,
                f"{len(gone)} of {replicas} workers are gone for good, {self.required} are required: {self._gone[gone[-1]]}",
                now,
            )
            return True
        if self._lost_at is not None and now >= self._lost_at:
            self._fail(
                EndReason.QUORUM_LOST,
                f"quorum lost for {self.quorum.lost_seconds(now):.0f} s: {self.members.live_count} workers live, {self.required} required,"
                f" {self.round.accepted if self.round and self.round_open else 0} updates in",
                now,
            )
            return True
        return False

    def _judge_strength(self, now: float) -> None:
        if self.stage is Stage.STARTING:
            return
        short = self.members.live_count < self.required
        if short and self.quorum.met and now < self._lenient_until:
            return
        self._set_quorum(self.quorum.with_strength(short=short, now=now), now)

    def _next_silence(self) -> float | None:
        while self._silences:
            at, session = self._silences[0]
            worker = self.members.find(session)
            if isinstance(worker, Fault) or not worker.live:
                heapq.heappop(self._silences)
            elif worker.silent_at > at:
                heapq.heapreplace(self._silences, (worker.silent_at, session))
            else:
                return at
        return None

    def _silence(self, now: float) -> None:
        """Lose the workers that have been silent for too long."""
        while (at := self._next_silence()) is not None and at <= now:
            _, session = heapq.heappop(self._silences)
            worker = self.members.find(session)
            assert isinstance(worker, Worker)
            self.members.lose(worker)
            self._release(session)
            if self.round is not None and self.round_open:
                self.round.lost += 1
            self._record("worker_lost", worker=worker.name, attempt=worker.attempt, silent_s=rounded(now - worker.last_heard))

    def _expire_polls(self, now: float) -> None:
        for _, call, parked in self._polls.expired(now):
            self._answer(parked.ticket, Task(kind=TaskKind.WAIT) if call is Call.TASK else self._still_wanted(now))

    def _change(self, spec: Spec, now: float) -> None:
        """Take over what may change while the job runs; what defines its result stays as it was."""
        old, before = self.spec, self.size
        kept = {name: getattr(old, name) for name in ("seed", "task", "workload", "aggregation", "coordinator", "security")}
        self.spec = spec.model_copy(update={**kept, "rounds": max(spec.rounds, old.rounds)})
        if self.size != before:
            self._record("spec_changed", **self.size)
        if spec.workers.replicas != old.workers.replicas:
            for worker in self.members.resize(spec.workers.replicas):
                parked = self._polls.take(worker.session, Call.TASK)
                if parked is not None:
                    self._answer(parked.ticket, Task(kind=TaskKind.STOP, reason=RETIRED))
                self._release(worker.session)
                self._asked.discard(worker.index)
                self._record("worker_left", worker=worker.name, reason=RETIRED)
        if self.stage is Stage.MEASURING and self.version is not None and self.version < self.spec.rounds:
            self._between(Stage.BETWEEN, now)
            self._supersede()
