"""A pass over a job before an API server of a few lines: what is written when, and what each refusal leads to."""

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from prometheus_client import CollectorRegistry

from fedcore.certificates import authority
from fedcore_operator.api.conditions import ConditionType, condition
from fedcore_operator.api.job import parse_job
from fedcore_operator.io.credentials import Credentials
from fedcore_operator.io.kube import Reply
from fedcore_operator.runtime.actor import PODS_A_PASS, Actor, Trouble
from fedcore_operator.runtime.cache import Cache, Key
from fedcore_operator.runtime.meters import Meters
from fedcore_operator.runtime.pace import Gate, Pace
from fedcore_operator.runtime.queue import Queue
from fedcore_operator.runtime.worker import Worker
from support.cluster_model import SETTINGS, Cluster

SIGNER = Credentials(authority("a", now=datetime.now(UTC), valid=timedelta(days=3650)), b"k" * 32)


class Api:
    """Objects by kind and name, and answers that a test wants instead."""

    def __init__(self, spec):
        self.job = Cluster(spec).job
        self.job["metadata"]["resourceVersion"] = "1"
        self.objects, self.calls, self.instead = {}, [], {}
        self._ids = count(1)

    def _noted(self, verb, name):
        self.calls.append((verb, name))
        return self.instead.get((verb, name))

    async def get_job(self, *_):
        await asyncio.sleep(0)  # others have their turn, as during any call
        return Reply(404, {}) if self.job is None else Reply(200, copy.deepcopy(self.job))

    async def list_pods(self, *_):
        return Reply(200, {"items": [one for (kind, _), one in self.objects.items() if kind == "Pod"]})

    async def create(self, manifest, *, dry_run=False):
        kind, name = manifest["kind"], manifest["metadata"].get("name")
        answer = self._noted("try" if dry_run else "create", kind if kind == "Event" else name)
        if answer is not None:
            return answer
        if (kind, name) in self.objects and not dry_run:
            return Reply(409, {"message": "exists"})
        stored = copy.deepcopy(manifest)
        stored["metadata"] |= {"uid": f"u{next(self._ids)}", "resourceVersion": "5", "creationTimestamp": "2026-11-25T12:00:00Z"}
        if not dry_run and kind != "Event":
            self.objects[kind, name] = stored
        return Reply(201, stored)

    async def get(self, manifest):
        found = self.objects.get((manifest["kind"], manifest["metadata"]["name"]))
        return Reply(404, {}) if found is None else Reply(200, found)

    async def apply(self, manifest):
        self._noted("apply", manifest["metadata"]["name"])
        return Reply(200, manifest)

    async def write_status(self, job, status):
        answer = self._noted("status", job.name)
        if answer is not None:
            return answer
        assert job.resource_version == self.job["metadata"]["resourceVersion"]
        self.job["status"] = status.to_api()
        self.job["metadata"]["resourceVersion"] = str(int(job.resource_version) + 1)
        return Reply(200, copy.deepcopy(self.job))

    def names(self, verb):
        return [name for said, name in self.calls if said == verb]

    @property
    def status(self):
        return parse_job(self.job).status


class NoPolls:
    def ask(self, *_):
        pass

    def last(self, _):
        return None

    def forget(self, _):
        pass


@pytest.fixture
def api():
    return Api({"rounds": 2, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 2}})


def passes(api, times=1):
    """Let a fresh operator look at the job so often; return what it has counted."""
    registry = CollectorRegistry()
    meters = Meters(registry)

    async def look():
        clock = asyncio.get_running_loop().time
        cache, queue = Cache(clock), Queue(clock, meters.waited)
        worker = Worker(api, cache, queue, Actor(api, cache, SIGNER, Gate(Pace(1000), clock)), NoPolls(), SETTINGS, clock, meters)
        for _ in range(times):
            await worker.look_at(Key(api.job["metadata"]["namespace"], api.job["metadata"]["name"]) if api.job else Key("lab", "mnist"))

    asyncio.run(look())
    return registry


PODS = ["mnist-coordinator-1", "mnist-worker-0-1", "mnist-worker-1-1"]


def test_the_status_is_written_before_anything_is_made_and_events_come_last(api):
    passes(api)
    verbs = [verb for verb, _ in api.calls if verb != "try"]
    assert verbs[0] == "status"
    assert [name for kind, name in api.objects if kind == "Pod"] == PODS
    assert api.calls[-1] == ("create", "Event")


def test_a_second_pass_makes_nothing_twice(api):
    passes(api, times=2)
    assert [name for name in api.names("create") if name in PODS] == PODS


def test_after_a_restart_what_is_there_is_taken_for_what_it_is(api):
    passes(api)
    before, made = set(api.objects), api.names("create")
    passes(api)
    assert set(api.objects) == before
    shared = {"mnist", "mnist-coordinator", "mnist-workers"}
    assert api.names("apply") == []
    assert [name for name in api.names("create")[len(made) :] if name != "Event"] == [], "it is looked for first"
    for (kind, name), one in api.objects.items():
        if name in shared and kind != "Pod":
            one["spec"] = {**one["spec"], **({"selector": {}} if "selector" in one["spec"] else {"ingress": []})}
    passes(api)
    assert set(api.names("apply")) == shared, "what somebody has changed is made good"


