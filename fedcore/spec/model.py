"""What all models of the FederatedJob share: how they parse, and how a rule over several fields is said twice.

A rule is said to people by a validator (`broken`), with the field to look at, and to the API server in CEL (`rule`), which refuses the
job at `kubectl apply`. Both stand in the same model.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

__all__ = ["WEEK", "YEAR", "Image", "Model", "Name", "broken", "rule", "rules"]

WEEK = 604_800
YEAR = 31_536_000

Name = Annotated[str, Field(min_length=1, max_length=64)]
Image = Annotated[str, Field(min_length=1, max_length=512)]


def broken(*problems: tuple[str, str]) -> PydanticCustomError:
    """Return the error of a rule over several fields: for each problem the path below the model of the field to look at, and a sentence."""
    return PydanticCustomError("broken_rule", "{text}", {"text": "; ".join(text for _, text in problems), "problems": problems})


def rule(expression: str, message: str) -> dict[str, str]:
    """Return a CEL rule as the CRD has it."""
    return {"rule": expression, "message": message}


def rules(*all_rules: dict[str, str]) -> dict[str, Any]:
    """Return what a model's ``json_schema_extra`` has to be for the API server to apply these rules to it."""
    return {"x-kubernetes-validations": [*all_rules]}


class Model(BaseModel):
    """Frozen, strict about names, camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
