"""Which trackers there are. What cannot work is said before a run starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TypeAlias

from fedcore.report.trackers.protocol import Tracker

__all__ = ["Maker", "UnusableTracker", "find_trackers", "split_names"]

Maker: TypeAlias = Callable[[], Tracker]


class UnusableTracker(Exception):  # noqa: N818 - an answer to the user
    """A tracker that was named cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Shipped:
    needs: str
    """What must be importable."""
    extra: str
    """The extra of this package that brings it."""
    entry: str
    variables: Mapping[str, str]
    """Environment variables that must be set, and what they say."""


_SHIPPED = {
    "tensorboard": _Shipped("tensorboardX", "tensorboard", "fedcore.report.trackers.tensorboard:TensorBoard", {}),
    "mlflow": _Shipped(
        "mlflow",
        "mlflow",
        "fedcore.report.trackers.mlflow:MLflow",
        {"MLFLOW_TRACKING_URI": "where the server is, such as http://127.0.0.1:5000"},
    ),
}


def split_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, from texts with commas, as ``FEDCORE_TRACKERS`` is."""
    names = (name.strip() for text in texts for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def find_trackers(names: Iterable[str]) -> dict[str, Maker]:
    """Return what makes each tracker, by name. The libraries of the shipped ones are not imported yet: that takes seconds.

    Raises
    ------
    UnusableTracker
        One is unknown, not installed, or lacks a setting.
    """
    return {name: _own(name) if ":" in name else _shipped(name) for name in names}


def _shipped(name: str) -> Maker:
    known = _SHIPPED.get(name)
    if known is None:
        raise UnusableTracker(f'"{name}" is no tracker; allowed: {", ".join(_SHIPPED)}, or MODULE:CLASS of your own')
    if find_spec(known.needs) is None:
        raise UnusableTracker(f'{name}: {known.needs} is not installed: pip install "fedcore[{known.extra}]"')
    for variable, meaning in known.variables.items():
        if not os.environ.get(variable):
            raise UnusableTracker(f"{name}: {variable} is not set; it says {meaning}")
    return lambda: _load(known.entry)()  # noqa: PLW0108 - imported when it is called, in the tracker's thread


def _own(name: str) -> Maker:
    try:
        return _load(name)
    except Exception as error:  # the user's module may raise anything when it is imported
        raise UnusableTracker(f"{name}: cannot be imported: {error} (it must be installed, or on PYTHONPATH)") from error


def _load(entry: str) -> Maker:
    module, _, attribute = entry.partition(":")
    found = getattr(import_module(module), attribute)
    if not callable(found):
        raise TypeError(f"{attribute} is {type(found).__name__}, not a class")
    maker: Maker = found
    return maker
