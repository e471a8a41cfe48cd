"""Doing what was decided, and remembering what the API server said to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, ParamSpec

from fedcore.spec import KIND
from fedcore_operator.decide import actions as act
from fedcore_operator.decide.answers import Answer, Created, creation
from fedcore_operator.decide.events import refusal_event
from fedcore_operator.decide.observe import Refusal
from fedcore_operator.plan.children import has_all_of
from fedcore_operator.plan.secrets import join_secret, tls_secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from fedcore_operator.api.job import Job
    from fedcore_operator.decide.actions import Action
    from fedcore_operator.decide.events import Event
    from fedcore_operator.io.credentials import Credentials
    from fedcore_operator.io.kube import Kube, Reply
    from fedcore_operator.plan.children import Manifest
    from fedcore_operator.runtime.cache import Cache, Key
    from fedcore_operator.runtime.pace import Gate

__all__ = ["Actor", "Memory", "Outcome", "Trouble"]

_WAIT_SECONDS = 3.0
_CALLS_AT_ONCE = 16
PODS_A_PASS = 64
"""The rest comes in the next pass: a job of a thousand workers shall not hold up those of three."""
_P = ParamSpec("_P")


class Trouble(Exception):  # noqa: N818 - a state of the world
    """The API server could not do what it normally can; to be tried again."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.code = answer.code


@dataclass(slots=True)
class Memory:
    """What is remembered of a job between passes; all of it may be lost."""

    applied: dict[tuple[str, str], str] = field(default_factory=dict)
    """Hash of the object that was applied last, by kind and name."""
    refusals: dict[int | None, Refusal] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What became of a pass's actions."""

    events: list[Event] = field(default_factory=list)
    again_in: float | None = None
    drop: bool = False
    stop: bool = False
    """The rest of the pass has to be left out."""

    def again(self, seconds: float) -> None:
        """Look again soon."""
        self.again_in = seconds if self.again_in is None else min(seconds, self.again_in)


