"""``--set spec.quorum.percent=100``: values of the command line laid over a job file's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.jobfile import schema
from fedcore.jobfile.draft import Draft, compose, read_node
from fedcore.jobfile.problems import FieldPath, InvalidJob, Place, Problem, parse_field, show_field

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["apply"]


def apply(draft: Draft, overrides: Sequence[tuple[str, str]]) -> None:
    """Lay overrides over a draft, the last one of a field wins. What is wrong with them becomes the draft's problems."""
    for name, text in overrides:
        try:
            path = parse_field(name)
        except ValueError as error:
            draft.problems.append(Problem(f"--set {name}", None, "", str(error)))
            continue
        source = f"--set {show_field(path)}"
        _forget(draft, path)
        try:
            value = text if schema.is_text(path) else _value(draft, text, path, source)
        except InvalidJob as error:
            draft.add(path, error.problems[0].message, Place(source))
            continue
        draft.places[path] = Place(source, None, text)
        wrong = _put(draft, path, value)
        if wrong is not None:
            draft.add(path, wrong, Place(source))


def _forget(draft: Draft, path: FieldPath) -> None:
    """Drop what the file said there, and what was wrong with it."""
    for old in [place for place in draft.places if place[: len(path)] == path]:
        del draft.places[old]
    replaced = {show_field(old) for old in draft.broken if old[: len(path)] == path}
    draft.broken = {old for old in draft.broken if old[: len(path)] != path}
    draft.problems = [problem for problem in draft.problems if problem.field not in replaced]


def _value(draft: Draft, text: str, path: FieldPath, source: str) -> Any:
    node = compose(text, source)
    return None if node is None else read_node(draft, node, path, override=source)


def _put(draft: Draft, path: FieldPath, value: Any) -> str | None:
    """Put a value into the data, with the mappings on the way to it; return what stands in the way."""
    if draft.data is None:
        draft.data = {}
    around: Any = draft.data
    for depth, step in enumerate(path):
        if isinstance(step, str) and isinstance(around, dict):
            last, below = None, around.get(step)
        elif isinstance(step, int) and isinstance(around, list) and step <= len(around):
            around.extend([None] * (step == len(around)))
            last, below = None, around[step]
        else:
            last, below = show_field(path[:depth]) or "the job", None
        if last is not None:
            has = f"a list of {len(around)}" if isinstance(around, list) else "no list" if isinstance(step, int) else "no mapping"
            return f"{last} is {has}, so nothing can be set there"
        if depth == len(path) - 1:
            around[step] = value
        elif below is None:
            around[step] = [] if isinstance(path[depth + 1], int) else {}
        around = around[step]
    return None
