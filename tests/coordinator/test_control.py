from __future__ import annotations

import asyncio
import threading

import pytest

from fedcore.coordinator.app import BodyRefused, Refusal
from fedcore.coordinator.control import Control
from fedcore.wire.protocol import UploadReply


class SlowSink:
    """Takes a body, or refuses it, when it is let."""

    def __init__(self, refusal):
        self.refusal = refusal
        self.writing = threading.Event()
        self.go_on = threading.Event()
        self.discarded = []
        self.over = asyncio.Event()

    def write(self, piece):
        self.writing.set()
        assert self.go_on.wait(10)
        if self.refusal is not None:
            raise BodyRefused(self.refusal)

    def discard(self, reason):
        self.discarded.append(reason)
        self.over.set()


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        pytest.param(None, "incomplete", id="a body that is well"),
        pytest.param(Refusal(422, UploadReply(result="rejected")), "refused", id="a body that is refused"),
    ],
)
def test_inline_body_whose_sender_goes_away_gives_its_file_back_once_it_is_written(monkeypatch, refusal, reason):
    sink = SlowSink(refusal)
    control = Control(None, "")

    async def upload(*_):
        return sink

    monkeypatch.setattr(control, "upload", upload)

    async def leave():
        call = asyncio.create_task(control._take_inline("s", 1, "base", b"weights"))
        await asyncio.to_thread(sink.writing.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert sink.discarded == []
        sink.go_on.set()
        await asyncio.wait_for(sink.over.wait(), 10)

    asyncio.run(leave())
    assert sink.discarded == [reason]
