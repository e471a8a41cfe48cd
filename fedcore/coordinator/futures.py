"""Waiting for work that was handed to several threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

__all__ = ["settle"]


def settle(futures: Iterable[Future[Any]]) -> None:
    """Wait until all have ended, also when one has failed; then raise the first error there was."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
