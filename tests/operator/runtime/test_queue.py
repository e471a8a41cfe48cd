"""Whose turn it is: every key once, at its time, never by two."""

import asyncio

from fedcore_operator.runtime.cache import Key
from fedcore_operator.runtime.queue import Queue

A, B = Key("n", "a"), Key("n", "b")


def run(scenario):
    async def bounded():
        async with asyncio.timeout(10):
            loop = asyncio.get_running_loop()
            await scenario(Queue(loop.time, waits.append))

    waits = []
    asyncio.run(bounded())
    return waits


async def nothing_to_take(queue):
    taking = asyncio.create_task(queue.take())
    done, _ = await asyncio.wait({taking}, timeout=0.05)
    taking.cancel()
    return not done


def test_a_key_that_is_added_twice_comes_once():
    async def scenario(queue):
        queue.add(A)
        queue.add(A)
        assert await queue.take() == A
        queue.done(A)
        assert await nothing_to_take(queue)

    run(scenario)


def test_what_is_added_during_work_comes_after_it():
    async def scenario(queue):
        queue.add(A)
        await queue.take()
        queue.add(A)
        assert await nothing_to_take(queue)
        queue.done(A)
        assert await queue.take() == A

    run(scenario)


def test_the_earlier_time_counts_and_the_earlier_key_comes_first():
    async def scenario(queue):
        queue.add(A, 0.1)
        queue.add(B, 60)
        queue.add(B, 0.05)
        queue.add(B, 60)
        assert [await queue.take(), await queue.take()] == [B, A]

    run(scenario)


def test_what_is_due_is_the_depth_and_how_long_it_was_due_is_told():
    async def scenario(queue):
        for key, delay in ((A, -2.0), (B, 0.0), (Key("n", "c"), 60.0)):
            queue.add(key, delay)
        assert queue.depth() == 2
        assert [await queue.take(), await queue.take()] == [A, B]
        assert queue.depth() == 0

    first, second = run(scenario)
    assert 2.0 <= first < 10.0
    assert 0.0 <= second < 8.0


def test_a_new_key_wakes_who_waits_for_a_later_one():
    async def scenario(queue):
        queue.add(A, 60)
        taking = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        queue.add(B)
        assert await taking == B

    run(scenario)