def test_a_large_job_comes_in_parts(api):
    api.job["spec"]["workers"]["replicas"] = 200

    def pods():
        return sum(kind == "Pod" for kind, _ in api.objects)

    made = []
    for _ in range(5):
        passes(api)
        made.append(pods())
    assert made == [PODS_A_PASS, 2 * PODS_A_PASS, 3 * PODS_A_PASS, 201, 201]


def test_nothing_of_a_pass_goes_on_after_it(api):
    """A failure ends the pass only when its neighbours have ended, or they would run beside the next one."""
    api.instead["create", "mnist-worker-0-1"] = Reply(500, {"message": "later"})
    with pytest.raises(Trouble, match="later"):
        passes(api)
    assert ("Pod", "mnist-worker-1-1") in api.objects


@pytest.mark.parametrize("code", [404, 409])
def test_a_status_that_was_not_written_voids_the_pass(api, code):
    api.instead["status", "mnist"] = Reply(code, {"message": "changed"})
    passes(api)
    assert api.objects == {}
    assert "Event" not in api.names("create")


def test_a_service_of_somebody_else_is_a_conflict_that_the_status_names(api):
    api.objects["Service", "mnist"] = {"metadata": {"name": "mnist"}}
    passes(api, times=2)
    accepted = condition(api.status, ConditionType.ACCEPTED)
    assert (accepted.status, accepted.reason) == ("False", "NameConflict")
    assert "Service mnist exists" in accepted.message
    assert not [name for kind, name in api.objects if kind == "Pod"]


def test_a_pod_that_is_refused_is_told_once_and_shown(api):
    api.instead["create", "mnist-worker-1-1"] = Reply(403, {"message": "exceeded quota"})
    passes(api, times=3)
    assert api.names("create").count("mnist-worker-1-1") == 1, "again in 30 s"


def test_a_job_of_before_is_waited_for(api):
    owner = {"controller": True, "kind": "FederatedJob", "name": "mnist", "uid": "earlier"}
    api.objects["Pod", "mnist-worker-0-1"] = {"metadata": {"name": "mnist-worker-0-1", "uid": "x", "ownerReferences": [owner]}}
    api.objects["Pod", "mnist-worker-0-1"]["metadata"] |= {"resourceVersion": "2", "creationTimestamp": "2026-11-25T11:00:00Z"}
    passes(api)
    assert condition(api.status, ConditionType.ACCEPTED).status == "True"


def test_a_server_in_trouble_is_trouble(api):
    api.instead["try", "mnist-coordinator-1"] = Reply(503, {"message": "later"})
    with pytest.raises(Trouble, match="later"):
        passes(api)
    assert api.status.conditions == ()


def test_a_job_that_is_gone_is_dropped(api):
    api.job = None
    passes(api)
    assert api.calls == []


def counted(api, until):
    """Let an operator work on the job off its queue until something has happened; return what it has counted."""
    registry = CollectorRegistry()
    meters = Meters(registry)

    async def work():
        clock = asyncio.get_running_loop().time
        cache, queue = Cache(clock), Queue(clock, meters.waited)
        worker = Worker(api, cache, queue, Actor(api, cache, SIGNER, Gate(Pace(1000), clock)), NoPolls(), SETTINGS, clock, meters)
        queue.add(Key("ns", "mnist"))
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            while not until(registry):  # noqa: ASYNC110 - it is the worker's own time that passes
                await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(work())
    return lambda name, **labels: registry.get_sample_value(f"fedcore_operator_{name}", labels)


def passes_of(result, times=1):
    name = "fedcore_operator_reconcile_duration_seconds_count"
    return lambda registry: registry.get_sample_value(name, {"result": result}) >= times


def test_a_pass_is_counted_with_its_events(api):
    value = counted(api, passes_of("done"))
    assert value("events_total", type="Normal") + value("events_total", type="Warning") == api.names("create").count("Event") > 0
    assert value("queue_wait_seconds_count") >= 1
    assert value("reconcile_duration_seconds_count", result="error") == 0


@pytest.mark.parametrize(
    ("code", "result", "cause"),
    [(500, "error", "api"), (429, "error", "throttled"), (0, "error", "timeout"), (409, "requeue", "conflict")],
)
def test_a_pass_that_fails_is_counted_by_its_cause(api, code, result, cause):
    api.instead["status", "mnist"] = Reply(code, {"message": "no"})
    value = counted(api, passes_of(result))
    assert value("reconcile_errors_total", **{"class": cause}) == value("reconcile_duration_seconds_count", result=result)


def test_a_bug_is_an_internal_error(api, monkeypatch):
    monkeypatch.setattr("fedcore_operator.runtime.worker.reconcile", lambda *_: 1 / 0)
    value = counted(api, passes_of("error"))
    assert value("reconcile_errors_total", **{"class": "internal"}) == 1
