"""How long a finished coordinator waits for its last scrape."""

from __future__ import annotations

import asyncio

import pytest

from fedcore.coordinator.linger import Scrapes, linger_seconds, was_awaited


@pytest.mark.parametrize(
    ("limit", "monitored", "scraped", "expected"),
    [
        pytest.param(45, False, False, 0, id="nobody scrapes: it ends at once"),
        pytest.param(45, False, True, 45, id="somebody has scraped"),
        pytest.param(45, True, False, 45, id="somebody will: a short job ends before the first scrape"),
        pytest.param(45, True, True, 45, id="both"),
        pytest.param(0, True, True, 0, id="turned off"),
    ],
)
def test_linger_seconds(limit, monitored, scraped, expected):
    assert linger_seconds(limit, monitored=monitored, scraped=scraped) == expected


def test_wait_is_for_an_answer_that_has_the_final_values():
    async def job():
        scrapes = Scrapes()
        waiting = asyncio.ensure_future(scrapes.wait(20))
        scrapes.begun()
        scrapes.answered(final=False)
        await asyncio.sleep(0)
        scrapes.begun()
        await asyncio.sleep(0)
        assert not waiting.done()  # begun is not answered
        scrapes.answered(final=True)
        return await waiting, await scrapes.wait(20)

    assert asyncio.run(asyncio.wait_for(job(), 10)) == (True, True)


def test_who_has_begun_to_scrape_will_come_again():
    async def job():
        scrapes = Scrapes()
        before = scrapes.linger_seconds(45)
        scrapes.begun()
        return before, scrapes.linger_seconds(45)

    assert asyncio.run(job()) == (0, 45)


def test_wait_ends_when_nobody_comes():
    async def job():
        return await Scrapes(monitored=True).wait(0.01)

    assert not asyncio.run(asyncio.wait_for(job(), 10))


@pytest.mark.parametrize(
    ("headers", "took", "expected"),
    [
        pytest.param({}, 100.0, True, id="nobody says how long they wait"),
        pytest.param({"x-prometheus-scrape-timeout-seconds": "10"}, 9.9, True, id="in time"),
        pytest.param({"x-prometheus-scrape-timeout-seconds": "1"}, 1.2, False, id="Prometheus has given up"),
        pytest.param({"x-prometheus-scrape-timeout-seconds": "soon"}, 1.2, True, id="no number"),
    ],
)
def test_scrape_was_awaited(headers, took, expected):
    assert was_awaited(headers, took) is expected
