"""What the engine knows of a job between two events."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from fedcore.engine.checkpoint import Saved
from fedcore.engine.effects import (
    Answer,
    Effect,
    Finish,
    Record,
    Reply,
)
from fedcore.engine.membership import MISSED_HEARTBEATS, Members, heartbeat_seconds
from fedcore.engine.polls import Polls
from fedcore.engine.quorum import QuorumMet, required
from fedcore.engine.reasons import EndReason, Phase

if TYPE_CHECKING:
    from fedcore.engine import workload as wl
    from fedcore.engine.rounds import Round
    from fedcore.spec import Spec

__all__ = ["Stage", "State", "rounded"]

RETIRED = "Retired"
"""Reason of the stop that a worker gets when its index is scaled away."""


class Stage(Enum):
    """Where the engine stands; see the table above."""

    STARTING = auto()
    INIT = auto()
    OPEN = auto()
    CLOSING = auto()
    BETWEEN = auto()
    MEASURING = auto()
    ENDED = auto()


class State:
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
        self._unwilling: set[int] = set()
        """Who has declined to make the first weights since the deadline was armed."""
        self._asked: set[int] = set()
        self._final: dict[int, tuple[int, dict[str, float]]] = {}
        self._closed: list[Record] = []
        self._pending_end: tuple[EndReason, str] | None = None
        self._told: set[str] = set()
        self._trip_ended: dict[int, int] = {}
        """Last round for which an update of an index has arrived, or its work was given up."""
        self._overtaken: dict[str, int] = {}
        """Round whose work a session has been told to give up; until it shows, by asking for other work, that it has."""
        self._out: list[Effect] = []
        self._lenient_until = now
        """After a restart, how long the workers have to find their way back before their absence counts."""
        self._here_since = now
        self._began_at = now - active_seconds
        self._now = now
        self._armed_at: float | None = None
        """Since when the round's deadline runs: of first weights, an open round, waiting between rounds, measuring."""
        self._stop_at: float | None = None
        if saved is not None:
            self._restore(saved, now, lost_seconds)

    @property
    def required(self) -> int:
        """Updates that close a round."""
        return required(self.spec.quorum, self.spec.workers.replicas)

    @property
    def size(self) -> dict[str, int]:
        """What of the job the log repeats: its rounds, its workers, and how many updates close a round."""
        return {"rounds": self.spec.rounds, "workers": self.spec.workers.replicas, "required": self.required}

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

    def _answer(self, ticket: int, reply: Reply) -> None:
        self._out.append(Answer(ticket, reply))

    def _record(self, event: str, **fields: Any) -> None:
        """Record an event; after ``run_finished`` nothing more happens to a job, whatever its workers still do."""
        if self.end is None:
            self._out.append(Record(event, fields))

    @property
    def _startup_at(self) -> float | None:
        limit = self.spec.startup_deadline_seconds
        return self._here_since + limit if limit else None

    @property
    def _active_at(self) -> float | None:
        limit = self.spec.active_deadline_seconds
        return None if limit is None else self._began_at + limit

    @property
    def _lost_at(self) -> float | None:
        """When the loss clock ends the job: never while the last version is measured, nor before a restart's workers can be back."""
        if self.stage is Stage.MEASURING:
            return None
        at = self.quorum.lost_at(self.spec.quorum.loss_grace_period_seconds)
        return None if at is None else max(at, self._lenient_until)

    @property
    def _deadline_at(self) -> float | None:
        return None if self._armed_at is None else self._armed_at + self.spec.quorum.round_timeout_seconds

    def _restore(self, saved: Saved, now: float, lost_seconds: float) -> None:
        self.version, self.base, self._size_bytes = saved.version, saved.base, saved.size_bytes
        self.members = Members.restore(self.spec.workers.replicas, saved.attempts, saved.names, saved.displaced)
        self.metrics, self.metrics_version = dict(saved.metrics), saved.metrics_version
        self._paces = {int(index): pace for index, pace in saved.paces.items()}
        self._lenient_until = now + MISSED_HEARTBEATS * heartbeat_seconds(self.spec.workers.replicas)
        if lost_seconds > 0:
            self.quorum = QuorumMet(short=True, since=now, carried=lost_seconds)

    def _checkpoint(self, version: int) -> dict[str, Any]:
        return Saved(
            version=version,
            base="",
            size_bytes=0,
            attempts={str(i): a for i, a in sorted(self.members.attempts.items())},
            names={str(i): n for i, n in sorted(self.members.names.items())},
            displaced={str(i): dict(before) for i, before in sorted(self.members.displaced.items()) if before},
            paces={str(i): p for i, p in sorted(self._paces.items())},
            metrics=self.metrics,
            metrics_version=self.metrics_version,
        ).to_json()

    def _due(self, now: float) -> bool:
        return self._deadline_at is not None and now >= self._deadline_at

    def _between(self, stage: Stage, now: float) -> None:
        self.stage = stage
        self._armed_at = now

    def _set_quorum(self, quorum: QuorumMet, now: float) -> None:
        before, self.quorum = self.quorum, quorum
        if before.met and not quorum.met:
            self._record("quorum_lost", round=self.current_round, live=self.members.live_count, required=self.required)
        elif quorum.met and not before.met:
            self._record("quorum_regained", round=self.current_round, lost_s=rounded(before.lost_seconds(now)))

    def _missed(self, number: int, accepted: int, now: float) -> None:
        """Note that a deadline has passed below quorum, and arm it anew."""
        self._armed_at = now
        self._record("round_deadline_missed", round=number, accepted=accepted, required=self.required)
        self._set_quorum(self.quorum.with_deadline_missed(now), now)


def rounded(seconds: float) -> float:
    """Return seconds to the millisecond, as events and tables have them."""
    return round(seconds, 3)
