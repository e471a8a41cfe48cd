"""Where a job comes from: read once, or followed until the caller has enough."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, fields
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from fedcore.cli.fedjob.scene import Scene, set_scene
from fedcore.cli.fedjob.trouble import USAGE, ApiTrouble, Trouble

if TYPE_CHECKING:
    from fedcore.cli.fedjob.http import Http

__all__ = ["Follower", "Source"]

_WATCH_SECONDS = 300
"""The server ends a watch after this long, and it begins anew with a list: whatever was missed is seen then at the latest."""
_SILENCE_SECONDS = _WATCH_SECONDS + 30.0
_BACKOFF_SECONDS = (0.5, 8.0)
_NAMES = 12
_FORBIDDEN = 403

Objects = dict[str, dict[str, Any]]
"""By uid."""


@dataclass(slots=True)
class _Known:
    """Objects of the three kinds."""

    jobs: Objects = field(default_factory=dict)
    pods: Objects = field(default_factory=dict)
    events: Objects = field(default_factory=dict)


class Source:
    """A job of a namespace, by name.

    Parameters
    ----------
    http : Http
        The cluster.
    namespace, name : str
        The job's.
    """

    def __init__(self, http: Http, namespace: str, name: str) -> None:
        self.http = http
        self.namespace = namespace
        self.name = name
        self.hidden: list[str] = []
        """Sentences on what the user may not see."""

    def paths(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Return path and query of each kind of object."""
        core = f"/api/v1/namespaces/{self.namespace}"
        return {
            "jobs": (jobs_path(self.namespace), {"fieldSelector": f"metadata.name={self.name}"}),
            "pods": (f"{core}/pods", {"labelSelector": f"fedcore.dev/job={self.name}"}),
            "events": (f"{core}/events", {"fieldSelector": f"involvedObject.name={self.name}"}),
        }

    def read(self) -> Scene:
        """Return what is known of the job now.

        Raises
        ------
        Trouble
            No such job, no such kind, no access, no answer.
        """
        job = self._job()
        pods = self._optional("pods", self.paths()["pods"][1])
        events = self._optional("events", {})  # of the pods too, and those have other names
        return set_scene(job, pods, events)

    def _job(self) -> dict[str, Any]:
        try:
            return self.http.get(f"{jobs_path(self.namespace)}/{self.name}")
        except ApiTrouble as trouble:
            if trouble.code != 404:
                raise
            if trouble.kind != "federatedjobs":
                missing = f"the cluster of context {self.http.context} knows no FederatedJobs"
                raise Trouble(f"{missing}: `helm install fedcore charts/fedcore` installs them", trouble.exit_code) from None
            raise Trouble(self._no_such_job(), USAGE) from None

    def _no_such_job(self) -> str:
        try:
            names = [item["metadata"]["name"] for item in self.http.get(jobs_path(self.namespace)).get("items") or []]
        except ApiTrouble:
            names = []
        there = f"there are {', '.join(names[:_NAMES])}" if names else "there are none"
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        where = f"in namespace {self.namespace} of context {self.http.context}"
        return f'no FederatedJob "{self.name}" {where}; {there}{more}; -n names another namespace'

    def _optional(self, kind: str, query: dict[str, str]) -> list[dict[str, Any]]:
        try:
            return list(self.http.get(self.paths()[kind][0], **query).get("items") or [])
        except ApiTrouble as trouble:
            if trouble.code != _FORBIDDEN:
                raise
            self.hidden.append(f"{kind} are left out, {trouble}")
            return []


class Follower:
    """Keeps a job in view, in the background: lists each kind of object, watches it, and lists again when a watch ends.

    The threads end with the process: there is nothing to put away.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._changes: SimpleQueue[tuple[str, str, Any]] = SimpleQueue()
        self._known = _Known()
        self._listed: set[str] = set()
        self._last: dict[str, Any] | None = None
        self._stopped = threading.Event()
        self.trouble: ApiTrouble | None = None
        """Why the job cannot be seen at the moment."""
        self.gone = False
        """The job was deleted."""

    def start(self) -> None:
        """Begin."""
        for kind, (path, query) in self._source.paths().items():
            threading.Thread(target=self._follow, args=(kind, path, query), name=f"follow-{kind}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def wait(self, seconds: float) -> Scene | None:
        """Return what is known after the next change, at the latest after this long; None while not all was seen yet.

        Of a job that is gone that is how it stood last: with ``ttlSecondsAfterFinished: 0`` its end and its deletion come together.
        """
        try:
            self._take(*self._changes.get(timeout=seconds))
            while True:
                self._take(*self._changes.get_nowait())
        except Empty:
            pass
        job = next(iter(self._known.jobs.values()), self._last)
        self.gone = "jobs" in self._listed and not self._known.jobs
        if job is None or len(self._listed) < len(fields(_Known)):
            return None
        return set_scene(job, self._known.pods.values(), self._known.events.values())

    def _take(self, kind: str, change: str, what: Any) -> None:
        if change == "TROUBLE":
            if kind == "jobs":
                self.trouble = what
            return
        self._listed.add(kind)
        if kind == "jobs":
            self.trouble = None
            self._last = what if change != "LIST" else next(iter(what), self._last)
        objects: Objects = getattr(self._known, kind)
        if change == "LIST":
            objects.clear()
            objects.update((item["metadata"]["uid"], item) for item in what)
        elif change == "DELETED":
            objects.pop(what["metadata"]["uid"], None)
        else:
            objects[what["metadata"]["uid"]] = what

    def _follow(self, kind: str, path: str, query: dict[str, str]) -> None:
        delay, most = _BACKOFF_SECONDS
        while not self._stopped.is_set():
            try:
                self._once(kind, path, query)
                delay = _BACKOFF_SECONDS[0]
            except ApiTrouble as trouble:
                if kind != "jobs" and trouble.code == _FORBIDDEN:
                    self._changes.put((kind, "LIST", []))
                    return
                self._changes.put((kind, "TROUBLE", trouble))
            except (ValueError, KeyError, TypeError) as error:  # a line that was torn, or somebody else's answer
                self._changes.put((kind, "TROUBLE", ApiTrouble(f"an answer that cannot be read: {error!r}", code=0)))
            else:
                continue
            self._stopped.wait(delay)
            delay = min(delay * 2, most)

    def _once(self, kind: str, path: str, query: dict[str, str]) -> None:
        listed = self._source.http.get(path, **query)
        self._changes.put((kind, "LIST", listed.get("items") or []))
        version = listed["metadata"]["resourceVersion"]
        wanted = {**query, "watch": "1", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        for line in self._source.http.lines(path, _SILENCE_SECONDS, **wanted):
            change = json.loads(line)
            if change["type"] == "ERROR":
                return
            self._changes.put((kind, change["type"], change["object"]))


def jobs_path(namespace: str) -> str:
    """Return where the API has the jobs of a namespace."""
    return f"/apis/fedcore.dev/v1alpha1/namespaces/{namespace}/federatedjobs"
