"""Times of the Kubernetes API: UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, PlainSerializer, TypeAdapter

__all__ = ["Time", "format_time", "parse_time"]


def format_time(moment: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


Time = Annotated[
    datetime,
    AfterValidator(_whole_seconds),
    PlainSerializer(format_time, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


def parse_time(text: str) -> datetime:
    """Return the time that Kubernetes wrote, to the second."""
    return _TIME.validate_python(text)
