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
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, assert_never

from fedcore.engine import events as ev
from fedcore.engine import workload as wl
from fedcore.engine.checkpoint import Saved
from fedcore.engine.effects import (
    AdoptInitial,
    Answer,
    Discard,
    Effect,
    Empty,
    Fault,
    Finish,
    Merge,
    Record,
    Reply,
    Shutdown,
    UploadAnswer,
    WriteVersion,
)
from fedcore.engine.evaluation import acceptable, is_due, weighted_mean
from fedcore.engine.membership import MISSED_HEARTBEATS, Members, Worker, heartbeat_seconds
from fedcore.engine.polls import Call, Parked, Polls
from fedcore.engine.quorum import QuorumMet, grace_seconds, required
from fedcore.engine.reasons import EXIT_CODE, EndReason, Outcome, Phase, Rejection, Result
from fedcore.engine.rounds import Answered, Participant, Round
from fedcore.engine.seeds import init_seed, task_seed
from fedcore.wire.protocol import (
    MAX_SAMPLES,
    MAX_WAIT_SECONDS,
    Base,
    FaultCode,
    HeartbeatReply,
    SubmitReply,
    Task,
    TaskKind,
    Welcome,
    weights_path,
)
from fedcore.wire.protocol import Work as WireWork

if TYPE_CHECKING:
    from fedcore.engine.events import Event
    from fedcore.spec import Spec

__all__ = ["RETIRED", "Engine"]

RETIRED = "Retired"
"""Reason of the stop that a worker gets when its index is scaled away."""
_RECENT_ROUNDS = 5
_SLOWEST_WORKERS = 3


class Stage(Enum):
    """Where the engine stands; see the table above."""

    STARTING = auto()
    INIT = auto()
    OPEN = auto()
    CLOSING = auto()
    BETWEEN = auto()
    MEASURING = auto()
    ENDED = auto()


