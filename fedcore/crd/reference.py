"""The field reference, docs/crd.md, made of the same schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fedcore.crd.definition import definition
from fedcore.jobfile.schema import allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcore.crd.structural import Schema

__all__ = ["reference"]

_HEAD = """# FederatedJob, field by field

Made by `fedcore crd --reference` from the models in `fedcore/spec`; `make crd` writes it anew. `kubectl explain fj.spec` says the same.
Unknown fields and values out of bounds are refused at `kubectl apply`.
"""


def reference() -> str:
    """Return the page as Markdown."""
    (version,) = definition()["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    parts = [
        _HEAD,
        "## spec\n",
        _table(spec, with_default=True),
        "## Rules over several fields\n",
        "\n".join(f"- {place}: {message}" for place, message in _messages(schema, "job")),
        "\n## status\n",
        "Written by the operator. What is not known is left out.\n",
        _table(status, with_default=False),
    ]
    return "\n".join(parts)


def _table(schema: Schema, *, with_default: bool) -> str:
    head = ("field", "allowed", "default", "meaning") if with_default else ("field", "type", "meaning")
    lines = [_row(head), _row(tuple("---" for _ in head))]
    for path, field, required in _fields(schema, ""):
        cells = [f"`{path}`", _kind(field)]
        if with_default:
            cells.append("required" if required else _default(field))
        cells.append(" ".join(field.get("description", "").replace("``", "`").split()))
        lines.append(_row(tuple(cells)))
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _fields(schema: Schema, prefix: str) -> Iterator[tuple[str, Schema, bool]]:
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        shown = f"{path}[]" if field.get("type") == "array" and "properties" in field["items"] else path
        yield shown, field, name in schema.get("required", [])
        below = field["items"] if field.get("type") == "array" else field
        yield from _fields(below, f"{shown}.")


def _kind(field: Schema) -> str:
    if field.get("x-kubernetes-preserve-unknown-fields"):
        return "an object of Kubernetes"
    if "properties" in field:
        return "a mapping"
    if field.get("type") == "array" and "properties" in field["items"]:
        return f"a list: at most {field['maxItems']}"
    if field.get("format") == "date-time":
        return "a time"
    return allowed(field)


def _default(field: Schema) -> str:
    default = field.get("default")
    return "-" if default is None or "properties" in field else f"`{json.dumps(default)}`"


def _messages(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for one in schema.get("x-kubernetes-validations", []):
        yield path, one["message"]
    for name, field in schema.get("properties", {}).items():
        place = name if path == "job" else f"{path}.{name}"
        yield from _messages(field, place)
        if field.get("type") == "array":
            yield from _messages(field["items"], f"{place}[]")