class Actor:
    """Does the actions of one job; all jobs share the calls at once, and the pace of creations."""

    def __init__(self, kube: Kube, cache: Cache, credentials: Credentials, gate: Gate) -> None:
        self._kube = kube
        self._cache = cache
        self._credentials = credentials
        self._gate = gate
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def act(self, key: Key, job: Job, actions: Iterable[Action], memory: Memory) -> Outcome:
        """Do actions in order, neighbours of one kind together."""
        outcome = Outcome()
        for kind, group in groupby(actions, type):
            these = list(group)
            if kind is act.CreatePod and len(these) > PODS_A_PASS:
                del these[PODS_A_PASS:]
                outcome.again(0.0)
            # All of them end before this does, also if one fails: nothing of a pass may go on beside the next one.
            done = await asyncio.gather(*(self._do(key, job, action, memory, outcome) for action in these), return_exceptions=True)
            for failure in done:
                if failure is not None:
                    raise failure
            if outcome.stop or outcome.drop:
                break
        return outcome

    async def _do(self, key: Key, job: Job, action: Action, memory: Memory, outcome: Outcome) -> None:
        match action:
            case act.CreateJoinSecret():
                authority = self._credentials.signer.certificate if job.spec.security.tls else None
                await self._secret(join_secret(job, self._credentials.token(job), authority), job, outcome)
            case act.CreateCertificate(attempt):
                pair = self._credentials.certificate(job, datetime.now(UTC))
                await self._secret(tls_secret(job, attempt, pair.certificate, pair.key), job, outcome)
            case act.CreateClaim(manifest):
                created, reply = await self._create(job, manifest)
                self._heed_shared(job, manifest, (created, reply), memory, outcome)
            case act.Apply(manifest):
                await self._apply(job, manifest, memory, outcome)
            case act.TellCoordinator(pod, uid, text):
                reply = await self._call(self._kube.tell, job.namespace, pod, uid, text)
                self._keep(key, reply)
                _expect(reply, 404, 409)
            case act.DeletePod(pod, uid):
                reply = await self._call(self._kube.delete, "Pod", job.namespace, pod, uid)
                _expect(reply, 404, 409)
                if reply.body.get("kind") == "Pod" and reply.body["metadata"].get("deletionTimestamp"):
                    self._keep(key, reply)
            case act.CreatePod(index, attempt, manifest):
                await self._create_pod(key, job, index, attempt, manifest, memory, outcome)
            case act.DeleteJob(uid):
                _expect(await self._call(self._kube.delete, KIND, job.namespace, job.name, uid), 404, 409)

    async def _call(self, ask: Callable[_P, Awaitable[Reply]], *given: _P.args, **named: _P.kwargs) -> Reply:
        async with self._slots:
            return await ask(*given, **named)

    async def _make(self, manifest: Manifest) -> Reply:
        await self._gate.wait()
        return await self._call(self._kube.create, manifest)

    def _keep(self, key: Key, reply: Reply) -> None:
        if reply.ok and reply.body.get("kind") == "Pod":
            self._cache.keep_pod(key, reply.body)

    async def _secret(self, manifest: Manifest, job: Job, outcome: Outcome) -> None:
        reply = await self._make(manifest)
        if reply.answer.code != 409:  # it cannot be read, so nobody asks whose it is: its name has the job's uid
            self._heed((creation(reply.answer, holder_uid=None, holder_is_job=False, job_uid=job.uid), reply), outcome)

    async def _create(self, job: Job, manifest: Manifest) -> tuple[Created, Reply]:
        reply = await self._make(manifest)
        if reply.answer.code != 409:
            return creation(reply.answer, holder_uid=None, holder_is_job=False, job_uid=job.uid), reply
        held = await self._call(self._kube.get, manifest)
        if held.answer.code == 404:
            return Created.WAIT, held  # it went meanwhile
        found = _whose(job, held)
        return found, held if found is Created.OURS else reply

    async def _create_pod(
        self, key: Key, job: Job, index: int | None, attempt: int, manifest: Manifest, memory: Memory, outcome: Outcome
    ) -> None:
        created, reply = await self._create(job, manifest)
        if created in {Created.DONE, Created.OURS}:
            memory.refusals.pop(index, None)
            self._keep(key, reply)
        elif created in {Created.REFUSED, Created.CONFLICT}:
            message = reply.answer.message or f"the name {manifest['metadata']['name']} is taken by an object that is not this job's"
            refusal = Refusal(index, attempt, message, datetime.now(UTC).replace(microsecond=0), conflict=created is Created.CONFLICT)
            before = memory.refusals.get(index)
            memory.refusals[index] = refusal
            if before is None or (before.attempt, before.message) != (attempt, message):
                outcome.events.append(refusal_event(job, refusal))
            outcome.again(0.0)
        else:
            self._heed((created, reply), outcome)

    async def _apply(self, job: Job, manifest: Manifest, memory: Memory, outcome: Outcome) -> None:
        place = manifest["kind"], manifest["metadata"]["name"]
        content = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        if memory.applied.get(place) == content:
            return
        if place not in memory.applied:
            created, reply = await self._find_or_create(job, manifest)
            if created is Created.DONE or (created is Created.OURS and has_all_of(reply.body, manifest)):
                memory.applied[place] = content
                return
            if created is not Created.OURS:
                self._heed_shared(job, manifest, (created, reply), memory, outcome)
                return
        reply = await self._call(self._kube.apply, manifest)
        if not reply.ok:
            raise Trouble(f"{place[0]} {place[1]}: {reply.answer.message}", reply.answer)
        memory.applied[place] = content

    async def _find_or_create(self, job: Job, manifest: Manifest) -> tuple[Created, Reply]:
        if job.status.start_time is None:
            return await self._create(job, manifest)
        # Of a job that has started it is most likely there, and to look for it costs less than to create it in vain.
        held = await self._call(self._kube.get, manifest)
        return await self._create(job, manifest) if held.answer.code == 404 else (_whose(job, held), held)

    def _heed_shared(self, job: Job, manifest: Manifest, found: tuple[Created, Reply], memory: Memory, outcome: Outcome) -> None:
        """Heed the creation of something that all pods need: while its name is somebody else's, the job cannot be accepted."""
        if found[0] is not Created.CONFLICT:
            self._heed(found, outcome)
            return
        message = f"{manifest['kind']} {manifest['metadata']['name']} exists and is not this job's; delete it or rename the job"
        now = datetime.now(UTC).replace(microsecond=0)
        memory.refusals[None] = Refusal(None, job.status.coordinator.attempt, message, now, conflict=True)
        outcome.stop = True
        outcome.again(0.0)

    @staticmethod
    def _heed(found: tuple[Created, Reply], outcome: Outcome) -> None:
        created, reply = found
        match created:
            case Created.DROP:
                outcome.drop = True
            case Created.WAIT:
                outcome.stop = True
                outcome.again(_WAIT_SECONDS)
            case Created.RETRY | Created.REFUSED | Created.CONFLICT:
                raise Trouble(reply.answer.message, reply.answer)


def _whose(job: Job, held: Reply) -> Created:
    """Return what an object that has the name is to the job."""
    if not held.ok:
        raise Trouble(held.answer.message, held.answer)
    owner: dict[str, Any] = next((one for one in held.body["metadata"].get("ownerReferences") or () if one.get("controller")), {})
    is_job = owner.get("kind") == KIND and owner.get("name") == job.name
    return creation(Answer(409), holder_uid=owner.get("uid"), holder_is_job=is_job, job_uid=job.uid)


def _expect(reply: Reply, *codes: int) -> None:
    if not reply.ok and reply.answer.code not in codes:
        raise Trouble(reply.answer.message, reply.answer)
