"""A kubelet's part without nodes: pods are run by writing their status, and coordinators answer polls on a loopback address each.

No container runs. What the operator sees of a pod, it sees as if one did.
"""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from fedcore_operator.api import names
from tests.cluster.kubernetes import Kubernetes, Manifest

AT_ONCE = 24
ROUNDS = 1000


@dataclass
class Job:
    """What is known of a job."""

    uid: str = ""
    address: str = ""
    """Of its coordinator."""
    attempt: int = 1
    round: int = 0
    polls: int = 0
    pods: dict[str, str] = field(default_factory=dict)
    """Phase by name."""


class Kubelet:
    """Runs every pod of every FederatedJob."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        application = web.Application()
        application.router.add_get("/progress", self._progress)
        self._answering = web.AppRunner(application, access_log=None)
        self.jobs: dict[tuple[str, str], Job] = {}
        self.changed = asyncio.Event()

    @property
    def running(self) -> int:
        """How many pods run."""
        return sum(phase == "Running" for job in self.jobs.values() for phase in job.pods.values())

    async def wait(self, what: str, ready: Any, seconds: float) -> None:
        """Wait until a condition on ``jobs`` holds."""
        try:
            async with asyncio.timeout(seconds):
                while not ready():
                    self.changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.changed.wait(), 0.5)
        except TimeoutError:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s") from None

    async def end(self, key: tuple[str, str]) -> None:
        """Let a job's coordinator complete it, and its workers stop."""
        job = self.jobs[key]
        final = {"schema": 1, "final": True, "reason": "Completed", "message": f"{ROUNDS} rounds", "rounds": ROUNDS, "metrics": {}}
        stopped = {"schema": 1, "reason": "stopped"}
        calls = []
        for name in sorted(name for name, phase in job.pods.items() if phase == "Running"):
            role = "coordinator" if "-coordinator-" in name else "worker"
            message = json.dumps(final if role == "coordinator" else stopped)
            ended = {"exitCode": 0, "reason": "Completed", "message": message, "startedAt": _now(), "finishedAt": _now()}
            calls.append(self._patch(key[0], name, {"phase": "Succeeded", "containerStatuses": [_container(role, {"terminated": ended})]}))
        await asyncio.gather(*calls)

    async def start(self) -> None:
        """Be ready to answer polls."""
        await self._answering.setup()

    async def stop(self) -> None:
        """End what was begun."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._answering.cleanup()

    async def watch(self) -> None:
        """Follow the pods, for ever."""
        query = {"labelSelector": names.JOB}
        listed = await self._get("/api/v1/pods", query)
        for pod in listed["items"]:
            self._see("ADDED", pod)
        version = listed["metadata"]["resourceVersion"]
        while True:
            watching = query | {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
            async with self._session.get(f"{self._server}/api/v1/pods", params=watching, timeout=aiohttp.ClientTimeout()) as answer:
                try:
                    async for line in answer.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(event["object"])
                        version = event["object"]["metadata"]["resourceVersion"]
                        self._see(event["type"], event["object"])
                finally:
                    if answer.connection is not None and answer.connection.transport is not None:
                        answer.connection.transport.abort()  # the server would go on sending: no farewell

    def _see(self, kind: str, pod: Manifest) -> None:
        metadata = pod["metadata"]
        key = metadata["namespace"], metadata["labels"][names.JOB]
        if key not in self.jobs:
            number = len(self.jobs) + 2
            self.jobs[key] = Job(address=f"127.1.{number // 250}.{number % 250 + 1}")
        job = self.jobs[key]
        name = metadata["name"]
        if kind == "DELETED":
            job.pods.pop(name, None)
        else:
            known = job.pods.get(name)
            job.pods[name] = pod["status"].get("phase", "Pending")
            if known is None and job.pods[name] == "Pending":
                task = asyncio.create_task(self._run(key, job, pod))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self.changed.set()

    async def _run(self, key: tuple[str, str], job: Job, pod: Manifest) -> None:
        labels, role = pod["metadata"]["labels"], pod["metadata"]["labels"][names.ROLE]
        if role == "coordinator":
            first = not job.uid
            job.attempt, job.uid = int(labels[names.ATTEMPT]), pod["metadata"]["ownerReferences"][0]["uid"]
            if first:
                await web.TCPSite(self._answering, job.address, names.METRICS_PORT).start()
        now = _now()
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        address = job.address if role == "coordinator" else "127.0.0.1"
        status = {
            "phase": "Running",
            "startTime": now,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [ready],
            "containerStatuses": [_container(role, {"running": {"startedAt": now}}, ready=True)],
        }
        await self._patch(key[0], pod["metadata"]["name"], status)

    async def _get(self, path: str, query: dict[str, str]) -> Manifest:
        async with self._session.get(f"{self._server}{path}", params=query) as answer:
            answer.raise_for_status()
            found: Manifest = await answer.json()
            return found

    async def _patch(self, namespace: str, pod: str, status: Manifest) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        place = f"{self._server}/api/v1/namespaces/{namespace}/pods/{pod}/status"
        async with self._slots, self._session.patch(place, data=json.dumps({"status": status}), headers=headers) as answer:
            if answer.status not in {200, 404}:
                raise RuntimeError(f"{pod}: {answer.status} {await answer.text()}")

    async def _progress(self, request: web.Request) -> web.Response:
        """Answer for the coordinator of the address that was asked; each poll finds a new round."""
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        job = next((one for one in self.jobs.values() if one.address == address), None)
        if job is None:
            return web.Response(status=404)
        job.polls += 1
        job.round += 1
        self.changed.set()
        said = {"uid": job.uid, "attempt": job.attempt, "round": job.round, "accepted": 1, "metrics": {"accuracy": 1 - 1 / job.round}}
        known = {"schema": 1, "run_id": "r", "phase": "Running", "rounds": ROUNDS, "required": 1, "registered": 1, "quorum_met": True}
        last = {"round": job.round - 1, "outcome": "full", "duration_s": 9.5, "accepted": 1, "required": 1, "stragglers": 0}
        rest = {"quorum_lost_seconds": 0, "late": 0, "metrics_version": 1, "slowest_workers": [], "checkpoint_version": 1}
        return web.json_response(known | rest | said | {"recent_rounds": [last] if last["round"] else []})


@asynccontextmanager
async def kubelet(cluster: Kubernetes) -> AsyncIterator[Kubelet]:
    """Run one."""
    server, context = _server(cluster)
    connector = aiohttp.TCPConnector(ssl=context, limit=AT_ONCE + 2)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60), read_bufsize=2**20) as session:
        running = Kubelet(session, server)
        await running.start()
        watching = asyncio.create_task(running.watch())
        try:
            yield running
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            await running.stop()


def _container(role: str, state: Manifest, *, ready: bool = False) -> Manifest:
    return {"name": role, "image": "i", "imageID": "i", "restartCount": 0, "ready": ready, "started": ready, "state": state}


def _server(cluster: Kubernetes) -> tuple[str, ssl.SSLContext]:
    config = json.loads(cluster.kubeconfig.read_text("utf-8"))
    place, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(place["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("crt", "key")]
        for file, name in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
            file.write_bytes(base64.b64decode(user[name]))
        context.load_cert_chain(*files)
    return place["server"], context


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