class Engine:
    """One job's rounds.

    Parameters
    ----------
    spec : Spec
        The job.
    run_id : str
        Name of the run; the same after a restart.
    now : float
        Monotonic seconds.
    saved : Saved, optional
        State to resume from: the round after that version opens at once.
    active_seconds : float
        How long the job has run already, before a restart.
    lost_seconds : float
        How long the quorum had been lost when the last coordinator went away, 0 if it had not.
    """

    def __init__(
        self, spec: Spec, run_id: str, now: float, *, saved: Saved | None = None, active_seconds: float = 0.0, lost_seconds: float = 0.0
    ) -> None:
        self.spec = spec
        self.run_id = run_id
        self.stage = Stage.STARTING
        self.round: Round | None = None
        self.version: int | None = None
        self.base = ""
        self.metrics: dict[str, float] = {}
        self.metrics_version: int | None = None
        self.end: Finish | None = None
        self.members = Members(spec.workers.replicas)
        self.quorum = QuorumMet()
        self.recent: list[dict[str, Any]] = []
        self._size_bytes = 0
        self._paces: dict[int, wl.Pace] = {}
        self._trips: dict[int, dict[int, float]] = {}
        self._gone: dict[int, str] = {}
        self._polls = Polls()
        self._silences: list[tuple[float, str]] = []
        self._last_counted: tuple[int, str, frozenset[int]] = (0, "", frozenset())
        self._maker: int | None = None
        self._asked: set[int] = set()
        self._final: dict[int, tuple[int, dict[str, float]]] = {}
        self._closed: list[Record] = []
        self._pending_end: tuple[EndReason, str] | None = None
        self._told: set[str] = set()
        self._out: list[Effect] = []
        self._lenient_until = now
        """After a restart, how long the workers have to find their way back before their absence counts."""
        self._startup_at = now + spec.startup_deadline_seconds if spec.startup_deadline_seconds else None
        self._active_at = self._active_deadline(now, active_seconds)
        self._now = now
        self._deadline_at: float | None = None
        """Of everything but an open round: first weights, waiting between rounds, measuring."""
        self._stop_at: float | None = None
        if saved is not None:
            self._restore(saved, now, lost_seconds)

    # -- what the server asks ---------------------------------------------------------------------------------------------------------

    @property
    def required(self) -> int:
        """Updates that close a round."""
        return required(self.spec.quorum, self.spec.workers.replicas)

    @property
    def phase(self) -> Phase:
        """Phase of the job."""
        if self.end is not None:
            return self.end.phase
        if self.stage is Stage.STARTING:
            return Phase.STARTING
        return Phase.RUNNING if self.quorum.met else Phase.DEGRADED

    @property
    def round_open(self) -> bool:
        """Whether a round collects updates."""
        return self.stage is Stage.OPEN

    @property
    def current_round(self) -> int:
        """Open round, else the last one; 0 before the first."""
        return self.round.number if self.round is not None else self.version or 0

    def next_deadline(self) -> float | None:
        """When the engine wants a `Tick`; None only when the job is over and every worker told, or nothing can happen by itself."""
        times = [self._polls.next_expiry(), self._next_silence()]
        if self.stage is Stage.ENDED:
            times.append(self._stop_at)
        else:
            times += [self._active_at, self.quorum.lost_at(self.spec.quorum.loss_grace_period_seconds)]
            times.append(self._startup_at if self.stage is Stage.STARTING else self._deadline_at)
            if self._lenient_until > self._now:
                times.append(self._lenient_until)
            if self.stage is Stage.OPEN and self.round is not None:
                times += [self.round.deadline_at, self.round.grace_at]
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
            case ev.EndAsked():
                self._fail(event.reason, event.message, now)
            case ev.Tick():
                pass
            case _:
                assert_never(event)
        return self._flush(now)

    # -- time and transitions ---------------------------------------------------------------------------------------------------------

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
                if self._due(now) or not any(self._may_answer(index, now) for index in self._asked):
                    self._record_evaluation()
                    self._finish(EndReason.COMPLETED, "", now)
                    return True
            case _:
                pass
        if self.stage is Stage.BETWEEN and self._due(now):
            self._missed((self.version or 0) + 1, 0, now)
            self._deadline_at = now + self.spec.quorum.round_timeout_seconds
        return False

    def _past_an_end(self, now: float) -> bool:
        if self._pending_end is not None:
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
        lost_at = self.quorum.lost_at(self.spec.quorum.loss_grace_period_seconds)
        if lost_at is not None and now >= lost_at:
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

    def _set_quorum(self, quorum: QuorumMet, now: float) -> None:
        before, self.quorum = self.quorum, quorum
        if before.met and not quorum.met:
            self._record("quorum_lost", round=self.current_round, live=self.members.live_count, required=self.required)
        elif quorum.met and not before.met:
            self._record("quorum_regained", round=self.current_round, lost_s=_ms(before.lost_seconds(now)))

    def _due(self, now: float) -> bool:
        return self._deadline_at is not None and now >= self._deadline_at

    def _between(self, stage: Stage, now: float) -> None:
        self.stage = stage
        self._deadline_at = now + self.spec.quorum.round_timeout_seconds

    def _active_deadline(self, now: float, active_seconds: float) -> float | None:
        limit = self.spec.active_deadline_seconds
        return None if limit is None else now + limit - active_seconds

    # -- rounds -----------------------------------------------------------------------------------------------------------------------

    def _choose_maker(self, now: float) -> bool:
        """Pick the lowest live worker for the first weights; the next one when it is lost or the deadline passes."""
        if self._due(now):
            self._missed(0, 0, now)
            self._deadline_at = now + self.spec.quorum.round_timeout_seconds
            overdue, self._maker = self._maker, None
        else:
            overdue = None
        current = None if self._maker is None else self.members.at(self._maker)
        if current is not None and current.live:
            return False
        able = [w for w in self.members.live() if TaskKind.INIT in w.kinds]
        chosen = next((w for w in able if overdue is None or w.index > overdue), able[0] if able else None)
        self._maker = None if chosen is None else chosen.index
        if chosen is not None:
            self._serve(chosen, now)
        return False

    def _open(self, now: float) -> None:
        assert self.version is not None
        number = self.version + 1
        self.stage = Stage.OPEN
        self._deadline_at = None
        timeout = self.spec.quorum.round_timeout_seconds
        self.round = Round(number, self.base, now, now + timeout, evaluate_base=is_due(self.version, self.spec.evaluation.every_rounds))
        able = [w for w in self.members.live() if TaskKind.TRAIN in w.kinds]
        others = self._cohort(w.index for w in able)
        for worker in able:
            self._join(worker, others, waited_for=True)
        self._record(
            "round_opened",
            round=number,
            version=self.version,
            participants=len(able),
            required=self.required,
            deadline_s=timeout,
        )
        for worker in able:
            self._serve(worker, now)

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

    def _settle_round(self, now: float) -> bool:
        current = self.round
        assert current is not None
        if current.accepted >= self.required and current.quorum_at is None:
            current.quorum_at = now
            grace = grace_seconds(self.spec.quorum, now - current.opened_at)
            current.grace_at = min(now + grace, current.deadline_at)
            waited = now - (current.first_accepted_at or now)
            self._record("quorum_reached", round=current.number, wait_s=_ms(waited))
        elif current.accepted < self.required:
            current.quorum_at = current.grace_at = None  # the quorum was raised meanwhile
        if current.quorum_at is not None:
            outcome = current.outcome(self.required, {w.index for w in self.members.live()}, now)
            if outcome is not None:
                self._close(current, outcome, now)
                return True
        if now >= current.deadline_at:
            current.deadlines_missed += 1
            current.deadline_at = now + self.spec.quorum.round_timeout_seconds
            self._missed(current.number, current.accepted, now)
        return False

    def _missed(self, number: int, accepted: int, now: float) -> None:
        self._record("round_deadline_missed", round=number, accepted=accepted, required=self.required)
        self._set_quorum(self.quorum.with_deadline_missed(now), now)

    def _close(self, current: Round, outcome: Outcome, now: float) -> None:
        self.stage = Stage.CLOSING
        self._set_quorum(self.quorum.with_round_closed(now), now)
        stragglers = self._adjust_workload(current, now)
        self._closed = []
        if current.evaluations:
            self._closed.append(self._evaluated(current.number - 1, current.evaluations))
        self._closed.append(Record("round_closed", self._round_fields(current, outcome, stragglers, now)))
        self._last_counted = (current.number, current.base, frozenset(current.counted))
        closing = [[record.event, dict(record.fields)] for record in self._closed]
        self._out.append(WriteVersion(current.number, {**self._checkpoint(current.number), "closed": closing}))
        self._supersede()

    def _adjust_workload(self, current: Round, now: float) -> int:
        """Let the policies see who was late; return how many were."""
        stragglers = 0
        for worker in self.members.live():
            participant = current.participants.get(worker.index)
            if participant is None:
                continue
            late = participant.answered is not Answered.ACCEPTED
            stragglers += late
            pace = self._paces.get(worker.index, wl.Pace())
            if not late:
                self._paces[worker.index] = wl.after_timely_round(self.spec.workload, pace, participant.epochs)
            elif participant.answered is None and participant.waited_for:  # who joined half-way had no fair chance
                elapsed = None if participant.sent_at is None else now - participant.sent_at
                self._paces[worker.index] = wl.after_late_round(
                    self.spec.workload, pace, participant.epochs, elapsed=elapsed, done=participant.done
                )
        return stragglers

    def _round_fields(self, current: Round, outcome: Outcome, stragglers: int, now: float) -> dict[str, Any]:
        waited = None if current.quorum_at is None else current.quorum_at - (current.first_accepted_at or current.quorum_at)
        return {
            "round": current.number,
            "outcome": str(outcome),
            "duration_s": _ms(now - current.opened_at),
            "participants": len(current.participants),
            "required": self.required,
            "accepted": current.accepted,
            "stragglers": stragglers,
            "lost": current.lost,
            "deadlines_missed": current.deadlines_missed,
            "quorum_wait_s": None if waited is None else _ms(waited),
            "samples": current.samples,
            "train_loss": current.train_loss,
        }

    def _written(self, event: ev.VersionWritten, now: float) -> None:
        if self.stage is Stage.ENDED:
            return
        self.version, self.base, self._size_bytes = event.version, event.base, event.size_bytes
        closed, self._closed = self._closed, []
        self._out += closed
        self.recent = [*self.recent, *(dict(record.fields) for record in closed if record.event == "round_closed")][-_RECENT_ROUNDS:]
        self._record(
            "checkpoint_written",
            version=event.version,
            duration_s=_ms(event.checkpoint_s),
            aggregation_s=_ms(event.aggregation_s),
            bytes=event.size_bytes,
            sha256=event.base,
        )
        if self._pending_end is not None:
            reason, message = self._pending_end
            self._finish(reason, message, now)
        elif self.stage is Stage.STARTING:
            pass  # initial weights were adopted before the workers came
        elif event.version >= self.spec.rounds:
            self._measure(now)
        else:
            self._between(Stage.BETWEEN, now)

    def _checkpoint(self, version: int) -> dict[str, Any]:
        return Saved(
            version=version,
            base="",
            size_bytes=0,
            attempts={str(i): a for i, a in sorted(self.members.attempts.items())},
            names={str(i): n for i, n in sorted(self.members.names.items())},
            paces={str(i): p for i, p in sorted(self._paces.items())},
            metrics=self.metrics,
            metrics_version=self.metrics_version,
        ).to_json()

    def _restore(self, saved: Saved, now: float, lost_seconds: float) -> None:
        self.version, self.base, self._size_bytes = saved.version, saved.base, saved.size_bytes
        self.members = Members.restore(self.spec.workers.replicas, saved.attempts, saved.names)
        self.metrics, self.metrics_version = dict(saved.metrics), saved.metrics_version
        self._paces = {int(index): pace for index, pace in saved.paces.items()}
        self._lenient_until = now + MISSED_HEARTBEATS * heartbeat_seconds(self.spec.workers.replicas)
        if lost_seconds > 0:
            self.quorum = QuorumMet(short=True, since=now, carried=lost_seconds)

    # -- evaluation -------------------------------------------------------------------------------------------------------------------

    def _measure(self, now: float) -> None:
        """Open the final evaluation pass over live workers, or end at once if none can measure."""
        self.round = None
        self._between(Stage.MEASURING, now)
        self._final = {}
        resuming = now < self._lenient_until and self.members.live_count == 0
        able = [w for w in self.members.live() if TaskKind.EVALUATE in w.kinds]
        self._asked = {w.index for w in able}
        if resuming:  # after a restart the workers are still on their way back
            self._asked = set(self.members.attempts)
        for worker in able:
            self._serve(worker, now)

    def _record_evaluation(self) -> None:
        if self._final and self.version is not None:
            self._out.append(self._evaluated(self.version, self._final))

    def _evaluated(self, version: int, evaluations: dict[int, tuple[int, dict[str, float]]]) -> Record:
        samples, self.metrics = weighted_mean(evaluations)
        self.metrics_version = version
        return Record("evaluated", {"version": version, "samples": samples, "workers": len(evaluations), "metrics": self.metrics})

    def _may_answer(self, index: int, now: float) -> bool:
        worker = self.members.at(index)
        return now < self._lenient_until if worker is None else worker.live

    # -- what workers ask -------------------------------------------------------------------------------------------------------------

    def _register(self, event: ev.Registered, now: float) -> None:
        if self.end is not None:
            self._answer(event.ticket, Fault(FaultCode.FINISHED, str(self.end.reason)))
            return
        decided = self.members.register(event.hello, event.session, now)
        if isinstance(decided, Fault):
            self._answer(event.ticket, decided)
            return
        worker = decided.worker
        heapq.heappush(self._silences, (worker.silent_at, worker.session))
        self._gone.pop(worker.index, None)  # its budget was raised
        if decided.kind != "reconnect" and self.round is not None and worker.index in self.round.participants:
            self.round.participants[worker.index].waited_for = False
        self._record("worker_registered", worker=worker.name, attempt=worker.attempt, kind=decided.kind, samples=worker.samples)
        welcome = Welcome(
            session=worker.session,
            run_id=self.run_id,
            index=worker.index,
            replicas=self.spec.workers.replicas,
            seed=self.spec.seed,
            heartbeat_seconds=worker.interval,
            parameters=dict(self.spec.task.parameters),
        )
        self._answer(event.ticket, welcome)

    def _find(self, session: str, now: float, ticket: int | None = None) -> Worker | None:
        """Return the worker behind a call and note that it lives; answer the call with a fault if there is none."""
        found = self.members.find(session)
        if isinstance(found, Fault):
            if ticket is not None:
                self._answer(ticket, found)
            return None
        if self.members.hear(found, now):
            heapq.heappush(self._silences, (found.silent_at, session))
            self._record("worker_registered", worker=found.name, attempt=found.attempt, kind="reconnect", samples=found.samples)
        return found

    def _ask(self, event: ev.TaskAsked, now: float) -> None:
        if self.members.retired(event.session) is not None:
            self._answer(event.ticket, Task(kind=TaskKind.STOP, reason=RETIRED))
            return
        worker = self._find(event.session, now, event.ticket)
        if worker is None:
            return
        previous = self._polls.park(
            event.session, Call.TASK, Parked(event.ticket, now + min(max(event.wait_seconds, 0.0), MAX_WAIT_SECONDS))
        )
        if previous is not None:
            self._answer(previous.ticket, Task(kind=TaskKind.WAIT))
        self._serve(worker, now)

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
        if self.stage is Stage.INIT and worker.index == self._maker:
            remaining = (self._deadline_at or now) - now
            return Task(kind=TaskKind.INIT, work=WireWork(epochs=0, deadline_seconds=remaining), seed=init_seed(self.spec.seed))
        if self.stage is Stage.MEASURING and worker.index in self._asked and TaskKind.EVALUATE in worker.kinds and self.version is not None:
            remaining = (self._deadline_at or now) - now
            work = WireWork(epochs=0, deadline_seconds=remaining)
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
            work=WireWork(epochs=participant.epochs, deadline_seconds=max(current.deadline_at - now, 0.0)),
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

    def _heartbeat(self, event: ev.HeartbeatReceived, now: float) -> None:
        if self.members.retired(event.session) is not None:
            self._answer(event.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))
            return
        worker = self._find(event.session, now, event.ticket)
        if worker is None:
            return
        if not self._wanted(worker, event.round):
            self._answer(event.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))
            return
        if self.stage is Stage.OPEN and self.round is not None and worker.index in self.round.participants:
            self.round.participants[worker.index].done = min(max(event.done, 0.0), 1.0)
        until = now + min(max(event.wait_seconds, 0.0), MAX_WAIT_SECONDS)
        previous = self._polls.park(event.session, Call.HEARTBEAT, Parked(event.ticket, until, event.round))
        if previous is not None:
            self._answer(previous.ticket, self._still_wanted(now))

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
        deadline = self.round.deadline_at if self.stage is Stage.OPEN and self.round is not None else self._deadline_at
        return HeartbeatReply(superseded=False, deadline_seconds=max((deadline or now) - now, 0.0))

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
                self._answer(parked.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))

    def _offer(self, event: ev.UploadOffered, now: float) -> None:
        worker = self._find(event.session, now, event.ticket)
        if worker is None:
            return
        verdict = self._standing(worker, event.round, event.base)
        if verdict is not Result.ACCEPTED:
            self._update(worker, event.round, verdict, now, size_bytes=0)
        self._answer(event.ticket, UploadAnswer(str(verdict), "" if verdict is Result.ACCEPTED else self._why_not(verdict)))

    def _standing(self, worker: Worker, round_number: int, base: str) -> Result:
        """Return what an update of this worker for this round and base would be now, its content aside."""
        number, counted_base, counted = self._last_counted
        if round_number == number and base == counted_base and worker.index in counted:
            return Result.DUPLICATE
        if self.stage is Stage.INIT and round_number == 0 and worker.index == self._maker:
            return Result.ACCEPTED
        current = self.round
        if self.stage is not Stage.OPEN or current is None or round_number != current.number or base != current.base:
            return Result.STALE
        participant = current.participants.get(worker.index)
        if participant is not None and participant.answered is Answered.ACCEPTED:
            return Result.DUPLICATE
        return Result.ACCEPTED

    def _why_not(self, verdict: Result) -> str:
        if verdict is Result.DUPLICATE:
            return "already counted"
        return f"round {self.current_round} is {'open' if self.round_open else 'closed'}, from base {self.base[:12]}"

    def _refuse_upload(self, event: ev.UploadRefused, now: float) -> None:
        worker = self._find(event.session, now)
        if worker is not None:
            self._reject(worker, event.round, event.reason, event.detail, now, size_bytes=event.size_bytes)

    def _reject(
        self, worker: Worker, round_number: int, reason: Rejection, detail: str, now: float, *, size_bytes: int, report: Any = None
    ) -> None:
        current = self.round
        if self.stage is Stage.OPEN and current is not None and round_number == current.number:
            participant = current.participants.get(worker.index)
            if participant is not None and participant.answered is None:
                participant.reject()
        self._update(worker, round_number, Result.REJECTED, now, size_bytes=size_bytes, reason=reason, detail=detail, report=report)

    def _submit(self, event: ev.Submitted, now: float) -> None:
        worker = self._find(event.session, now, event.ticket)
        report = event.report
        if worker is None:
            self._drop(report.upload)
            return
        if not report.upload and not report.declined and event.rejection is None:
            self._take_evaluation(event, worker)
            return
        verdict = self._standing(worker, event.round, report.base)
        if verdict is not Result.ACCEPTED:
            self._drop(report.upload)
            self._update(worker, event.round, verdict, now, size_bytes=event.size_bytes, report=report)
            self._answer(event.ticket, SubmitReply(result=str(verdict), reason=self._why_not(verdict)))
            return
        if report.declined:
            self._decline(worker, report.declined)
            self._answer(event.ticket, SubmitReply(result=str(Result.ACCEPTED), reason="declined"))
            return
        rejection = event.rejection or self._content_rejection(event, worker)
        if rejection is not None:
            self._drop(report.upload)
            self._reject(worker, event.round, rejection, event.detail, now, size_bytes=event.size_bytes, report=report)
            self._answer(event.ticket, SubmitReply(result=str(Result.REJECTED), reason=f"{rejection}: {event.detail}".rstrip(": ")))
            return
        self._accept(event, worker, now)
        self._answer(event.ticket, SubmitReply(result=str(Result.ACCEPTED)))

    def _content_rejection(self, event: ev.Submitted, worker: Worker) -> Rejection | None:
        if event.round and not 1 <= event.report.samples <= min(worker.samples, MAX_SAMPLES):
            return Rejection.SAMPLES
        return None if acceptable(event.report.metrics) else Rejection.METRICS

    def _accept(self, event: ev.Submitted, worker: Worker, now: float) -> None:
        report = event.report
        if self.stage is Stage.INIT:
            self.stage = Stage.CLOSING
            self._out.append(AdoptInitial(report.upload, self._checkpoint(0)))
            return
        current = self.round
        assert current is not None
        participant = current.participants.get(worker.index)
        if participant is None:  # it trained under a former session, and resubmits what it holds
            participant = self._join(worker, self._cohort(current.participants), waited_for=now < self._lenient_until)
        current.accept(worker.index, report.samples, report.train_loss, now)
        if current.evaluate_base and report.eval_samples and report.metrics:
            current.evaluations[worker.index] = (report.eval_samples, dict(report.metrics))
        trip = None if participant.sent_at is None else now - participant.sent_at
        if trip is not None and report.seconds > 0:
            pace = self._paces.get(worker.index, wl.Pace())
            self._paces[worker.index] = wl.measured(pace, trip_seconds=trip, train_seconds=report.seconds, epochs=participant.epochs)
        self._out.append(Merge(report.upload, worker.name, report.samples))
        self._update(worker, event.round, Result.ACCEPTED, now, size_bytes=event.size_bytes, report=report)

    def _decline(self, worker: Worker, reason: str) -> None:
        if self.stage is Stage.OPEN and self.round is not None:
            participant = self.round.participants.get(worker.index) or self._join(worker, wl.Cohort(None), waited_for=False)
            participant.answered = Answered.DECLINED
            self._record("update_declined", round=self.round.number, worker=worker.name, attempt=worker.attempt, reason=reason)
        elif self.stage is Stage.INIT:
            self._maker = None

    def _take_evaluation(self, event: ev.Submitted, worker: Worker) -> None:
        report = event.report
        if self.stage is not Stage.MEASURING or worker.index not in self._asked or report.base != self.base:
            self._answer(event.ticket, SubmitReply(result=str(Result.STALE), reason="no such evaluation is under way"))
            return
        if not acceptable(report.metrics):
            self._asked.discard(worker.index)
            self._answer(event.ticket, SubmitReply(result=str(Result.REJECTED), reason=str(Rejection.METRICS)))
            return
        self._asked.discard(worker.index)
        if report.eval_samples > 0 and report.metrics:
            self._final[worker.index] = (report.eval_samples, dict(report.metrics))
        self._answer(event.ticket, SubmitReply(result=str(Result.ACCEPTED)))

    def _update(
        self,
        worker: Worker,
        round_number: int,
        result: Result,
        now: float,
        *,
        size_bytes: int,
        reason: Rejection | None = None,
        detail: str = "",
        report: Any = None,
    ) -> None:
        """Record one submitted update: a row of updates.csv."""
        if round_number == 0:
            return
        sent_at = self._trips.get(worker.index, {}).get(round_number)
        observed = result in {Result.ACCEPTED, Result.STALE} and sent_at is not None
        participant = None if self.round is None or self.round.number != round_number else self.round.participants.get(worker.index)
        fields: dict[str, Any] = {
            "round": round_number,
            "worker": worker.name,
            "attempt": worker.attempt,
            "result": str(result),
            "reason": "" if reason is None else str(reason),
            "round_trip_s": _ms(now - sent_at) if observed and sent_at is not None else None,
            "train_s": None if report is None else _ms(report.seconds),
            "epochs": None if participant is None else participant.epochs,
            "samples": None if report is None else report.samples,
            "bytes": size_bytes,
            "staleness_rounds": max(self.current_round - round_number, 0) if result is Result.STALE else 0,
            "base_version": round_number - 1,
            "train_loss": None if report is None else report.train_loss,
            "eval_samples": None if report is None else report.eval_samples,
            "metrics": {} if report is None else dict(report.metrics),
        }
        if detail:
            fields["detail"] = detail
        self._record("update", **fields)

    def _leave(self, event: ev.Left, now: float) -> None:
        worker = self._find(event.session, now, event.ticket)
        if worker is None:
            return
        self._release(worker.session)
        self.members.remove(worker)
        self._record("worker_left", worker=worker.name, reason=event.reason)
        self._answer(event.ticket, Empty())

    def _drop(self, upload: str) -> None:
        if upload:
            self._out.append(Discard(upload))

    # -- timers, changes and the end --------------------------------------------------------------------------------------------------

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
            self._record("worker_lost", worker=worker.name, attempt=worker.attempt, silent_s=_ms(now - worker.last_heard))

    def _release(self, session: str) -> None:
        """Answer what a session that goes away has parked, so that no call waits for nothing."""
        task, heartbeat = self._polls.take(session, Call.TASK), self._polls.take(session, Call.HEARTBEAT)
        if task is not None:
            self._answer(task.ticket, Task(kind=TaskKind.WAIT))
        if heartbeat is not None:
            self._answer(heartbeat.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))

    def _expire_polls(self, now: float) -> None:
        for _, call, parked in self._polls.expired(now):
            self._answer(parked.ticket, Task(kind=TaskKind.WAIT) if call is Call.TASK else self._still_wanted(now))

    def _change(self, spec: Spec, now: float) -> None:
        """Take over what may change while the job runs."""
        old, self.spec = self.spec, spec.model_copy(update={"rounds": max(spec.rounds, self.spec.rounds)})
        if spec.workers.replicas != old.workers.replicas:
            for worker in self.members.resize(spec.workers.replicas):
                parked = self._polls.take(worker.session, Call.TASK)
                if parked is not None:
                    self._answer(parked.ticket, Task(kind=TaskKind.STOP, reason=RETIRED))
                self._release(worker.session)
                self._asked.discard(worker.index)
                self._record("worker_left", worker=worker.name, reason=RETIRED)
        if spec.active_deadline_seconds != old.active_deadline_seconds and self._active_at is not None and spec.active_deadline_seconds:
            self._active_at += spec.active_deadline_seconds - (old.active_deadline_seconds or 0)
        if self.stage is Stage.MEASURING and self.version is not None and self.version < self.spec.rounds:
            self._between(Stage.BETWEEN, now)
            self._supersede()

    def _fail(self, reason: EndReason, message: str, now: float) -> None:
        """End the job; while a version is being written, right after it is durable, so that a closed round is never lost."""
        if self.stage is Stage.CLOSING:
            self._pending_end = (reason, message)
        elif self.stage is not Stage.ENDED:
            self._finish(reason, message, now)

    def _finish(self, reason: EndReason, message: str, now: float) -> None:
        if self.stage is Stage.ENDED:
            return
        if self.round is not None and self.round_open:
            self._record("round_closed", **self._round_fields(self.round, Outcome.ABORTED, self._missing(self.round), now))
        phase = Phase.SUCCEEDED if reason is EndReason.COMPLETED else Phase.FAILED
        self.stage = Stage.ENDED
        self.end = Finish(phase, reason, message, EXIT_CODE[reason])
        self._record("run_finished", phase=str(phase), reason=str(reason), message=message, exit_code=self.end.exit_code)
        self._out.append(self.end)
        self._stop_at = now + MISSED_HEARTBEATS * heartbeat_seconds(self.spec.workers.replicas)
        self._supersede()
        for worker in self.members.live():
            self._serve(worker, now)

    def _missing(self, current: Round) -> int:
        return sum(1 for w in self.members.live() if w.index in current.participants and w.index not in current.counted)

    def _watch_stop(self, now: float) -> None:
        if self._stop_at is None:
            return
        if now >= self._stop_at or all(worker.session in self._told for worker in self.members.live()):
            self._stop_at = None
            self._out.append(Shutdown())

    # -- small words ------------------------------------------------------------------------------------------------------------------

    def _answer(self, ticket: int, reply: Reply) -> None:
        self._out.append(Answer(ticket, reply))

    def _record(self, event: str, **fields: Any) -> None:
        self._out.append(Record(event, fields))


def _ms(seconds: float) -> float:
    return round(seconds, 3)
