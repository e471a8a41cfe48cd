"""Polling a coordinator: what is taken, and what counts as silence."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from fedcore_operator.io.progress import Silence, fetch_progress

SAID = {
    "schema": 1, "uid": "u", "attempt": 2, "run_id": "r", "phase": "Running", "round": 7, "rounds": 20, "accepted": 4, "required": 6,
    "registered": 7, "quorum_met": True, "quorum_lost_seconds": 0, "late": 3, "metrics": {"accuracy": 0.9}, "metrics_version": 6,
    "recent_rounds": [], "slowest_workers": [], "checkpoint_version": 6, "something_new": 1,
}  # fmt: skip


def answer(handler):
    """Return what is made of the answer of a server."""

    async def ask():
        app = web.Application()
        app.router.add_get("/progress", handler)
        app.router.add_get("/elsewhere", good)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            port = site._server.sockets[0].getsockname()[1]
            async with aiohttp.ClientSession() as session, asyncio.timeout(20):
                return await fetch_progress(session, "127.0.0.1", port)
        finally:
            await runner.cleanup()

    return asyncio.run(ask())


async def good(_):
    return web.json_response(SAID)


def test_a_coordinators_answer_is_parsed():
    said = answer(good)
    assert (said.uid, said.attempt, said.round) == ("u", 2, 7)


def test_a_redirection_counts_as_silence():
    async def elsewhere(_):
        raise web.HTTPFound("/elsewhere")

    assert answer(elsewhere) is Silence.REFUSED


@pytest.mark.parametrize(
    ("text", "status", "why"),
    [
        pytest.param("{}", 200, Silence.INVALID, id="another object"),
        pytest.param("hello", 200, Silence.INVALID, id="no JSON"),
        pytest.param(json.dumps(SAID), 503, Silence.REFUSED, id="an error"),
        pytest.param(json.dumps({**SAID, "uid": "u" * 70_000}), 200, Silence.INVALID, id="too much"),
    ],
)
def test_anything_else_counts_as_silence(text, status, why):
    async def answered(_):
        return web.Response(text=text, status=status)

    assert answer(answered) is why


def test_nobody_there_counts_as_silence():
    async def ask():
        async with aiohttp.ClientSession() as session:
            return await fetch_progress(session, "127.0.0.1", 1)

    assert asyncio.run(ask()) is Silence.REFUSED
