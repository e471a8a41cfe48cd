"""What the watches have brought: jobs and their pods, without what no decision looks at.

An event may be lost and nobody says so; hence each key is primed by a live read before its first pass and again from time to time. What
such a read finds and no event has brought within two minutes is a missed event: the process has to start anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fedcore_operator.api.names import JOB, JOB_INPUT, PLURAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Cache", "Key", "slim_pod"]

Raw = dict[str, Any]
_MISSED_SECONDS = 120.0


class Key(NamedTuple):
    """A job by its place."""

    namespace: str
    name: str


@dataclass(slots=True)
class _Awaited:
    """What a read has found and an event has to bring."""

    resource: str
    version: int
    until: float
    is_missed: bool = False


def slim_pod(raw: Mapping[str, Any]) -> Raw:
    """Return what is looked at of a pod: a tenth of it."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "labels", "ownerReferences")
    told = (metadata.get("annotations") or {}).get(JOB_INPUT)
    return {
        "metadata": {
            **{name: metadata[name] for name in kept if name in metadata},
            **({"annotations": {JOB_INPUT: told}} if told is not None else {}),
        },
        "status": {
            name: status[name]
            for name in ("phase", "reason", "message", "podIP", "conditions", "containerStatuses")
            if status.get(name) is not None
        },
    }


class Cache:
    """Jobs and pods by key. An older state of an object never replaces a newer one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: dict[Key, Raw] = {}
        self._pods: dict[Key, dict[str, Raw]] = {}
        self._primed: set[Key] = set()
        self._buried: dict[Key, set[str]] = {}
        self._awaited: dict[str, _Awaited] = {}
        self.missed_so_far = dict.fromkeys((PLURAL, "pods"), 0)
        """Events that had not come when they should have, by resource; whether they came later does not matter."""

    def keys(self) -> tuple[Key, ...]:
        """Return all jobs that are known."""
        return tuple(self._jobs)

    def job(self, key: Key) -> Raw | None:
        """Return a job."""
        return self._jobs.get(key)

    def pods(self, key: Key) -> tuple[Raw, ...]:
        """Return the pods that bear a job's label."""
        return tuple(self._pods.get(key, {}).values())

    def is_primed(self, key: Key) -> bool:
        """Say whether a key was primed since it became known."""
        return key in self._primed

    def hear_job(self, kind: str | None, raw: Mapping[str, Any]) -> Key | None:
        """Take a watch event of a job; None if it says nothing new, as after each status that we write."""
        key, uid = _key(raw, raw["metadata"]["name"]), raw["metadata"]["uid"]
        held = self._jobs.get(key)
        same = held is not None and held["metadata"]["uid"] == uid
        self._arrived(raw)
        if kind == "DELETED":
            if same:
                self.forget(key)
            return key
        self.keep_job(raw)
        return None if same and held is not None and _version(raw) <= _version(held) else key

    def hear_pod(self, kind: str | None, raw: Mapping[str, Any]) -> Key | None:
        """Take a watch event of a pod; None if there is no job for it to matter to.

        A pod may be heard of before its job, whose own event will lead to it; and after it, while garbage collection takes it away.
        """
        name = (raw["metadata"].get("labels") or {}).get(JOB)
        if not name:
            return None
        key, uid = _key(raw, name), raw["metadata"]["uid"]
        self._arrived(raw)
        if kind != "DELETED":
            self.keep_pod(key, raw)
            return key if key in self._jobs else None
        self._pods.get(key, {}).pop(uid, None)
        if key in self._jobs:
            self._buried.setdefault(key, set()).add(uid)
            return key
        if not self._pods.get(key):
            self._pods.pop(key, None)
        return None

    def keep_job(self, raw: Mapping[str, Any]) -> None:
        """Take a job that a call returned."""
        key = _key(raw, raw["metadata"]["name"])
        held = self._jobs.get(key)
        if held is None or held["metadata"]["uid"] != raw["metadata"]["uid"] or _version(raw) >= _version(held):
            metadata = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
            self._jobs[key] = {**raw, "metadata": metadata}

    def keep_pod(self, key: Key, raw: Mapping[str, Any]) -> None:
        """Take a pod that a call returned; not one that is known to be gone."""
        uid = raw["metadata"]["uid"]
        pods = self._pods.setdefault(key, {})
        if uid not in self._buried.get(key, ()) and (uid not in pods or _version(raw) >= _version(pods[uid])):
            pods[uid] = slim_pod(raw)

    def prime(self, key: Key, job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> None:
        """Take a job that was read, and its pods that were read after it."""
        first, before, known = key not in self._primed, self._pods.get(key, {}), self._jobs.get(key)
        if not first and (known is None or _version(job) > _version(known)):
            self._await(PLURAL, job)
        self.keep_job(job)
        buried = self._buried.pop(key, set())
        found = {raw["metadata"]["uid"]: raw for raw in pods}
        self._pods[key] = {}
        for uid, raw in found.items():
            if uid in buried:  # it went while the answer was on its way
                continue
            held = before.get(uid)
            newer = held is None or _version(raw) > _version(held)
            self._pods[key][uid] = slim_pod(raw) if newer or held is None else held
            if newer and not first:
                self._await("pods", raw)
        self._primed.add(key)

    def forget(self, key: Key) -> None:
        """Drop all of a job that is gone."""
        job = self._jobs.get(key)
        for raw in (*self._pods.pop(key, {}).values(), *(() if job is None else (job,))):
            self._awaited.pop(raw["metadata"]["uid"], None)
        for known in (self._jobs, self._buried):
            known.pop(key, None)
        self._primed.discard(key)

    def missed(self) -> int:
        """Return how many events should have come long ago. A scrape asks from its thread, so events may come meanwhile."""
        now, awaited = self._clock(), tuple(self._awaited.values())
        for one in awaited:
            if one.until < now and not one.is_missed:
                one.is_missed = True
                self.missed_so_far[one.resource] += 1
        return sum(one.is_missed for one in awaited)

    def _await(self, resource: str, raw: Mapping[str, Any]) -> None:
        self._awaited[raw["metadata"]["uid"]] = _Awaited(resource, _version(raw), self._clock() + _MISSED_SECONDS)

    def _arrived(self, raw: Mapping[str, Any]) -> None:
        awaited = self._awaited.get(raw["metadata"]["uid"])
        if awaited is not None and _version(raw) >= awaited.version:
            del self._awaited[raw["metadata"]["uid"]]


def _key(raw: Mapping[str, Any], name: str) -> Key:
    return Key(raw["metadata"]["namespace"], name)


def _version(raw: Mapping[str, Any]) -> int:
    text = raw["metadata"].get("resourceVersion", "")
    return int(text) if text.isdigit() else 0
