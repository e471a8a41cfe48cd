"""A job as YAML: every default written out, and on request where each value came from."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from fedcore.jobfile.draft import plain_type
from fedcore.jobfile.load import check_draft, read_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fedcore.jobfile.draft import Draft
    from fedcore.jobfile.problems import FieldPath
    from fedcore.spec import FederatedJob

__all__ = ["dump_job", "resolved", "resolved_yaml"]

_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./@-]*(:[A-Za-z0-9_./@-]+)*")
"""Texts that need no quotes in any YAML."""

_UNSAFE = re.compile("[\\x7f-\\xa0\\u2028\\u2029\\ufeff\\ufffe\\uffff]")
"""What JSON leaves as it is in a text and YAML does not. All else stays: not every YAML reader joins the halves ``\\ud83d\\ude00``."""


def dump_job(job: FederatedJob) -> str:
    """Return the job as YAML with every default; reading it gives an equal job.

    Only ``spec.security`` stays out unless the job sets it: for a local run "not set" means no TLS, and the default written out would ask
    for it.
    """
    data = job.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"status"})
    if "security" not in job.spec.model_fields_set:
        del data["spec"]["security"]
    return "\n".join(_lines(data, (), _uncommented)) + "\n"


def resolved(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> str:
    """Return a job file as YAML with every default, and at each value a comment that says where it came from.

    Raises
    ------
    InvalidJob
        All that is wrong.
    """
    draft = read_job(path, overrides)
    return resolved_yaml(draft, check_draft(draft))


def resolved_yaml(draft: Draft, job: FederatedJob) -> str:
    """Return what `resolved` returns for a file that was read and checked before."""

    def origin(field: FieldPath) -> str:
        place = draft.places.get(field)
        if place is None:
            return "  # default"
        return "  # --set" if place.source.startswith("--set ") else f"  # {place}"

    data = job.model_dump(mode="json", by_alias=True, exclude={"status"})
    return "\n".join(_lines(_without_unset(data, (), draft.places.keys()), (), origin)) + "\n"


def _uncommented(_field: FieldPath) -> str:
    return ""


def _without_unset(value: Any, path: FieldPath, given: Any) -> Any:
    """Drop the fields that are not set; a null that the file has inside a template stays."""
    if isinstance(value, dict):
        return {
            name: _without_unset(below, (*path, name), given)
            for name, below in value.items()
            if below is not None or (*path, name) in given
        }
    return value


def _lines(value: Any, path: FieldPath, comment: Callable[[FieldPath], str]) -> Iterator[str]:
    """Give the lines of a mapping or a list, each leaf with its comment."""
    entries = enumerate(value) if isinstance(value, list) else value.items()
    for name, below in entries:
        field = (*path, name)
        head = "-" if isinstance(name, int) else f"{_scalar(name)}:"
        if not _is_nested(below):
            yield f"{head} {_leaf(below)}{comment(field)}"
            continue
        lines = _lines(below, field, comment)
        if isinstance(name, int):
            yield f"- {next(lines)}"
        else:
            yield head
        yield from (f"  {line}" for line in lines)


def _is_nested(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, dict | list) for item in value)
    return isinstance(value, dict) and bool(value)


def _leaf(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    return "{}" if value == {} else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and plain_type(value) == "str" and value.casefold() not in {"y", "n"}
        return value if is_plain else _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
    if isinstance(value, float):
        # YAML 1.1 takes 1e-05 for text, 1.0e-05 for a number.
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return json.dumps(value)
