"""The answer to a scrape."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from fedcore.metrics import families
from fedcore_operator.api.job import StoredJob, parse_job
from fedcore_operator.runtime import metrics
from fedcore_operator.runtime.cache import Key
from fedcore_operator.runtime.jobseries import Sample, job_samples, phase_samples

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family

    from fedcore_operator.runtime.cache import Cache
    from fedcore_operator.runtime.queue import Queue

__all__ = ["StateCollector", "scraped"]


class StateCollector(Collector):
    """Reads what the operator holds, at each scrape.

    Only the leader speaks of jobs: a follower's watches bring them too, and two replicas would double every sum.

    Parameters
    ----------
    leads : callable
        Says whether this process holds the Lease.
    """

    def __init__(self, cache: Cache, queue: Queue, leads: Callable[[], bool]) -> None:
        self._cache = cache
        self._queue = queue
        self._leads = leads
        self._parsed: dict[Key, tuple[Mapping[str, Any], StoredJob]] = {}
        """Parsing costs a fifth of a millisecond, and most jobs have not changed since the last scrape."""

    def describe(self) -> Iterator[Family]:
        """Yield the families without samples: their names are reserved."""
        yield from families(metrics.COMPUTED, ())

    def collect(self) -> Iterator[Family]:
        """Yield the families."""
        yield from families(metrics.COMPUTED, self._samples())

    def _samples(self) -> Iterator[Sample]:
        leads = self._leads()
        yield Sample(metrics.LEADER, (), leads)
        yield Sample(metrics.QUEUE_DEPTH, (), self._queue.depth())
        self._cache.missed()
        for resource, count in self._cache.missed_so_far.items():
            yield Sample(metrics.MISSED_EVENTS, (resource,), count)
        if not leads:
            return
        jobs = self._jobs()
        yield from phase_samples(jobs.values())
        for key, job in jobs.items():
            yield from job_samples(job, self._cache.pods(key))

    def _jobs(self) -> dict[Key, StoredJob]:
        known, parsed = self._parsed, dict[Key, tuple[Mapping[str, Any], StoredJob]]()
        keys = self._cache.keys()
        for key in keys:
            raw = self._cache.job(key)
            if raw is not None:
                before = known.get(key)
                # The cache replaces an object that changes and never edits one.
                parsed[key] = before if before is not None and before[0] is raw else (raw, parse_job(raw))
        self._parsed = parsed
        return {key: job for key, (_, job) in parsed.items() if not job.managed_elsewhere}


def scraped(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers scrapes, in the format that is asked for."""

    async def answer(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(",".join(request.headers.getall("Accept", [])))
        headers = {"Content-Type": content_type}
        packed = gzip_accepted(request.headers.get("Accept-Encoding", ""))
        if packed:
            headers["Content-Encoding"] = "gzip"

        def rendered() -> bytes:
            body = encode(registry)
            return gzip.compress(body, compresslevel=1) if packed else body

        # In a thread: with hundreds of jobs it takes a tenth of a second, and the loop has passes to make. The cache may change
        # meanwhile; it is read by copies that cannot be torn.
        return web.Response(body=await asyncio.to_thread(rendered), headers=headers)

    return answer
