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
from kopf._core.engines.peering import Identity

from fedcore.log import log_event, log_failure
from fedcore_operator.api.settings import InvalidOptions, Settings
from fedcore_operator.io.credentials import NoCredentials, open_credentials
from fedcore_operator.io.kube import NoCluster, connect
from fedcore_operator.runtime.actor import Actor
from fedcore_operator.runtime.cache import Cache
from fedcore_operator.runtime.check import problems
from fedcore_operator.runtime.handlers import event_source
from fedcore_operator.runtime.leader import LEASE_SECONDS, Leader
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
_ACTIONS_AT_ONCE = 16
_STUCK_SECONDS = 120.0


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
    os.environ["FEDCORE_LOG_FORMAT"] = settings.log_format
    try:
        return asyncio.run(_run(settings, only_check=arguments == ["check"]))
    except (NoCluster, NoCredentials) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOT_READY


async def _run(settings: Settings, *, only_check: bool) -> int:
    kube = await connect()
    try:
        found = await problems(kube, settings)
        for problem in found:
            print(f"error: {problem}", file=sys.stderr)
        if found:
            return EXIT_NOT_READY
        if only_check:
            print("the CRD is there, and so are all rights")
            return 0
        return await _Process(kube, settings, await open_credentials(kube, settings)).run()
    finally:
        await kube.close()


class _Process:
    """Puts the parts together."""

    def __init__(self, kube: Kube, settings: Settings, credentials: Credentials) -> None:
        self._settings = settings
        self._clock = asyncio.get_running_loop().time
        self._cache = Cache(self._clock)
        self._queue = Queue(self._clock)
        self._leader = Leader(kube, settings.operator_namespace, f"{settings.operator_pod}_{os.getpid()}", self._clock)
        self._session = aiohttp.ClientSession()
        poller = Poller(self._session, self._queue, settings.progress_poll_seconds, self._clock)
        actor = Actor(kube, self._cache, credentials, asyncio.Semaphore(_ACTIONS_AT_ONCE))
        self._worker = Worker(kube, self._cache, self._queue, actor, poller, settings, self._clock)

    async def run(self) -> int:
        """Serve until told to stop; 0 then, 1 if another operator took over or a part failed."""
        readiness = await self._answer_readiness()
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
            await readiness.cleanup()
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
        await kopf.operator(
            registry=event_source(self._cache, self._queue, self._ailing),
            standalone=True,
            liveness_endpoint=f"http://{host}:{self._settings.health_port}/healthz",
            # Left to itself kopf asks for the user's name, which our uid in a container does not have.
            identity=Identity(self._leader.identity),
            **scope,
        )

    async def _lead(self) -> None:
        await self._leader.take()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leader.keep())
            group.create_task(serve(self._worker, _WORKERS))

    def _ailing(self) -> str | None:
        missed = self._cache.missed()
        if missed:
            return f"{missed} events of the watches never came"
        if self._leader.renewed_at is None:
            return None
        if self._clock() - self._leader.renewed_at > 2 * LEASE_SECONDS:
            return "the Lease is too old"
        if self._queue.overdue() > _STUCK_SECONDS:
            return f"a job has waited for its turn for {self._queue.overdue():.0f} s"
        return None

    async def _answer_readiness(self) -> web.AppRunner:
        async def ready(_: web.Request) -> web.Response:
            return web.Response(text="leader\n" if self._leader.renewed_at is not None else "follower\n")

        app = web.Application()
        app.router.add_get("/readyz", ready)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._settings.bind_address, self._settings.ready_port).start()
        return runner
