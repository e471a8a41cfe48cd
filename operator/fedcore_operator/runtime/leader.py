"""One operator at a time: a Lease that has to be renewed. Who loses it ends, so that two never act at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedcore.log import log_event
from fedcore_operator.io.rights import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedcore_operator.io.kube import Kube, Reply

__all__ = ["Leader", "LeaseLost"]

LEASE_SECONDS = 15
_RENEW_DEADLINE = 10.0
_RETRY_SECONDS = 2.0


class LeaseLost(Exception):  # noqa: N818 - a state of the world
    """Another operator may be at work: this one has to end."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A state of the Lease, and when this process saw it first: clocks of machines differ, so only ours is asked."""

    state: tuple[Any, ...]
    at: float


class Leader:
    """Takes the Lease, keeps it, gives it back."""

    def __init__(self, kube: Kube, namespace: str, identity: str, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._namespace = namespace
        self.identity = identity
        self._clock = clock
        self._seen: _Seen | None = None
        self._held: Mapping[str, Any] | None = None
        self.renewed_at: float | None = None
        """When the Lease was taken or renewed last; None for a follower."""

    async def take(self) -> None:
        """Wait until the Lease is ours."""
        while not await self._try():  # noqa: ASYNC110 - it is the API server that is asked
            await asyncio.sleep(_RETRY_SECONDS)
        log_event("lease_taken", holder=self.identity)

    async def keep(self) -> None:
        """Renew the Lease for ever.

        Raises
        ------
        LeaseLost
            Renewing did not succeed for ten seconds, or somebody else has it.
        """
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            assert self.renewed_at is not None
            try:
                async with asyncio.timeout(_RENEW_DEADLINE - (self._clock() - self.renewed_at)):
                    renewed = await self._try()
            except TimeoutError:
                renewed = False
            if not renewed and self._clock() - self.renewed_at >= _RENEW_DEADLINE - _RETRY_SECONDS:
                raise LeaseLost(f"Lease {LEASE} could not be renewed for {_RENEW_DEADLINE:.0f} s")

    async def give_back(self) -> None:
        """Let a successor start at once."""
        if self._held is None:
            return
        spec = {**self._held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        await self._kube.update({**self._held, "spec": spec})

    async def _try(self) -> bool:
        asked_at = self._clock()
        found = await self._kube.get(self._manifest({}))
        if found.answer.code == 404:
            first = {"holderIdentity": self.identity, "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": _now(), "renewTime": _now()}
            return self._took(await self._kube.create(self._manifest(first)), asked_at)
        if not found.ok:
            log_event("lease_unreadable", at="warning", error=found.answer.message[:256])
            return False
        spec: dict[str, Any] = dict(found.body.get("spec") or {})
        holder = spec.get("holderIdentity") or ""
        if holder not in {"", self.identity} and not self._expired(spec):
            if self._held is not None:
                raise LeaseLost(f"Lease {LEASE} was taken by {holder}")
            return False
        if holder != self.identity:
            spec |= {"acquireTime": _now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {"holderIdentity": self.identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now()}
        return self._took(await self._kube.update({**found.body, "spec": spec}), asked_at)

    def _expired(self, spec: Mapping[str, Any]) -> bool:
        state = (spec.get("holderIdentity"), spec.get("renewTime"))
        if self._seen is None or self._seen.state != state:
            self._seen = _Seen(state, self._clock())
        return self._clock() - self._seen.at > float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

    def _took(self, reply: Reply, asked_at: float) -> bool:
        if not reply.ok:
            return False
        self._held, self.renewed_at = reply.body, asked_at
        return True

    def _manifest(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": self._namespace},
            "spec": dict(spec),
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
