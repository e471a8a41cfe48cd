"""What workers ask and say, and what it means for the job."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from fedcore.engine import events as ev
from fedcore.engine import workload as wl
from fedcore.engine.course import Course
from fedcore.engine.effects import (
    AdoptInitial,
    Discard,
    Empty,
    Fault,
    Merge,
    UploadAnswer,
)
from fedcore.engine.evaluation import acceptable
from fedcore.engine.polls import Call, Parked
from fedcore.engine.reasons import EndReason, Rejection, Result
from fedcore.engine.rounds import Answered
from fedcore.engine.state import RETIRED, Stage, rounded
from fedcore.wire.protocol import (
    MAX_SAMPLES,
    FaultCode,
    HeartbeatReply,
    SubmitReply,
    Task,
    TaskKind,
    Welcome,
)

if TYPE_CHECKING:
    from fedcore.engine.membership import Worker


__all__ = ["Calls"]


class Calls(Course):
    """Answers the workers' calls."""

    def _register(self, event: ev.Registered, now: float) -> None:
        if self.end is not None:
            self._answer(event.ticket, Fault(FaultCode.FINISHED, str(self.end.reason)))
            return
        decided = self.members.register(event.hello, event.session, now)
        if isinstance(decided, Fault):
            self._answer(event.ticket, decided)
            return
        worker = decided.worker
        if decided.displaced:
            self._release(decided.displaced)
        if not worker.preparing:
            self._admit(worker, decided.kind)
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

    def _admit(self, worker: Worker, kind: str) -> None:
        heapq.heappush(self._silences, (worker.silent_at, worker.session))
        self._gone.pop(worker.index, None)
        if kind != "reconnect" and self.round is not None and worker.index in self.round.participants:
            self.round.participants[worker.index].waited_for = False
        self._record("worker_registered", worker=worker.name, attempt=worker.attempt, kind=kind, samples=worker.samples)

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
        self._gave_up(worker, now)
        previous = self._polls.park(event.session, Call.TASK, Parked(event.ticket, self._parked_until(worker, event.wait_seconds, now)))
        if previous is not None:
            self._answer(previous.ticket, Task(kind=TaskKind.WAIT))
        self._serve(worker, now)

    def _heartbeat(self, event: ev.HeartbeatReceived, now: float) -> None:
        if self.members.retired(event.session) is not None:
            self._answer(event.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))
            return
        worker = self._find(event.session, now, event.ticket)
        if worker is None:
            return
        if not self._wanted(worker, event.round):
            self._overtake(worker, event.round)
            self._answer(event.ticket, HeartbeatReply(superseded=True, deadline_seconds=0.0))
            return
        if self.stage is Stage.OPEN and self.round is not None and worker.index in self.round.participants:
            self.round.participants[worker.index].done = min(max(event.done, 0.0), 1.0)
        until = self._parked_until(worker, event.wait_seconds, now)
        previous = self._polls.park(event.session, Call.HEARTBEAT, Parked(event.ticket, until, event.round))
        if previous is not None:
            self._answer(previous.ticket, self._still_wanted(now))

    @staticmethod
    def _parked_until(worker: Worker, wait_seconds: float, now: float) -> float:
        """Return when a call is answered at the latest: within the worker's interval, or it would be lost over its own waiting."""
        return now + min(max(wait_seconds, 0.0), worker.interval)

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
            if self.stage is Stage.INIT and event.round == 0 and worker.index == self._maker:
                # The model itself is at fault: every worker would make the same one.
                self._fail(EndReason.NON_RETRYABLE_EXIT, f"the first weights are refused: {event.reason}: {event.detail}", now)

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
        measured = self.stage is Stage.MEASURING if report.declined else not report.upload and event.rejection is None
        if measured:
            self._drop(report.upload)
            self._take_evaluation(event, worker)
            return
        verdict = self._standing(worker, event.round, report.base)
        if verdict is not Result.ACCEPTED:
            self._drop(report.upload)
            self._update(worker, event.round, verdict, now, size_bytes=event.size_bytes, report=report)
            self._answer(event.ticket, SubmitReply(result=str(verdict), reason=self._why_not(verdict)))
            return
        if report.declined:
            self._drop(report.upload)
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
            self._armed_at = None
            self._out.append(AdoptInitial(report.upload, self._checkpoint(0)))
            return
        current = self.round
        assert current is not None
        participant = current.participants.get(worker.index)
        if participant is None:  # it trained under a former session, and resubmits what it holds
            participant = self._join(worker, self._cohort(current.participants), waited_for=now < self._lenient_until)
        current.accept(worker.index, report.samples, report.train_loss, now)
        weight = min(report.eval_samples, worker.eval_samples)
        if current.evaluate_base and weight and report.metrics:
            current.evaluations[worker.index] = (weight, dict(report.metrics))
        arrived = now if event.received_at is None else event.received_at
        trip = None if participant.sent_at is None else max(arrived - participant.sent_at, 0.0)
        if trip is not None and report.seconds > 0:
            pace = self._paces.get(worker.index, wl.Pace())
            self._paces[worker.index] = wl.measured(pace, trip_seconds=trip, train_seconds=report.seconds, epochs=participant.epochs)
        self._out.append(Merge(report.upload, worker.name, report.samples))
        self._update(worker, event.round, Result.ACCEPTED, arrived, size_bytes=event.size_bytes, report=report)

    def _decline(self, worker: Worker, reason: str) -> None:
        if self.stage is Stage.OPEN and self.round is not None:
            participant = self.round.participants.get(worker.index) or self._join(worker, wl.Cohort(None), waited_for=False)
            participant.answered = Answered.DECLINED
            self._record("update_declined", round=self.round.number, worker=worker.name, attempt=worker.attempt, reason=reason)
        elif self.stage is Stage.INIT:
            self._unwilling.add(worker.index)

    def _take_evaluation(self, event: ev.Submitted, worker: Worker) -> None:
        report = event.report
        if self.stage is not Stage.MEASURING or worker.index not in self._asked or report.base != self.base:
            self._answer(event.ticket, SubmitReply(result=str(Result.STALE), reason="no such evaluation is under way"))
            return
        self._asked.discard(worker.index)
        if report.declined:
            self._answer(event.ticket, SubmitReply(result=str(Result.ACCEPTED), reason="declined"))
            return
        if not acceptable(report.metrics):
            self._answer(event.ticket, SubmitReply(result=str(Result.REJECTED), reason=str(Rejection.METRICS)))
            return
        weight = min(report.eval_samples, worker.eval_samples)
        if weight and report.metrics:
            self._final[worker.index] = (weight, dict(report.metrics))
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
        if result in {Result.ACCEPTED, Result.STALE}:
            self._trip_ended[worker.index] = round_number
            self._overtaken.pop(worker.session, None)
        sent_at = self._trips.get(worker.index, {}).get(round_number)
        observed = result in {Result.ACCEPTED, Result.STALE} and sent_at is not None
        participant = None if self.round is None or self.round.number != round_number else self.round.participants.get(worker.index)
        fields: dict[str, Any] = {
            "round": round_number,
            "worker": worker.name,
            "attempt": worker.attempt,
            "result": str(result),
            "reason": "" if reason is None else str(reason),
            "round_trip_s": rounded(now - sent_at) if observed and sent_at is not None else None,
            "train_s": None if report is None else rounded(report.seconds),
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
