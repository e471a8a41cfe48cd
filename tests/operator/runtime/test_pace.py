"""How creations are spread over time, and the poll that follows an event."""

import asyncio
from types import SimpleNamespace

import pytest

from fedcore_operator.io.progress import Silence
from fedcore_operator.runtime import poller as polling
from fedcore_operator.runtime.backlog import Backlog
from fedcore_operator.runtime.cache import Key
from fedcore_operator.runtime.pace import Gate, Pace
from fedcore_operator.runtime.poller import Poller
from fedcore_operator.runtime.queue import Queue

A, B = Key("n", "a"), Key("n", "b")


def test_a_burst_is_spread_evenly_and_in_order():
    pace = Pace(50)
    turns = [7.0 + pace.turn(7.0) for _ in range(200)]
    assert turns[0] == 7.0
    assert turns == sorted(turns)
    for first, later in zip(turns, turns[50:], strict=False):
        assert later - first >= 1.0 - 1e-9, "no second has more than fifty"
    assert turns[-1] == pytest.approx(7.0 + 199 / 50)


def test_what_was_not_used_is_not_saved_up():
    pace = Pace(50)
    pace.turn(0.0)
    assert pace.turn(100.0) == 0.0
    assert pace.turn(100.0) == pytest.approx(0.02)
    assert pace.turn(100.01) == pytest.approx(0.03)


def test_a_busy_moment_is_followed_by_no_burst(monkeypatch):
    """Here every wait takes a second longer than it was to."""
    clock = SimpleNamespace(now=0.0)
    passed = []

    async def late(seconds):
        clock.now += seconds + (1.0 if seconds else 0.0)

    async def scenario():
        gate = Gate(Pace(50), lambda: clock.now)

        async def one():
            await gate.wait()
            passed.append(clock.now)

        await asyncio.gather(*(one() for _ in range(40)))

    monkeypatch.setattr(asyncio, "sleep", late)
    asyncio.run(scenario())
    assert len(passed) == 40
    assert max(passed.count(at) for at in passed) <= 2, "the one that was late, and the one whose turn it was by then"


@pytest.fixture
def asked(monkeypatch):
    """Addresses that were polled; the answer is nothing."""
    addresses = []

    async def fetch(_, address):
        addresses.append(address)
        return Silence.REFUSED

    monkeypatch.setattr(polling, "fetch_progress", fetch)
    return addresses


def test_a_poll_comes_every_so_often_and_at_once_after_an_event(asked):
    clock, results, waits = SimpleNamespace(now=0.0), [], []

    async def scenario():
        poller = Poller(None, Queue(lambda: clock.now, waits.append), 10, lambda: clock.now, results.append)

        async def ask(address="10.0.0.1"):
            poller.ask(A, address)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return len(asked)

        poller.hasten(A)  # of a job that was never asked
        assert await ask() == 1
        clock.now = 5.0
        assert await ask() == 1
        poller.hasten(B)
        assert await ask() == 1, "an event of another job"
        poller.hasten(A)
        assert await ask() == 2
        assert await ask() == 2, "once for each event"
        assert await ask("10.0.0.2") == 3, "another pod"
        clock.now = 14.6
        assert await ask("10.0.0.2") == 4

    asyncio.run(scenario())
    assert (results, waits) == (["refused"] * 4, []), "and whom nobody answers for is not looked at again for that"


def test_a_first_pass_is_over_when_each_job_was_looked_at():
    async def scenario():
        backlog = Backlog()
        backlog.done(A)
        assert (backlog.left, backlog.over.is_set()) == (None, False)
        backlog.expect([A, B])
        assert (backlog.left, backlog.over.is_set()) == (1, False)
        backlog.done(A)
        assert not backlog.over.is_set()
        backlog.done(B)
        assert backlog.over.is_set()

    asyncio.run(scenario())


def test_without_jobs_it_is_over_at_once():
    async def scenario():
        backlog = Backlog()
        backlog.expect([])
        assert backlog.over.is_set()

    asyncio.run(scenario())
