"""Events of jobs, in events.k8s.io/v1."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fedcore.log import log_event
from fedcore.spec import API_VERSION, KIND
from fedcore_operator.api.names import MANAGED_BY
from fedcore_operator.decide.answers import Created, creation

if TYPE_CHECKING:
    from fedcore_operator.api.job import StoredJob
    from fedcore_operator.decide.events import Event
    from fedcore_operator.io.kube import Kube
    from fedcore_operator.plan.children import Manifest

__all__ = ["event_manifest", "post_event"]

_NOTE_CHARS = 1000
"""The API takes 1024 bytes."""


def event_manifest(job: StoredJob, event: Event, reporter: str, name: str, now: datetime) -> Manifest:
    """Return the object of an event."""
    note = event.message.encode()[:_NOTE_CHARS].decode("utf-8", "ignore")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": job.namespace},
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": event.type,
        "reason": event.reason,
        "note": note,
        "action": "Reconcile",
        "reportingController": MANAGED_BY,
        "reportingInstance": reporter[:128],
        "regarding": {"apiVersion": API_VERSION, "kind": KIND, "name": job.name, "namespace": job.namespace, "uid": job.uid},
    }


async def post_event(kube: Kube, job: StoredJob, event: Event, reporter: str) -> bool:
    """Post an event; one that cannot be posted is logged and lost, as events are. In a namespace that goes away nobody misses it."""
    manifest = event_manifest(job, event, reporter, f"{job.name}.{secrets.token_hex(8)}", datetime.now(UTC))
    reply = await kube.create(manifest)
    created = creation(reply.answer, holder_uid=None, holder_is_job=False, job_uid=job.uid)
    if created not in {Created.DONE, Created.DROP}:
        log_event("event_lost", at="warning", job=job.name, namespace=job.namespace, reason=event.reason, error=reply.answer.message[:256])
    return created is Created.DONE
