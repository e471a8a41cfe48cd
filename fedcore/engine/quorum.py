"""Quorum: how many updates close a round, and how long a job may go without enough workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcore.spec import Quorum

__all__ = ["QuorumMet", "grace_seconds", "required"]

GRACE_SHARE = 0.25
GRACE_FLOOR_SECONDS = 1.0


def required(quorum: Quorum, replicas: int) -> int:
    """Return the updates that close a round, counted over the *declared* replicas: a survivor must not become its own quorum."""
    return max(quorum.min_workers, -(-quorum.percent * replicas // 100))


def grace_seconds(quorum: Quorum, quorum_took_seconds: float) -> float:
    """Return how long a round that has its quorum still waits for the rest.

    Unset, it is a quarter of the time the quorum took, so that it scales with the work; at least a second, so that workers of equal
    speed are not cut off by scheduling noise.
    """
    if quorum.grace_seconds is not None:
        return float(quorum.grace_seconds)
    return max(GRACE_FLOOR_SECONDS, GRACE_SHARE * quorum_took_seconds)


@dataclass(frozen=True, slots=True)
class QuorumMet:
    """The QuorumMet bit with its loss clock.

    It has two causes to be false: too few live workers (``short``), and a round deadline that passed below quorum (``missed``). Regained
    strength clears both, since the round then has its deadline ahead; otherwise a missed deadline is only cleared by a close, so that
    workers that live and never answer cannot keep a job waiting for ever.
    """

    short: bool = False
    missed: bool = False
    since: float | None = None
    """When the bit turned false, in engine time; None while it is true."""
    carried: float = 0.0
    """Seconds already lost before a restart of the coordinator."""

    @property
    def met(self) -> bool:
        """The bit."""
        return not (self.short or self.missed)

    def with_strength(self, *, short: bool, now: float) -> QuorumMet:
        """Return the bit after a look at the number of live workers."""
        if short == self.short:
            return self
        return _clocked(replace(self, short=short, missed=self.missed and short), now)

    def with_deadline_missed(self, now: float) -> QuorumMet:
        """Return the bit after a round deadline has passed below quorum."""
        return _clocked(replace(self, missed=True), now)

    def with_round_closed(self, now: float) -> QuorumMet:
        """Return the bit after a round has closed with its quorum."""
        return _clocked(replace(self, missed=False), now)

    def lost_seconds(self, now: float) -> float:
        """Return how long the quorum has been lost, 0 while it is met."""
        return 0.0 if self.since is None else self.carried + now - self.since

    def lost_at(self, loss_grace_seconds: float) -> float | None:
        """Return when the loss clock runs out; None while the quorum is met, or when the job waits for ever."""
        if self.since is None or not loss_grace_seconds:
            return None
        return self.since + loss_grace_seconds - self.carried


def _clocked(quorum: QuorumMet, now: float) -> QuorumMet:
    if quorum.met:
        return replace(quorum, since=None, carried=0.0)
    return quorum if quorum.since is not None else replace(quorum, since=now)
