"""What becomes of the last metrics when a job has ended: pushed where nobody scrapes, and waited for where somebody does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prometheus_client import push_to_gateway

from fedcore.log import log_event

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from fedcore.coordinator.service import Service

__all__ = ["await_last_scrape", "push"]

_PUSH_SECONDS = 5.0
_JOB = "fedcore"
"""Pushgateway wants a label ``job``; what is asked for by is namespace and federatedjob."""


async def push(gateway: str, collector: Collector, *, namespace: str, job: str) -> None:
    """Put a job's metrics in place of what it has pushed before. Whatever goes wrong is logged and changes nothing: the job has ended."""

    def put() -> None:
        push_to_gateway(gateway, _JOB, collector, {"namespace": namespace, "federatedjob": job}, timeout=_PUSH_SECONDS)

    try:
        await asyncio.to_thread(put)
    except (OSError, ValueError) as error:
        log_event("push_failed", gateway=gateway, error=str(error))


async def await_last_scrape(service: Service, stopped: asyncio.Future[None]) -> None:
    """Serve on until the last values have been scraped, or for as long as the job allows; a signal ends it."""
    seconds = service.linger_seconds
    if not seconds or stopped.done():
        return
    log_event("lingering", seconds=seconds)
    fetched = asyncio.ensure_future(service.scrapes.wait(seconds))
    either: set[asyncio.Future[Any]] = {fetched, stopped}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    fetched.cancel()
