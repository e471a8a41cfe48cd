"""How a user's template is laid over our defaults: as `kubectl apply` would, by the keys that Kubernetes merges lists by.

Maps are merged by key, and the user's value wins; lists with a merge key by that key, ours first; all other lists are replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["overlay"]

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("name",),
    "imagePullSecrets": ("name",),
    "tolerations": ("key", "effect"),
}
"""By the name of the list."""
_DEEP = {"containers", "initContainers"}
"""Lists whose entries are laid over one another; elsewhere the user's entry takes the place of ours, since a volume, a variable or a
mount has one source, and two together would be refused."""


def overlay(default: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default with the user's values over it; neither is changed."""
    merged = dict(default)
    for name, value in user.items():
        ours = merged.get(name)
        if isinstance(ours, dict) and isinstance(value, dict) and not _replaces(ours, value):
            merged[name] = overlay(ours, value)
        elif isinstance(ours, list) and isinstance(value, list) and name in _MERGE_KEYS:
            merged[name] = _overlaid(ours, value, name)
        else:
            merged[name] = value
    return merged


def _replaces(ours: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Say whether a probe of another kind comes: a probe has one way to ask, and ours beside the user's would be refused."""
    kinds = {"httpGet", "exec", "tcpSocket", "grpc"}
    return bool(kinds & ours.keys()) and bool(kinds & value.keys()) and not kinds & ours.keys() & value.keys()


def _overlaid(ours: Sequence[Any], users: Sequence[Any], name: str) -> list[Any]:
    keys = _MERGE_KEYS[name]
    merged = list(ours)
    places = {_key(one, keys): place for place, one in enumerate(merged)}
    for one in users:
        place = places.setdefault(_key(one, keys), len(merged))
        if place == len(merged):
            merged.append(one)
        elif name in _DEEP and isinstance(one, dict):
            merged[place] = overlay(merged[place], one)
        else:
            merged[place] = one
    return merged


def _key(one: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(one.get(key) for key in keys) if isinstance(one, dict) else (repr(one),)
