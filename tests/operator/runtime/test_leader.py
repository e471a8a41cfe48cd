"""The Lease: taken, kept, lost, given back."""

import asyncio
import copy
from types import SimpleNamespace

import pytest

from fedcore_operator.io.kube import Reply
from fedcore_operator.runtime.leader import Leader, LeaseLost


class Store:
    """One object with optimistic locking."""

    def __init__(self):
        self.held = None

    async def get(self, _):
        return Reply(404, {}) if self.held is None else Reply(200, copy.deepcopy(self.held))

    async def create(self, manifest):
        if self.held is not None:
            return Reply(409, {})
        self.held = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}
        return Reply(201, copy.deepcopy(self.held))

    async def update(self, manifest):
        version = self.held["metadata"]["resourceVersion"]
        if manifest["metadata"]["resourceVersion"] != version:
            return Reply(409, {})
        self.held = copy.deepcopy(manifest)
        self.held["metadata"]["resourceVersion"] = str(int(version) + 1)
        return Reply(200, copy.deepcopy(self.held))


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def leaders(store, clock):
    return [Leader(store, "own", name, lambda: clock.now) for name in ("one", "two")]


def test_the_second_waits_until_the_first_is_silent_for_the_lease(store, clock, leaders):
    one, two = leaders
    assert asyncio.run(one._try())
    assert not asyncio.run(two._try())
    clock.now = 15.0
    assert not asyncio.run(two._try())
    clock.now = 15.1
    assert asyncio.run(two._try())
    assert store.held["spec"]["leaseTransitions"] == 1
    with pytest.raises(LeaseLost, match="taken by two"):
        asyncio.run(one._try())


def test_renewing_starts_the_wait_anew(clock, leaders):
    one, two = leaders
    asyncio.run(one._try())
    asyncio.run(two._try())
    clock.now = 10.0
    asyncio.run(one._try())
    clock.now = 20.0
    asyncio.run(two._try())
    clock.now = 34.0
    assert not asyncio.run(two._try())


def test_a_lease_given_back_is_free_at_once(leaders):
    one, two = leaders
    asyncio.run(one._try())
    asyncio.run(one.give_back())
    assert asyncio.run(two._try())
