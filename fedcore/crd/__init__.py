"""The CustomResourceDefinition, made of the models, and its reference page."""

from __future__ import annotations

from fedcore.crd.definition import definition, definition_yaml
from fedcore.crd.reference import reference

__all__ = ["definition", "definition_yaml", "reference"]
