"""``workers.data``: which worker sits where and mounts what. Index ranges, and what two entries must not both say."""

from __future__ import annotations

import posixpath
import re
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from fedcore.spec.model import Model, rule, rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["DataEntry", "contradictions", "format_indexes", "parse_indexes"]

_VOLUME_KINDS = ("csi", "nfs", "ephemeral", "image", "configMap", "secret")


def parse_indexes(text: str) -> frozenset[int]:
    """Return the indexes that ``0-3,7`` stands for.

    Raises
    ------
    ValueError
        Not of that form, an index above 999 (a job has at most 1000 workers), or a range that goes down.
    """
    indexes: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r" *([0-9]{1,3})(?:-([0-9]{1,3}))? *", part)
        if match is None:
            raise ValueError(f'"{part.strip()}" is no index or range; allowed: indexes from 0 to 999, for example "0-3,7"')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f'the range "{part.strip()}" goes down; write "{last}-{first}"')
        indexes.update(range(first, last + 1))
    return frozenset(indexes)


def format_indexes(indexes: Iterable[int]) -> str:
    """Return the shortest text that `parse_indexes` reads back; empty for no index.

    Examples
    --------
    >>> format_indexes({0, 1, 2, 3, 7})
    '0-3,7'
    """
    ranges: list[tuple[int, int]] = []
    for index in sorted(set(indexes)):
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1] = (ranges[-1][0], index)
        else:
            ranges.append((index, index))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _indexes(value: str) -> str:
    parse_indexes(value)
    return value


def _one_volume(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) != 1 or next(iter(value)) not in _VOLUME_KINDS:
        raise ValueError(f"has {', '.join(map(str, value)) or 'nothing'}; allowed: exactly one of {', '.join(_VOLUME_KINDS)}")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f'"{value}" is no absolute path; allowed: a path that starts with "/"')
    return value


_OPEN_OBJECT = {"type": "object", "additionalProperties": True, "description": "A volume source, as in a pod of Kubernetes."}
_Label = Annotated[str, Field(min_length=1, max_length=317)]
"""A label's key: a domain of 253 characters, a slash, a name of 63."""


class DataEntry(Model):
    """Data and place of some workers; all entries that match an index apply to it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.claimName) && has(self.volume))", "claimName and volume exclude each other"),
            rule(
                "(has(self.claimName) || has(self.volume)) == has(self.mountPath)",
                "mountPath belongs to claimName or volume: set both or neither",
            ),
        )
    )

    indexes: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_indexes)]
    """Which workers, for example ``0-3,7``. Those above ``replicas`` wait for a scale-up."""
    claim_name: str | None = Field(None, min_length=1, max_length=253)
    """A PersistentVolumeClaim; ``{index}`` in it stands for the worker's index, so that each site has its own."""
    volume: (
        Annotated[
            dict[str, Any],
            Field(json_schema_extra={"properties": dict.fromkeys(_VOLUME_KINDS, _OPEN_OBJECT), "minProperties": 1, "maxProperties": 1}),
            AfterValidator(_one_volume),
        ]
        | None
    ) = None
    """A volume source: exactly one of csi, nfs, ephemeral, image, configMap, secret. A host's path is none of them on purpose."""
    mount_path: Annotated[str, Field(max_length=512, json_schema_extra={"pattern": "^/"}), AfterValidator(_absolute)] | None = None
    """Where the worker finds it, an absolute path."""
    read_only: bool = True
    """Mount it so that the worker cannot change it: training only reads."""
    node_selector: dict[_Label, Annotated[str, Field(max_length=63)]] = Field({}, max_length=32)
    """Labels of the node that has the data; seldom needed, since a local volume brings its node along."""
    resources: dict[str, Any] | None = None
    """Requests and limits of these workers; unset: those of the template."""

    @model_validator(mode="after")
    def _mounted(self) -> Self:
        if self.claim_name is not None and self.volume is not None:
            raise ValueError("claimName and volume exclude each other; leave out one of them")
        if (self.claim_name is not None or self.volume is not None) != (self.mount_path is not None):
            raise ValueError("mountPath belongs to claimName or volume: set both or neither")
        return self


def contradictions(entries: Sequence[DataEntry]) -> list[str]:
    """Return what two entries say of one index that cannot both hold."""
    problems: list[str] = []
    matched = [(place, entry, parse_indexes(entry.indexes)) for place, entry in enumerate(entries)]
    for (place, entry, indexes), (other_place, other, other_indexes) in combinations(matched, 2):
        shared = indexes & other_indexes
        if not shared:
            continue
        who = f"data[{place}] and data[{other_place}] both match index {min(shared)}"
        if entry.mount_path is not None and other.mount_path is not None and _same_place(entry.mount_path, other.mount_path):
            problems.append(f"{who} and mount two volumes at {entry.mount_path}")
        wanted, other_wanted = entry.node_selector, other.node_selector
        problems += [
            f"{who} and want {label} to be both {wanted[label]} and {other_wanted[label]}"
            for label in sorted(wanted.keys() & other_wanted.keys())
            if wanted[label] != other_wanted[label]
        ]
    return problems


def _same_place(path: str, other: str) -> bool:
    return posixpath.normpath(path) == posixpath.normpath(other)
