"""From pydantic's JSON schema to a structural schema, as the API server wants it.

A structural schema knows no references, no unions and no open objects but marked ones, and its defaults have to pass the rules of the
schema: an object's default is written in full, since CEL rules run on it when the CRD is stored and find no key in ``{}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

__all__ = ["Schema", "structural"]

Schema: TypeAlias = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
)
"""Keywords that mean the same in both, in the order in which they are written. The rest is translated or left out (titles, say)."""
_RULES = "x-kubernetes-validations"
_KEYS = "x-kubernetes-list-map-keys"


def structural(model: type[BaseModel], *, defaults: bool) -> Schema:
    """Return the structural schema of a model.

    Parameters
    ----------
    model : type
        A pydantic model.
    defaults : bool
        Whether the API server is to fill in what is not set. It must not for a status: what is left out there is not known.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _translated(schema, schema.get("$defs", {}), defaults=defaults)


def _translated(schema: Mapping[str, Any], definitions: Mapping[str, Schema], *, defaults: bool) -> Schema:
    found = _resolved(schema, definitions)
    made: Schema = {key: found[key] for key in _KEPT if key in found}
    if "const" in found:
        made |= {"type": "string", "enum": [found["const"]]}
    if "default" in made:
        made["default"] = _without_nulls(made["default"])
        if not defaults or schema.get("default") is None:
            del made["default"]
    if "properties" in found:
        made["properties"] = {name: _translated(below, definitions, defaults=defaults) for name, below in found["properties"].items()}
        required = [name for name in found.get("required", []) if name in made["properties"]]
        if required:
            made["required"] = required
    elif found.get("type") == "object":
        values = found.get("additionalProperties", True)
        if isinstance(values, bool):
            made["x-kubernetes-preserve-unknown-fields"] = True
        else:
            made["additionalProperties"] = _translated(values, definitions, defaults=defaults)
    if found.get("type") == "array":
        made["items"] = _translated(found["items"], definitions, defaults=defaults)
        # Atomic is what a list is anyway; said aloud, managedFields stay small by intention.
        made["x-kubernetes-list-type"] = "map" if _KEYS in found else "set" if found.get("uniqueItems") else "atomic"
    made |= {key: found[key] for key in (_KEYS, _RULES) if key in found}
    return made


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """Follow references and take the null out of unions; what stands beside a reference, a field's own description, wins."""
    found: Schema = dict(schema)
    while True:
        if "$ref" in found:
            target = definitions[found.pop("$ref").rpartition("/")[2]]
        elif "anyOf" in found:
            target = next(one for one in found.pop("anyOf") if one.get("type") != "null")
        else:
            return found
        found = {**target, **found}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(below) for name, below in value.items() if below is not None}
    return value
