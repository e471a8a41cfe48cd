"""``workers.data``: which worker sits where and mounts what. Index ranges, and what two entries must not both say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DataEntry", "contradictions", "parse_indexes"]

_VOLUME_KINDS = ("csi", "nfs", "ephemeral", "image", "configMap", "secret")


def parse_indexes(text: str) -> frozenset[int]:
    """Return the indexes that ``0-3,7`` stands for.

    Raises
    ------
    ValueError
        Not of that form, or a range that goes down.
    """
    indexes: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if match is None:
            raise ValueError(f'"{part}" is no index or range; write for example "0-3,7"')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f'the range "{part.strip()}" goes down')
        indexes.update(range(first, last + 1))
    return frozenset(indexes)


def _indexes(value: str) -> str:
    parse_indexes(value)
    return value


def _one_volume(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) != 1 or next(iter(value)) not in _VOLUME_KINDS:
        raise ValueError(f"needs exactly one of {', '.join(_VOLUME_KINDS)}")
    return value


class DataEntry(BaseModel):
    """Data and place of some workers; all entries that match an index apply to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True)

    indexes: Annotated[str, Field(max_length=256), AfterValidator(_indexes)]
    """Which workers, for example ``0-3,7``."""
    claim_name: str | None = Field(None, max_length=253)
    """A PersistentVolumeClaim; ``{index}`` in it stands for the worker's index."""
    volume: Annotated[dict[str, Any], AfterValidator(_one_volume)] | None = None
    """A volume source: exactly one of csi, nfs, ephemeral, image, configMap, secret."""
    mount_path: str | None = Field(None, max_length=512, pattern="^/")
    """Where the worker finds it."""
    read_only: bool = True
    node_selector: dict[str, str] = Field(default_factory=dict, max_length=32)
    """Labels of the node that has the data."""
    resources: dict[str, Any] | None = None
    """Requests and limits of these workers."""

    @model_validator(mode="after")
    def _mounted(self) -> Self:
        if self.claim_name is not None and self.volume is not None:
            raise ValueError("claimName and volume exclude each other")
        if (self.claim_name is not None or self.volume is not None) != (self.mount_path is not None):
            raise ValueError("mountPath belongs to claimName or volume: set both or neither")
        return self


def contradictions(entries: Sequence[DataEntry]) -> list[str]:
    """Return what two entries say of one index that cannot both hold."""
    problems: list[str] = []
    for place, entry in enumerate(entries):
        for other_place, other in enumerate(entries[:place]):
            shared = parse_indexes(entry.indexes) & parse_indexes(other.indexes)
            if not shared:
                continue
            who = f"data[{other_place}] and data[{place}] both match index {min(shared)}"
            if entry.mount_path is not None and entry.mount_path == other.mount_path:
                problems.append(f"{who} and mount two volumes at {entry.mount_path}")
            for label in entry.node_selector.keys() & other.node_selector.keys():
                if entry.node_selector[label] != other.node_selector[label]:
                    problems.append(f"{who} and want {label} to be both {other.node_selector[label]} and {entry.node_selector[label]}")
    return problems
