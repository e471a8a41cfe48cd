"""How a process reads its options: flags, then ``FEDCORE_*`` variables, then defaults. Field ``x`` is ``--x`` and ``FEDCORE_X``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["InvalidOptions", "ProcessOptions"]


class InvalidOptions(ValueError):  # noqa: N818 - an answer to the user
    """Options that cannot work; the message has one line per problem."""


class ProcessOptions(BaseModel):
    """Options of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    VARIABLES: ClassVar[dict[str, str]] = {}
    """Variables whose name is not the field's own."""

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable of an option."""
        return cls.VARIABLES.get(field, f"FEDCORE_{field.upper()}")

    @classmethod
    def read(cls, environment: Mapping[str, str], given: Mapping[str, Any] | None = None) -> Self:
        """Build the options from given values and, where they are missing or None, from the environment.

        Raises
        ------
        InvalidOptions
            Something is missing or wrong; all problems at once.
        """
        values: dict[str, Any] = {}
        for field in cls.model_fields:
            value = None if given is None else given.get(field)
            if value is None:
                value = environment.get(cls.variable(field)) or None
            if value is not None:
                values[field] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidOptions("\n".join(cls._problem(item) for item in error.errors())) from None

    @classmethod
    def _problem(cls, item: Mapping[str, Any]) -> str:
        message = str(item["msg"]).removeprefix("Value error, ")
        if not item["loc"]:
            return message
        field = str(item["loc"][0])
        name = f"--{field.replace('_', '-')} (or {cls.variable(field)})"
        return f"{name} is required" if item["type"] == "missing" else f"{name}: {message}, got {item['input']!r}"
