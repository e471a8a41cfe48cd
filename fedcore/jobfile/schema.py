"""What the models allow, in words, and the names that were probably meant.

The models' JSON schema is the one description of every field; messages are made from it, so that a new field has its own from the start.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from fedcore.jobfile.problems import FieldPath, show_field
from fedcore.spec import FederatedJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Schema", "allowed", "at", "fields", "is_text", "kind", "meant", "misplaced"]

Schema: TypeAlias = dict[str, Any]


@cache
def _root() -> Schema:
    return FederatedJob.model_json_schema(by_alias=True)


def _plain(schema: Schema) -> Schema:
    """Return a schema without references and without the null that stands for "not set"."""
    while True:
        if "$ref" in schema:
            schema = _root()["$defs"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
        else:
            return schema


def at(path: FieldPath) -> Schema:
    """Return the schema of a field; empty for what the models leave open, such as pod templates, and for what they do not know."""
    schema = _plain(_root())
    for step in path:
        below = schema.get("items") if isinstance(step, int) else fields(schema).get(step, schema.get("additionalProperties"))
        if not isinstance(below, dict):
            return {}
        schema = _plain(below)
    return schema


def fields(schema: Schema) -> dict[str, Schema]:
    """Return the fields that a mapping has by name."""
    properties: dict[str, Schema] = schema.get("properties", {})
    return properties


def is_text(path: FieldPath) -> bool:
    """Say whether a field is text, whatever the word looks like."""
    return at(path).get("type") == "string"


def kind(schema: Schema) -> str:
    """Return the JSON type that a schema wants, empty if any."""
    return str(schema.get("type", ""))


def allowed(schema: Schema) -> str:
    """Return what a schema allows, as a phrase.

    Examples
    --------
    >>> allowed({"type": "integer", "minimum": 1, "maximum": 100})
    'a whole number from 1 to 100'
    """
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    match kind(schema):
        case "integer":
            return f"a whole number{_bounds(schema)}"
        case "number":
            return f"a number{_bounds(schema)}"
        case "boolean":
            return "true or false"
        case "string":
            most = schema.get("maxLength")
            return "text" if most is None else f"text of at most {most} characters"
        case "array":
            most = f"at most {schema['maxItems']}, each " if "maxItems" in schema else ""
            return f"a list: {most}{allowed(_plain(schema.get('items', {})))}"
        case "object" if "properties" in schema:
            return f"a mapping with {', '.join(fields(schema))}"
        case "object":
            values = schema.get("additionalProperties")
            most = f", at most {schema['maxProperties']}" if "maxProperties" in schema else ""
            return f"a mapping of names{most}" + (f", each to {allowed(_plain(values))}" if isinstance(values, dict) else "")
        case _:
            return "anything"


def meant(word: str, words: Sequence[str]) -> str | None:
    """Return the one of ``words`` that was probably meant, also when it is written in another_style."""
    by_folded = {_folded(one): one for one in words}
    near = difflib.get_close_matches(_folded(word), list(by_folded), n=1, cutoff=0.7)
    return by_folded[near[0]] if near else None


def misplaced(word: str) -> str | None:
    """Return the only field of that name, for one that stands in the wrong mapping: a slip of indentation."""
    places = [path for path in _all_fields(_root(), ()) if path[-1] == word]
    return show_field(places[0]) if len(places) == 1 else None


def _all_fields(schema: Schema, path: FieldPath) -> Iterator[FieldPath]:
    for name, below in fields(schema).items():
        yield (*path, name)
        yield from _all_fields(_plain(below), (*path, name))


def _folded(word: str) -> str:
    return word.replace("_", "").replace("-", "").casefold()


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return "" if least is None else f" from {least} on"
