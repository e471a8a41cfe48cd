"""One pass over a job: observe, decide, write the status, act, post events. The order is what survives a crash anywhere."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from fedcore.log import log_event, log_failure
from fedcore_operator.api.conditions import is_finished
from fedcore_operator.api.job import InvalidJob, parse_job
from fedcore_operator.decide.acceptance import dry_run_due
from fedcore_operator.decide.actions import RETRY_AFTER
from fedcore_operator.decide.answers import error_class, verdict
from fedcore_operator.decide.observe import Observation, Pods, view_pod
from fedcore_operator.decide.progress import belongs, poll_address
from fedcore_operator.decide.reconcile import reconcile
from fedcore_operator.io.events import post_event
from fedcore_operator.plan.shapes import shapes
from fedcore_operator.runtime.actor import Memory, Trouble
from fedcore_operator.runtime.backlog import Backlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings
    from fedcore_operator.decide.answers import Verdict
    from fedcore_operator.decide.observe import PodView, Polled
    from fedcore_operator.io.kube import Kube
    from fedcore_operator.runtime.actor import Actor
    from fedcore_operator.runtime.cache import Cache, Key
    from fedcore_operator.runtime.meters import Meters
    from fedcore_operator.runtime.poller import Poller
    from fedcore_operator.runtime.queue import Queue

__all__ = ["Worker", "serve"]

_RESYNC_SECONDS = 600.0
_BACKOFF_SECONDS = (1.0, 60.0)
_READS_AT_ONCE = 2
"""Of all pods of a job: a thousand of them take 50 MB until they are cut down."""


class Worker:
    """Takes keys off the queue. Several tasks run one worker's `run`; the queue keeps them apart."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        queue: Queue,
        actor: Actor,
        poller: Poller,
        settings: Settings,
        clock: Callable[[], float],
        meters: Meters,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._queue = queue
        self._actor = actor
        self._poller = poller
        self._settings = settings
        self._clock = clock
        self._meters = meters
        self._memories: dict[Key, Memory] = {}
        self._stale: set[Key] = set()
        self._resyncs: dict[Key, float] = {}
        """When a job is read again, whatever the watches say."""
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self._failures: dict[Key, int] = {}
        self.backlog = Backlog()
        self.finished_at = clock()
        """When a pass ended last, or when this began to make passes."""

    async def run(self) -> None:
        """Look at one job after the other."""
        while True:
            key = await self._queue.take()
            try:
                await self._attempt(key)
            finally:
                self._queue.done(key)
                self.finished_at = self._clock()
                self.backlog.done(key)

    async def _attempt(self, key: Key) -> None:
        began = self._clock()
        result = "error"
        try:
            result = await self.look_at(key)
        except Trouble as trouble:
            self._meters.failed(error_class(trouble.code))
            again_in = self._back_off(key)
            log_event("pass_failed", at="warning", job=key.name, namespace=key.namespace, error=str(trouble)[:512], again_in=again_in)
        except Exception as error:  # noqa: BLE001 - one job's trouble must not end the service of the others
            self._meters.failed("internal")
            log_failure("pass_failed", error, job=key.name, namespace=key.namespace, again_in=self._back_off(key))
        else:
            self._failures.pop(key, None)
        self._meters.reconciled(result, self._clock() - began)

    def _back_off(self, key: Key) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        least, most = _BACKOFF_SECONDS
        delay = min(least * 2.0 ** min(failures - 1, 10), most) * random.uniform(0.8, 1.2)
        self._stale.add(key)
        self._queue.add(key, delay)
        return round(delay, 1)

    async def look_at(self, key: Key) -> Literal["done", "requeue"]:
        """Do one pass; ``requeue``: it could not do all of it, and the next one follows soon."""
        if not await self._prime(key):
            self._drop(key)
            return "done"
        raw = self._cache.job(key)
        if raw is None:
            self._drop(key)
            return "done"
        began = time.process_time()
        job = parse_job(raw)
        memory = self._memories.setdefault(key, Memory())
        views = tuple(view for pod in self._cache.pods(key) if (view := view_pod(pod, job.uid)) is not None)
        now = datetime.now(UTC)
        memory.refusals = {index: one for index, one in memory.refusals.items() if not one.conflict or now < one.at + RETRY_AFTER}
        spent = time.process_time() - began
        found = await self._dry_run(job) if dry_run_due(job) else None
        seen = Observation(Pods.of(views), self._poll(key, job, views), found, tuple(memory.refusals.values()))
        began = time.process_time()
        decision = reconcile(job, seen, self._settings, now)
        spent += time.process_time() - began
        log_event("pass", at="debug", job=key.name, namespace=key.namespace, pods=len(views), cpu_s=spent, actions=len(decision.actions))
        if decision.status != job.status:
            written = await self._kube.write_status(job, decision.status)
            if written.answer.code in {404, 409}:
                # Somebody changed the job meanwhile, or deleted it: what was decided is void.
                if written.answer.code == 409:
                    self._meters.failed("conflict")
                self._stale.add(key)
                self._queue.add(key)
                return "requeue"
            if not written.ok:
                raise Trouble(f"the status cannot be written: {written.answer.message}", written.answer)
            self._cache.keep_job(written.body)
            self._meters.changed(job, decision.status)
        result: Literal["done", "requeue"] = "done"
        delay = None if decision.wake_at is None else max(0.0, (decision.wake_at - datetime.now(UTC)).total_seconds())
        events = list(decision.events)
        try:
            if not isinstance(job, InvalidJob) and decision.actions:
                outcome = await self._actor.act(key, job, decision.actions, memory)
                events += outcome.events
                if outcome.drop:
                    self._drop(key)
                    return "done"
                if outcome.again_in is not None:
                    result = "requeue"
                    delay = outcome.again_in if delay is None else min(delay, outcome.again_in)
        finally:
            for event in events:
                if await post_event(self._kube, job, event, self._settings.operator_pod):
                    self._meters.posted(event.type)
        resync = max(0.0, self._resyncs[key] - self._clock())
        self._queue.add(key, resync if delay is None else min(delay, resync))
        return result

    def _drop(self, key: Key) -> None:
        self._cache.forget(key)
        self._memories.pop(key, None)
        self._failures.pop(key, None)
        self._stale.discard(key)
        self._resyncs.pop(key, None)
        self._poller.forget(key)

    async def _prime(self, key: Key) -> bool:
        """Read the job and then its pods where that is due; False if the job is gone."""
        is_due = not self._cache.is_primed(key) or self._clock() >= self._resyncs.get(key, 0.0)
        if not is_due and key not in self._stale:
            return True
        job = await self._kube.get_job(key.namespace, key.name)
        if job.answer.code == 404:
            return False
        if not job.ok:
            raise Trouble(job.answer.message, job.answer)
        async with self._reads:
            pods = await self._kube.list_pods(key.namespace, key.name)
            if not pods.ok:
                raise Trouble(pods.answer.message, pods.answer)
            self._cache.prime(key, job.body, pods.body.get("items") or ())
        self._stale.discard(key)
        if is_due:
            self._resyncs[key] = self._clock() + _RESYNC_SECONDS * random.uniform(0.9, 1.1)
            if key in self._memories:
                self._memories[key].applied.clear()  # somebody may have changed or deleted what was applied
        return True

    async def _dry_run(self, job: Job) -> Verdict | None:
        last = None
        for shape in shapes(job, self._settings):
            reply = await self._kube.create(shape, dry_run=True)
            last = verdict(reply.answer)
            if last is None:
                what = f"the dry run of {shape['kind']} {shape['metadata']['name']}"
                raise Trouble(f"{what} has no answer: {reply.answer.message}", reply.answer)
            if not last.accepted:
                return last
        return last

    def _poll(self, key: Key, job: Job | InvalidJob, views: tuple[PodView, ...]) -> Polled | None:
        address = None if is_finished(job.status) else poll_address(job, views)
        if address is not None:
            self._poller.ask(key, address)
        polled = self._poller.last(key)
        return polled if polled is not None and belongs(polled.progress, job) else None


async def serve(worker: Worker, tasks: int) -> None:
    """Run a worker's tasks until one of them fails."""
    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(worker.run())
