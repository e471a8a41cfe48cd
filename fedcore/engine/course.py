"""The course of a job: first weights, rounds, the last evaluation, the end."""

from __future__ import annotations

from typing import Any

from fedcore.engine import events as ev
from fedcore.engine import workload as wl
from fedcore.engine.effects import (
    Finish,
    Record,
    Shutdown,
    WriteVersion,
)
from fedcore.engine.evaluation import is_due, weighted_mean
from fedcore.engine.handout import Handout
from fedcore.engine.membership import MISSED_HEARTBEATS, heartbeat_seconds
from fedcore.engine.quorum import grace_seconds
from fedcore.engine.reasons import EXIT_CODE, EndReason, Outcome, Phase
from fedcore.engine.rounds import Answered, Round
from fedcore.engine.state import Stage, rounded
from fedcore.wire.protocol import (
    TaskKind,
)

__all__ = ["Course"]

_RECENT_ROUNDS = 5
"""How many closed rounds the progress contract shows."""


class Course(Handout):
    """Opens and closes rounds."""

    def _choose_maker(self, now: float) -> bool:
        """Pick the lowest live worker for the first weights; the next one when it is lost or the deadline passes."""
        if self._due(now):
            self._missed(0, 0, now)
            self._unwilling.clear()
            overdue, self._maker = self._maker, None
        else:
            overdue = None
        able = [w for w in self.members.live() if TaskKind.INIT in w.kinds and w.index not in self._unwilling]
        if any(w.index == self._maker for w in able):
            return False
        chosen = next((w for w in able if overdue is None or w.index > overdue), able[0] if able else None)
        self._maker = None if chosen is None else chosen.index
        if chosen is not None:
            self._serve(chosen, now)
        return False

    def _open(self, now: float) -> None:
        assert self.version is not None
        number = self.version + 1
        self.stage = Stage.OPEN
        self._armed_at = now
        self.round = Round(number, self.base, now, evaluate_base=is_due(self.version, self.spec.evaluation.every_rounds))
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
            deadline_s=self.spec.quorum.round_timeout_seconds,
        )
        for worker in able:
            self._serve(worker, now)

    def _settle_round(self, now: float) -> bool:
        current = self.round
        assert current is not None
        if current.accepted >= self.required and current.quorum_at is None:
            current.quorum_at = now
            waited = now - (current.first_accepted_at or now)
            self._record("quorum_reached", round=current.number, wait_s=rounded(waited))
        elif current.accepted < self.required:
            current.quorum_at = current.grace_at = None  # the quorum was raised meanwhile
        if current.quorum_at is not None:
            grace = grace_seconds(self.spec.quorum, current.quorum_at - current.opened_at)
            current.grace_at = min(current.quorum_at + grace, self._deadline_at or now)
            outcome = current.outcome(self.required, {w.index for w in self.members.live()}, now)
            if outcome is not None:
                self._close(current, outcome, now)
                return True
        if self._due(now):
            current.deadlines_missed += 1
            self._missed(current.number, current.accepted, now)
            for index, participant in current.participants.items():
                participant.ask_again()
                worker = self.members.at(index)
                if worker is not None and worker.live:
                    self._serve(worker, now)
        return False

    def _close(self, current: Round, outcome: Outcome, now: float) -> None:
        self.stage = Stage.CLOSING
        self._armed_at = None
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
            "duration_s": rounded(now - current.opened_at),
            "participants": len(current.participants),
            "required": self.required,
            "accepted": current.accepted,
            "stragglers": stragglers,
            "lost": current.lost,
            "deadlines_missed": current.deadlines_missed,
            "quorum_wait_s": None if waited is None else rounded(waited),
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
            duration_s=rounded(event.checkpoint_s),
            aggregation_s=rounded(event.aggregation_s),
            fsync_s=rounded(event.fsync_s),
            bytes=event.size_bytes,
            base=event.base,
        )
        pending, self._pending_end = self._pending_end, None
        if event.version >= self.spec.rounds:  # all rounds are done, whatever was decided while the last one was written
            self._measure(now)
        elif pending is not None:
            self._finish(*pending, now)
        elif self.stage is Stage.STARTING:
            pass  # initial weights were adopted before the workers came
        else:
            self._between(Stage.BETWEEN, now)

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
        return now < self._lenient_until if worker is None else worker.live and TaskKind.EVALUATE in worker.kinds

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
        end = Finish(phase, reason, message, EXIT_CODE[reason])
        self._record("run_finished", phase=str(phase), reason=str(reason), message=message, exit_code=end.exit_code)
        self.stage, self.end = Stage.ENDED, end
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
