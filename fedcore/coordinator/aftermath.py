"""What becomes of the last metrics when a job has ended: pushed where nobody scrapes, and waited for where somebody does."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from prometheus_client import push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from fedcore.log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.registry import Collector

    from fedcore.coordinator.service import Service

__all__ = ["await_last_scrape", "push"]

_PUSH_SECONDS = 5.0
"""For all of it: the library's own bound is for each byte that moves."""
_JOB = "fedcore"
"""Pushgateway wants a label ``job``; what is asked for by is namespace and federatedjob."""


async def push(gateway: str, collector: Collector, *, namespace: str, job: str) -> None:
    """Put a job's metrics in place of what it has pushed before. Whatever goes wrong is logged and changes nothing: the job has ended."""
    parts = urlsplit(gateway)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    handler: Callable[..., Callable[[], None]] = default_handler
    if parts.username:
        handler = partial(basic_auth_handler, username=unquote(parts.username), password=unquote(parts.password or ""))
    group = {"namespace": namespace, "federatedjob": job}
    problem = _in_a_thread(lambda: push_to_gateway(address, _JOB, collector, group, timeout=_PUSH_SECONDS, handler=handler))
    try:
        error = await asyncio.wait_for(problem, _PUSH_SECONDS)
    except TimeoutError:
        error = f"no answer within {_PUSH_SECONDS:g} s"
    if error:
        log_event("push_failed", gateway=address, error=error)


def _in_a_thread(call: Callable[[], None]) -> asyncio.Future[str]:
    """Call in a thread that keeps nobody, as one of the loop's pool would at the end of the process; resolves to what went wrong."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()

    def settle(error: str) -> None:
        if not done.done():
            done.set_result(error)

    def work() -> None:
        error = ""
        try:
            call()
        except Exception as raised:  # noqa: BLE001 - what is at that address may answer anything
            error = str(raised) or type(raised).__name__
        with suppress(RuntimeError):  # the loop has gone
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="push", daemon=True).start()
    return done


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
