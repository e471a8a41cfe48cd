"""From a job file to a job, or to everything that is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fedcore.jobfile import overrides as overriding
from fedcore.jobfile import schema
from fedcore.jobfile.draft import Draft, compose, read_node
from fedcore.jobfile.explain import explain, show_value
from fedcore.jobfile.problems import InvalidJob, Problem
from fedcore.spec import API_VERSION, KIND, FederatedJob

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcore.jobfile.problems import FieldPath

__all__ = ["check_draft", "load_job", "parse_job", "read_job"]

_MOST_BYTES = 1 << 20
"""Largest job file; the API server's store takes little more than this for an object."""

_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
)
"""What `kubectl get -o yaml` may write below ``metadata`` beside the fields that the models know."""


def load_job(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> FederatedJob:
    """Read a job file, YAML or JSON.

    Parameters
    ----------
    path : Path
        The file.
    overrides : sequence of (str, str)
        Fields with the values that replace the file's: ``("spec.quorum.percent", "100")``. A value is read as YAML, except where the
        field is text.

    Raises
    ------
    InvalidJob
        All that is wrong.
    """
    return check_draft(read_job(path, overrides))


def parse_job(data: dict[str, Any], source: str) -> FederatedJob:
    """Check a job that was parsed elsewhere; ``source`` names it in problems.

    Raises
    ------
    InvalidJob
        All that is wrong.
    """
    return check_draft(Draft(source, data))


def read_job(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> Draft:
    """Read a job file without the job's rules.

    Raises
    ------
    InvalidJob
        It cannot be read at all.
    """
    source = str(path)
    node = compose(_read_text(path, source), source)
    draft = Draft(source)
    if node is not None:
        draft.data = read_node(draft, node, ())
    if isinstance(draft.data, dict):
        draft.data.pop("status", None)  # the operator's to write; a file made with `kubectl get -o yaml` has it
    overriding.apply(draft, overrides)
    return draft


def check_draft(draft: Draft) -> FederatedJob:
    """Return the job, if it is one.

    Raises
    ------
    InvalidJob
        All that is wrong with it.
    """
    _check_head(draft)
    data = _known(draft, draft.data, ())
    job = None
    try:
        # JSON and strict: the API server takes no "5" for 5 either.
        job = FederatedJob.model_validate_json(json.dumps(data, allow_nan=False), strict=True)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=True):
            if found["type"] == "broken_rule" and _holds_broken(draft, found["loc"]):
                continue  # a misspelled field has its default here, so that the rule may have been judged by a value that nobody gave
            for path, message in explain(found, draft):
                if not any(path[:length] in draft.broken for length in range(len(path) + 1)):
                    draft.add(path, message)
    except (TypeError, ValueError, RecursionError) as error:
        draft.add((), f"not made of names, texts, numbers, lists and mappings: {error}")
    if job is None or draft.problems:
        raise InvalidJob(draft.problems)
    return job


def _holds_broken(draft: Draft, path: FieldPath) -> bool:
    return any(broken[: len(path)] == path for broken in draft.broken)


def _check_head(draft: Draft) -> None:
    """Refuse what is no FederatedJob with one problem: all that follows would be noise."""
    data, hint = draft.data, f'allowed: a FederatedJob, which begins with "apiVersion: {API_VERSION}" and "kind: {KIND}"'
    if data is None or data == {}:
        raise InvalidJob([Problem(draft.source, None, "", f"empty; {hint}")])
    if not isinstance(data, dict):
        shown = "a list" if isinstance(data, list) else show_value(data, None)
        raise InvalidJob([Problem(draft.source, draft.place(()).line, "", f"{shown} is no job; {hint}")])
    version, kind = data.get("apiVersion"), data.get("kind")
    if version == API_VERSION and kind == KIND:
        return
    name, value, right = ("kind", kind, KIND) if kind != KIND else ("apiVersion", version, API_VERSION)
    place = draft.place((name,))
    if version != API_VERSION and kind != KIND:
        message = "no FederatedJob" if value is None else f"{show_value(value, place.text)} is no FederatedJob"
        message = f"{message}; {hint}"
    else:
        message = f"missing; allowed: {right}" if name not in data else f"{show_value(value, place.text)} is not known; allowed: {right}"
    raise InvalidJob([Problem(place.source, place.line, name, message)])


def _known(draft: Draft, value: Any, path: FieldPath) -> Any:
    """Return a value without the fields that the models do not know; they become problems, each with the name that was meant."""
    wanted = schema.at(path)
    if isinstance(value, list):
        return [_known(draft, item, (*path, position)) for position, item in enumerate(value)] if "items" in wanted else value
    if not isinstance(value, dict) or not schema.fields(wanted):
        return value
    known: dict[Any, Any] = {}
    extra = _METADATA if path == ("metadata",) else ()
    for name, below in value.items():
        if name in schema.fields(wanted):
            known[name] = _known(draft, below, (*path, name))
        elif name in extra:
            known[name] = below
        else:
            _refuse_field(draft, (*path, str(name)), value, [*schema.fields(wanted), *extra])
    return known


def _refuse_field(draft: Draft, path: FieldPath, siblings: dict[Any, Any], names: list[str]) -> None:
    names = [name for name in names if name != "status"]
    word = str(path[-1])
    near = schema.meant(word, names)
    if near is not None and near not in siblings:
        draft.broken.add((*path[:-1], near))  # "missing" would be said of the same slip
    near = near or schema.misplaced(word)
    hint = f', did you mean "{near}"? allowed' if near else "; allowed"
    draft.add(path, f"unknown field{hint}: {', '.join(names)}")


def _read_text(path: Path, source: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise InvalidJob([Problem(source, None, "", "no such file")]) from None
    except IsADirectoryError:
        raise InvalidJob([Problem(source, None, "", "a folder, not a file")]) from None
    except (OSError, ValueError) as error:
        raise InvalidJob([Problem(source, None, "", f"cannot be read: {getattr(error, 'strerror', None) or error}")]) from None
    if len(content) > _MOST_BYTES:
        raise InvalidJob([Problem(source, None, "", f"larger than {_MOST_BYTES >> 20} MiB; no job is that large")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidJob([Problem(source, line, "", "not UTF-8 text")]) from None
    # A tab in JSON is a space between tokens, never part of a text; YAML takes none there.
    return text.replace("\t", " ") if path.suffix == ".json" else text
