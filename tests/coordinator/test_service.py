"""The engine's world: what happens when an effect cannot be carried out."""

from __future__ import annotations

import asyncio
import json

import pytest

from fedcore.coordinator.ending import Ending
from fedcore.coordinator.journal import Journal
from fedcore.coordinator.linger import Scrapes
from fedcore.coordinator.meter import Meter
from fedcore.coordinator.service import Service
from fedcore.coordinator.spool import Spool
from fedcore.coordinator.versions import Versions
from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.engine import Engine
from fedcore.engine.reasons import EndReason, Phase
from fedcore.report.rundir import EVENTS, SUMMARY, read_events
from fedcore.spec import Spec

SPEC = Spec.model_validate({"rounds": 2, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 1}})


@pytest.fixture
def in_service(tmp_path):
    """Run a coroutine function with a service on an empty run directory."""

    def run(test):
        async def whole():
            journal = Journal(tmp_path)
            engine = Engine(SPEC, "run", asyncio.get_running_loop().time())
            parts = Versions(tmp_path / "versions", 3), journal, Spool(tmp_path / "spool"), Ending(tmp_path, journal, None)
            service = Service(engine, *parts, Meter(), Scrapes())
            try:
                return await asyncio.wait_for(test(service), 10)
            finally:
                service.stop()

        return asyncio.run(whole())

    return run


@pytest.mark.parametrize(
    "effect",
    [
        pytest.param(ef.Merge("no such upload", "w", 1), id="a merge of nothing"),
        pytest.param(ef.Record("update", {"no": "fields"}), id="a record without its fields"),
        pytest.param(ef.Record("odd", {"seconds": float("nan")}), id="a record that is no JSON"),
    ],
)
def test_effect_that_fails_ends_the_job_and_loses_no_answer(in_service, tmp_path, monkeypatch, caplog, effect):
    async def test(service):
        parked = asyncio.ensure_future(service.call(lambda ticket: ev.Heard("nobody")))  # waits for an answer of a later event
        await asyncio.sleep(0)
        assert not parked.done()
        answers = [ef.Answer(1, ef.Empty()), ef.Answer(2, ef.Empty())]
        monkeypatch.setattr(service.engine, "handle", lambda _event, _now: [answers[0], effect, answers[1], ef.Record("after", {})])
        assert await service.call(lambda ticket: ev.Tick()) == ef.Empty()
        assert await parked == ef.Empty()
        assert await service.done == 1

    in_service(test)
    events = list(read_events(tmp_path / EVENTS))
    assert [event["event"] for event in events] == ["run_finished"]
    assert events[0]["reason"] == "InternalError"
    assert json.loads((tmp_path / SUMMARY).read_text())["reason"] == "InternalError"


def test_a_job_that_cannot_even_say_so_ends(in_service, monkeypatch, caplog):
    def broken(*_):
        raise ValueError("a bug")

    async def test(service):
        monkeypatch.setattr(service._ending, "write", broken)
        monkeypatch.setattr(service.engine, "next_deadline", broken)
        service.handle(ev.Tick())
        assert await service.done == 1

    in_service(test)


def test_an_end_that_was_told_stays_the_end(in_service, tmp_path, monkeypatch, caplog):
    async def test(service):
        end = ef.Finish(Phase.FAILED, EndReason.QUORUM_LOST, "too few", 3)
        said = ef.Record("run_finished", {"phase": "Failed", "reason": "QuorumLost", "message": "too few", "exit_code": 3})
        service.engine.end = end
        monkeypatch.setattr(service.engine, "handle", lambda _event, _now: [said, end, ef.Merge("no such upload", "w", 1)])
        service.handle(ev.Tick())
        assert await service.done == 3

    in_service(test)
    assert [event["event"] for event in read_events(tmp_path / EVENTS)] == ["run_finished"]
    assert json.loads((tmp_path / SUMMARY).read_text())["reason"] == "QuorumLost"
