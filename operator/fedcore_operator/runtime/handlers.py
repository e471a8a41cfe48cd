"""What kopf is used for: watches. Its handlers store and enqueue; whatever they raised would be logged and lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

from fedcore_operator.api.names import GROUP, JOB, PLURAL, ROLE, VERSION, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore_operator.runtime.cache import Cache, Key
    from fedcore_operator.runtime.queue import Queue

__all__ = ["event_source"]


def event_source(
    cache: Cache, queue: Queue, hasten: Callable[[Key], None], ailing: Callable[[], str | None], heard: Callable[[str], None]
) -> kopf.OperatorRegistry:
    """Return a registry whose handlers fill the cache and the queue.

    Parameters
    ----------
    hasten : callable
        Told of each event of a coordinator's pod.
    ailing : callable
        Says why this process has to be restarted; None while it is well.
    heard : callable
        Told of each event, by the resource.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.watching.label_selectors["pods"] = JOB
        settings.watching.chunk_size = 500
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.connect_timeout = 10
        settings.queueing.idle_timeout = 0.5
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 10
        settings.networking.enforce_retry_after = True
        settings.scanning.disabled = True  # then list and watch on the two kinds is all it needs
        settings.posting.enabled = False  # our events go out after the status was written
        settings.process.ultimate_exiting_timeout = 20

    @kopf.on.login(registry=registry)
    async def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def job_event(event: kopf.RawEvent, **_: Any) -> None:
        heard(PLURAL)
        key = cache.hear_job(event["type"], event["object"])
        if key is not None:
            queue.add(key)

    @kopf.on.event("pods", registry=registry)
    async def pod_event(event: kopf.RawEvent, **_: Any) -> None:
        heard("pods")
        key = cache.hear_pod(event["type"], event["object"])
        if key is None:
            return
        if event["object"]["metadata"]["labels"].get(ROLE) == Role.COORDINATOR:
            hasten(key)
        queue.add(key)

    @kopf.on.probe(registry=registry)
    async def well(**_: Any) -> str:
        problem = ailing()
        if problem is not None:
            raise kopf.PermanentError(problem)  # any other exception is retried inside of the request for a minute
        return "ok"

    return registry
