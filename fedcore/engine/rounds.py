"""One round: who takes part, what came in, and whether it may close."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from fedcore.engine.reasons import Outcome

__all__ = ["Answered", "Participant", "Round"]

TRIES = 2
"""A rejected update may be sent once more; then the worker counts as having answered."""


class Answered(StrEnum):
    """How a participant has answered the round's task."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXHAUSTED = "exhausted"


@dataclass(slots=True)
class Participant:
    """A worker's part in one round. Base and work stay the same, however often the task is handed out."""

    epochs: float
    waited_for: bool
    """There when the round opened. Who joins later is not waited for once the quorum is reached."""
    sent_at: float | None = None
    """When the task was last handed out; None until then, and after a restart of the coordinator."""
    done: float = 0.0
    answered: Answered | None = None
    rejections: int = 0

    def ask_again(self) -> None:
        """Forget that it has given up: the round needs it after all."""
        if self.answered is not Answered.ACCEPTED:
            self.answered, self.rejections = None, 0

    def reject(self) -> None:
        """Count a rejected update."""
        self.rejections += 1
        if self.rejections >= TRIES:
            self.answered = Answered.EXHAUSTED


@dataclass(slots=True)
class Round:
    """An open round, and what of it the checkpoint and the tables need."""

    number: int
    base: str
    opened_at: float
    participants: dict[int, Participant] = field(default_factory=dict)
    counted: list[int] = field(default_factory=list)
    """Indexes with an accepted update, in order of arrival."""
    first_accepted_at: float | None = None
    quorum_at: float | None = None
    grace_at: float | None = None
    samples: int = 0
    loss_sum: float = 0.0
    loss_samples: int = 0
    lost: int = 0
    deadlines_missed: int = 0
    evaluate_base: bool = False
    evaluations: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)
    """Held-out samples and metrics of the base, by index."""

    @property
    def accepted(self) -> int:
        """Number of updates counted so far."""
        return len(self.counted)

    @property
    def train_loss(self) -> float | None:
        """Training loss of the accepted updates, weighted by samples; None too where it is beyond a double."""
        mean = self.loss_sum / self.loss_samples if self.loss_samples else math.nan
        return mean if math.isfinite(mean) else None

    def accept(self, index: int, samples: int, train_loss: float | None, now: float) -> None:
        """Count one update."""
        self.participants[index].answered = Answered.ACCEPTED
        self.counted.append(index)
        self.samples += samples
        if train_loss is not None:
            self.loss_sum += train_loss * samples
            self.loss_samples += samples
        if self.first_accepted_at is None:
            self.first_accepted_at = now

    def outcome(self, required: int, live: set[int], now: float) -> Outcome | None:
        """Return how the round closes now, None while it stays open."""
        if self.accepted < required:
            return None
        missing = [self.participants[i] for i in live if i in self.participants and self.participants[i].answered is None]
        if not missing:
            return Outcome.FULL
        due = self.grace_at is not None and now >= self.grace_at
        return Outcome.QUORUM if due or not any(p.waited_for for p in missing) else None
