"""What a worker tells of its doing; nobody listens unless it was asked to show metrics."""

from __future__ import annotations

__all__ = ["Observer"]


class Observer:
    """Lets everything pass. Called from several threads."""

    def connected(self, *, holds: bool) -> None:
        """Take whether the worker holds a session, from now on."""

    def attempted(self, method: str, result: str) -> None:
        """Take how a call to the coordinator has ended: ``ok``, ``retry`` (no useful answer, another attempt may follow) or ``failed``."""

    def carried(self, direction: str, size_bytes: int) -> None:
        """Take bytes of a body that were ``sent`` or ``received``."""

    def trained(self, seconds: float, loss: float | None) -> None:
        """Take the time and the loss of a training that was finished."""

    def passed(self, epochs: float) -> None:
        """Take epochs that were trained, to any end."""

    def task_ended(self, result: str) -> None:
        """Take how a train task has ended: ``submitted``, ``superseded`` or ``failed``."""
