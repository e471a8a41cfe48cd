"""Following events.jsonl past torn lines and restarts of its writer."""

from __future__ import annotations

import json
import resource
import signal

import pytest

from fedcore.local.tail import EventTail
from fedcore.report.rundir import EVENTS, read_events


def line(name):
    return json.dumps({"event": name}).encode() + b"\n"


def names(events):
    return [event["event"] for event in events]


def test_what_was_there_before_is_left_out(tmp_path):
    (tmp_path / EVENTS).write_bytes(line("old"))
    tail = EventTail(tmp_path)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(line("new"))
    assert names(tail.read()) == ["new"]
    assert tail.read() == []


def test_a_line_is_taken_when_it_is_complete(tmp_path):
    tail = EventTail(tmp_path)
    assert tail.read() == []
    whole = line("a") + line("b")
    (tmp_path / EVENTS).write_bytes(whole[:-5])
    assert names(tail.read()) == ["a"]
    (tmp_path / EVENTS).write_bytes(whole)
    assert names(tail.read()) == ["b"]


def test_a_torn_line_that_the_next_coordinator_cuts_off_is_never_seen(tmp_path):
    tail = EventTail(tmp_path)
    (tmp_path / EVENTS).write_bytes(line("a") + line("torn")[:4])
    assert names(tail.read()) == ["a"]
    (tmp_path / EVENTS).write_bytes(line("a") + line("after"))
    assert names(tail.read()) == ["after"]


def test_append_after_takes_the_place_of_a_torn_line(tmp_path):
    (tmp_path / EVENTS).write_bytes(line("a") + b'{"event": "to')
    tail = EventTail(tmp_path)
    tail.append_after(line("end"))
    assert names(read_events(tmp_path / EVENTS)) == ["a", "end"]


def test_append_after_writes_all_or_nothing(tmp_path):
    (tmp_path / EVENTS).write_bytes(line("a") + b'{"event": "to')
    tail = EventTail(tmp_path)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(line("a")) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            tail.append_after(line("end"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / EVENTS).read_bytes() == line("a")
