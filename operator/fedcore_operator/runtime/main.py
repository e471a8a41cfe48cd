"""The operator's process: from the environment to an exit code."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import kopf
from aiohttp import web
from prometheus_client import CollectorRegistry

from fedcore.log import log_event, log_failure
from fedcore_operator.api.settings import InvalidOptions, Settings
from fedcore_operator.io.credentials import NoCredentials, open_credentials
from fedcore_operator.io.kube import NoCluster, connect
from fedcore_operator.runtime.actor import Actor
from fedcore_operator.runtime.cache import Cache, Key
from fedcore_operator.runtime.check import problems
from fedcore_operator.runtime.exposition import StateCollector, scraped
from fedcore_operator.runtime.handlers import event_source
from fedcore_operator.runtime.leader import LEASE_SECONDS, Leader
from fedcore_operator.runtime.logs import set_up_logs
from fedcore_operator.runtime.meters import Meters
from fedcore_operator.runtime.pace import Gate, Pace
from fedcore_operator.runtime.poller import Poller
from fedcore_operator.runtime.queue import Queue
from fedcore_operator.runtime.worker import Worker, serve

if TYPE_CHECKING:
    from fedcore_operator.io.credentials import Credentials
    from fedcore_operator.io.kube import Kube

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_READY = 4
_WORKERS = 8
_CREATIONS_A_SECOND = 50
_STUCK_SECONDS = 120.0
_JOBS_A_PAGE = 500
_RETRY_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Run the operator, or check what it needs."""
    if arguments not in (["run"], ["check"]):
        print("usage: python -m fedcore_operator run | check", file=sys.stderr)
        return EXIT_USAGE
    try:
        settings = Settings.read({"FEDCORE_OPERATOR_POD": socket.gethostname(), **os.environ})
    except InvalidOptions as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    set_up_logs(settings)
    try:
        return asyncio.run(_run(settings, only_check=arguments == ["check"]))
    except (NoCluster, NoCredentials) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOT_READY


async def _run(settings: Settings, *, only_check: bool) -> int:
    registry = CollectorRegistry()
    meters = Meters(registry)
    kube = await connect(meters.called)
    try:
        found = await problems(kube, settings)
        for problem in found:
            print(f"error: {problem}", file=sys.stderr)
        if found:
            return EXIT_NOT_READY
        if only_check:
            print("the CRD is there, and so are all rights")
            return 0
        return await _Process(kube, settings, await open_credentials(kube, settings), registry, meters).run()
    finally:
        await kube.close()


class _Process:
    """Puts the parts together."""

    def __init__(self, kube: Kube, settings: Settings, credentials: Credentials, registry: CollectorRegistry, meters: Meters) -> None:
        self._settings = settings
        self._kube = kube
        self._registry = registry
        self._meters = meters
        self._clock = asyncio.get_running_loop().time
        self._cache = Cache(self._clock)
        self._queue = Queue(self._clock, meters.waited)
        self._leader = Leader(kube, settings.operator_namespace, f"{settings.operator_pod}_{os.getpid()}", self._clock)
        self._session = aiohttp.ClientSession()
        self._poller = Poller(self._session, self._queue, settings.progress_poll_seconds, self._clock, meters.polled)
        actor = Actor(kube, self._cache, credentials, Gate(Pace(_CREATIONS_A_SECOND), self._clock))
        self._worker = Worker(kube, self._cache, self._queue, actor, self._poller, settings, self._clock, meters)
        registry.register(StateCollector(self._cache, self._queue, lambda: self._leader.renewed_at is not None))

    async def run(self) -> int:
        """Serve until told to stop; 0 then, 1 if another operator took over or a part failed."""
        answering = await self._answer()
        watching = asyncio.create_task(self._watch())
        leading = asyncio.create_task(self._lead())
        try:
            await asyncio.wait({watching, leading}, return_when=asyncio.FIRST_COMPLETED)
            return self._judge(watching, leading)
        finally:
            for task in (leading, watching):
                task.cancel()
            await asyncio.wait({leading, watching})
            await self._leader.give_back()
            await answering.cleanup()
            await self._session.close()

    @staticmethod
    def _judge(watching: asyncio.Task[None], leading: asyncio.Task[None]) -> int:
        for part, task in (("lease", leading), ("watches", watching)):
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None:
                log_failure("operator_ended", error, part=part)
                return EXIT_FAILED
        log_event("operator_ended")
        return 0

    async def _watch(self) -> None:
        scope: dict[str, Any] = {"namespaces": self._settings.namespaces} if self._settings.namespaces else {"clusterwide": True}
        host = f"[{self._settings.bind_address}]" if ":" in self._settings.bind_address else self._settings.bind_address
        # kopf's own variable for who it is: left to itself it asks for the user's name, which our uid in a container does not have.
        os.environ["POD_ID"] = self._leader.identity
        await kopf.operator(
            registry=event_source(self._cache, self._queue, self._poller.hasten, self._ailing, self._meters.heard),
            standalone=True,
            liveness_endpoint=f"http://{host}:{self._settings.health_port}/healthz",
            **scope,
        )

    async def _lead(self) -> None:
        await self._leader.take()
        self._worker.finished_at = self._clock()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leader.keep())
            group.create_task(serve(self._worker, _WORKERS))
            group.create_task(self._look_around())

    async def _look_around(self) -> None:
        """Find out which jobs there are, to know when all of them have been looked at: watches do not say where their beginning ends."""
        began, found = self._clock(), list[Key]()
        for namespace in self._settings.namespaces or (None,):
            after: str | None = ""
            while after is not None:
                reply = await self._kube.list_jobs(namespace, _JOBS_A_PAGE, after)
                if not reply.ok:
                    log_event("jobs_unreadable", at="warning", error=reply.answer.message[:256])
                    after = ""  # a page that has expired means to begin again; a job that is found twice counts once
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                for raw in reply.body.get("items") or ():
                    self._cache.keep_job(raw)
                    found.append(Key(raw["metadata"]["namespace"], raw["metadata"]["name"]))
                    self._queue.add(found[-1])
                after = (reply.body.get("metadata") or {}).get("continue") or None
        backlog = self._worker.backlog
        backlog.expect(found)
        await backlog.over.wait()
        log_event("first_pass_over", jobs=len(set(found)), seconds=round(self._clock() - began, 3))

    def _ailing(self) -> str | None:
        missed = self._cache.missed()
        if missed:
            return f"{missed} events of the watches never came"
        if self._leader.renewed_at is None:
            return None
        if self._clock() - self._leader.renewed_at > 2 * LEASE_SECONDS:
            return "the Lease is too old"
        idle = self._clock() - self._worker.finished_at
        if min(self._queue.overdue(), idle) > _STUCK_SECONDS:
            return f"jobs wait, and none was looked at for {idle:.0f} s"
        return None

    async def _answer(self) -> web.AppRunner:
        async def ready(_: web.Request) -> web.Response:
            backlog = self._worker.backlog
            if self._leader.renewed_at is None:
                return web.Response(text="follower\n")
            if backlog.over.is_set():
                return web.Response(text="leader\n")
            left = "jobs are being listed" if backlog.left is None else f"{backlog.left} jobs have not been looked at yet"
            return web.Response(text=f"{left}\n", status=503)

        app = web.Application()
        app.router.add_get("/readyz", ready)
        app.router.add_get("/metrics", scraped(self._registry))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._settings.bind_address, self._settings.metrics_port).start()
        return runner
