"""What a task can say of a job before anything of it starts: whether its parameters make sense, whether its data is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore.tasks.task import Context

__all__ = ["checked_by", "precheck"]

_ATTRIBUTE = "fedcore_precheck"
Entrypoint = TypeVar("Entrypoint", bound="Callable[..., object]")


def checked_by(check: Callable[[Context], object]) -> Callable[[Entrypoint], Entrypoint]:
    """Decorate an entrypoint with a quick check, made by ``fedcore run`` and ``fedcore validate`` in a process of its own.

    Parameters
    ----------
    check : callable
        Gets the context of worker 0 and raises `fedcore.tasks.parameters.InvalidParameter` if no worker could work. ``data_dir`` is None
        where nothing is known of the data: a job file may be checked far from it.
    """

    def decorate(entrypoint: Entrypoint) -> Entrypoint:
        setattr(entrypoint, _ATTRIBUTE, check)
        return entrypoint

    return decorate


def precheck(entrypoint: Callable[[Context], object], context: Context) -> None:
    """Make an entrypoint's check, if it has one.

    Raises
    ------
    InvalidParameter
        What is wrong.
    """
    check = getattr(entrypoint, _ATTRIBUTE, None)
    if check is not None:
        check(context)
