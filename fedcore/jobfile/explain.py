"""pydantic's findings, in words for people who write job files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fedcore.jobfile import schema
from fedcore.jobfile.draft import plain_type
from fedcore.jobfile.problems import parse_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from fedcore.jobfile.draft import Draft
    from fedcore.jobfile.problems import FieldPath

__all__ = ["explain", "show_value"]

_SHOWN = 60
"""Characters of a value that are shown."""


def explain(error: ErrorDetails, draft: Draft) -> Iterator[tuple[FieldPath, str]]:
    """Return each field that an error is about, with what is wrong and what is allowed."""
    path: FieldPath = error["loc"]
    context = error.get("ctx", {})
    if error["type"] == "broken_rule":
        for field, message in context["problems"]:
            yield (*path, *parse_field(field)), message
    elif error["type"] == "value_error":
        yield path, str(context["error"])
    elif path[-1:] == ("[key]",):
        length = len(str(error["input"]))
        yield path[:-1], f"the name has {length} characters; allowed: 1 to {context['max_length']}" if length else "an empty name"
    else:
        place = draft.places.get(path)
        yield path, _message(error["type"], error["input"], schema.at(path), None if place is None else place.text) or error["msg"]


def show_value(value: Any, text: str | None = None) -> str:
    """Return a value as people write it, cut when it is long; a scalar that is no text as it was written."""
    shown = text if text is not None and not isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def _message(error_type: str, value: Any, wanted: schema.Schema, text: str | None) -> str | None:
    allowed = schema.allowed(wanted)
    match error_type:
        case "missing":
            return f"missing; allowed: {allowed}"
        case "greater_than_equal" | "less_than_equal":
            return f"{show_value(value, text)} is out of range; allowed: {allowed}"
        case "string_too_long":
            return f"{len(value)} characters long; allowed: {allowed}"
        case "string_too_short":
            return f"empty; allowed: {allowed}"
        case "too_long":
            return f"{len(value)} entries; allowed: {allowed}"
        case "literal_error" if isinstance(value, str):
            words = wanted.get("enum") or [wanted.get("const", "")]
            near = schema.meant(value, words)
            hint = f', did you mean "{near}"? allowed' if near else "; allowed"
            return f"{show_value(value)} is unknown{hint}: {allowed}"
        case _ if error_type == "literal_error" or error_type.endswith("_type"):
            return _wrong_type(value, wanted, text)
        case _:
            return None


def _wrong_type(value: Any, wanted: schema.Schema, text: str | None) -> str:
    shown, allowed, kind = show_value(value, text), schema.allowed(wanted), schema.kind(wanted)
    hint = ""
    if value is None:
        found = "empty"
    elif isinstance(value, dict | list):
        found = "a mapping" if isinstance(value, dict) else "a list"
    elif isinstance(value, str):
        found = f"{shown} is text"
        hint = ", without quotes" if kind in {"integer", "number"} and plain_type(value) in {"int", "float"} else ""
    elif isinstance(value, float) and kind == "integer":
        found = f"{shown} is not a whole number"
    else:
        is_what = ("true" if value else "false") if isinstance(value, bool) else "a number"
        found = f"{shown} is read as {is_what}" if kind == "string" and shown != is_what else f"{shown} is not {_noun(wanted)}"
        hint = f', so write it in quotes: "{shown}"' if kind == "string" and "enum" not in wanted else ""
    return f"{found}; allowed: {allowed}{hint}"


def _noun(wanted: schema.Schema) -> str:
    nouns = {
        "string": "text",
        "integer": "a number",
        "number": "a number",
        "array": "a list",
        "object": "a mapping",
        "boolean": "true or false",
    }
    return nouns.get(schema.kind(wanted), "allowed")
