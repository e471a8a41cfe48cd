from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from fedcore.coordinator.head import HttpRefusal
from fedcore.coordinator.slots import Slots


class Queue:
    """Sessions that ask for places; each lets go when it is told to."""

    def __init__(self, count, queue_seconds=60.0):
        self.slots = Slots(count, queue_seconds)
        self.order = []
        self.places = []

    def ask(self, session):
        """Return a task that holds a place until it is cancelled."""

        async def hold():
            async with self.slots.taken(session):
                self.order.append(session)
                self.places.append(asyncio.current_task())
                await asyncio.Event().wait()

        return asyncio.create_task(hold())

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self, task):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.settle()


def in_queue(count, queue_seconds=60.0):
    def decorate(test):
        def run():
            async def whole():
                queue = Queue(count, queue_seconds)
                try:
                    await asyncio.wait_for(test(queue), 10)
                finally:
                    rest = asyncio.all_tasks() - {asyncio.current_task()}
                    for task in rest:
                        task.cancel()
                    await asyncio.gather(*rest, return_exceptions=True)
                assert queue.slots._free == count
                assert not queue.slots._waiting
                assert not queue.slots._holding

            asyncio.run(whole())

        run.__name__ = test.__name__
        return run

    return decorate


@in_queue(8)
async def test_one_session_has_one_place_whatever_it_asks_for(queue):
    greedy = [queue.ask("greedy") for _ in range(8)]
    await queue.settle()
    assert queue.order == ["greedy"]
    for number in range(7):
        queue.ask(f"honest-{number}")
    await queue.settle()
    assert queue.order == ["greedy", *(f"honest-{number}" for number in range(7))]
    await queue.end(greedy[0])
    assert queue.order[8:] == ["greedy"]


@in_queue(1)
async def test_sessions_take_turns(queue):
    for session in ("a", "a", "a", "b", "c"):
        queue.ask(session)
    await queue.settle()
    for number in range(4):
        await queue.end(queue.places[number])
    assert queue.order == ["a", "b", "c", "a", "a"]


@in_queue(2)
async def test_who_leaves_the_queue_keeps_no_place_in_it(queue):
    first, _second, third = queue.ask("a"), queue.ask("b"), queue.ask("c")
    queue.ask("d")
    await queue.settle()
    await queue.end(third)
    await queue.end(first)
    assert queue.order == ["a", "b", "d"]


@in_queue(1)
async def test_place_that_comes_as_its_owner_leaves_goes_to_the_next(queue):
    first, second = queue.ask("a"), queue.ask("b")
    queue.ask("c")
    await queue.settle()
    first.cancel()
    await asyncio.sleep(0)  # the place is b's now, and b has not run yet
    second.cancel()
    await queue.settle()
    assert queue.order == ["a", "c"]


@in_queue(1, queue_seconds=0.01)
async def test_who_waits_too_long_is_told_to_come_again(queue):
    queue.ask("a")
    await queue.settle()
    with pytest.raises(HttpRefusal) as refused:
        await queue.ask("b")
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})


@in_queue(1)
async def test_a_session_that_waits_often_enough_is_told_at_once(queue):
    queue.ask("a")
    for _ in range(8):
        queue.ask("b")
    await queue.settle()
    async with AsyncExitStack() as stack:
        with pytest.raises(HttpRefusal, match="enough requests waiting"):
            await stack.enter_async_context(queue.slots.taken("b"))
