"""What is wrong with a job file, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FieldPath", "InvalidJob", "Place", "Problem", "parse_field", "show_field"]

FieldPath: TypeAlias = tuple[str | int, ...]
"""Names and list positions from the root of the file, names as in the file."""

_PLAIN = re.compile(r"[A-Za-z_][\w-]*")
_STEP = re.compile(r'(?:^|\.)(?P<name>[^.\[\]"]+)|\[(?P<position>[0-9]{1,6})\]|\["(?P<quoted>[^"]*)"\]')


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands."""

    source: str
    """The file as the user named it, or ``--set spec.rounds``."""
    line: int | None = None
    text: str | None = None
    """A scalar as it is written there."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Examples
    --------
    >>> str(Problem("job.yaml", 9, "spec.rounds", "0 is out of range; allowed: a whole number from 1 to 100000"))
    'job.yaml:9: spec.rounds: 0 is out of range; allowed: a whole number from 1 to 100000'
    """

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = str(Place(self.file, self.line))
        # An override names its field by itself.
        named = not self.field or place == f"--set {self.field}"
        return _printable(f"{place}: {self.message}" if named else f"{place}: {self.field}: {self.message}")


class InvalidJob(Exception):  # noqa: N818 - says what is invalid; the problems are the news
    """The job cannot be used. Nothing was started, and a restart would not help.

    Parameters
    ----------
    problems : sequence of Problem
        All that is wrong; they are brought into the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _printable(text: str) -> str:
    """Return one line that a terminal shows as it is: names and values are anybody's, and may hold its control sequences."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def show_field(field: FieldPath) -> str:
    """Return a field as people write it.

    Examples
    --------
    >>> show_field(("spec", "workers", "data", 0, "nodeSelector", "kubernetes.io/hostname"))
    'spec.workers.data[0].nodeSelector["kubernetes.io/hostname"]'
    """
    shown = ""
    for step in field:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            shown += f".{step}" if shown else step
        else:
            shown += f'["{step}"]'
    return shown


def parse_field(text: str) -> FieldPath:
    """Return the field that `show_field` shows as ``text``.

    Raises
    ------
    ValueError
        It is no field.
    """
    steps: list[str | int] = []
    end = 0
    while end < len(text):
        match = _STEP.match(text, end)
        if match is None:
            break
        steps.append(int(match["position"]) if match["position"] else match["name"] or match["quoted"] or "")
        end = match.end()
    if not steps or end < len(text):
        raise ValueError(f'"{text}" is no field; write for example spec.quorum.percent')
    return tuple(steps)
