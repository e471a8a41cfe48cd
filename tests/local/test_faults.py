"""Faults: what can be asked for, and when it strikes."""

from __future__ import annotations

from random import Random

import pytest

from fedcore.local.faults import Faults, Kill, Slow, parse_kill, parse_slow, problems


@pytest.mark.parametrize(
    ("text", "kill"),
    [("worker-2@3", Kill("worker-2", 2, 3)), ("worker-0@1", Kill("worker-0", 0, 1)), ("coordinator@4", Kill("coordinator", None, 4))],
)
def test_parse_kill(text, kill):
    assert parse_kill(text) == kill
    assert str(kill) == text


@pytest.mark.parametrize(
    "text", ["", "worker-2", "worker-2@0", "worker@2", "worker-02@1", "worker--1@1", "coordinator@x", "2@3", "worker-1@2 "]
)
def test_parse_kill_says_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"allowed: worker-INDEX@ROUND or coordinator@ROUND"):
        parse_kill(text)


def test_parse_slow():
    assert parse_slow("worker-1=4") == Slow(1, 4.0)
    assert parse_slow("worker-0=1.5") == Slow(0, 1.5)


@pytest.mark.parametrize("text", ["worker-1", "worker-1=0.5", "worker-1=-4", "coordinator=2", "worker-1=x"])
def test_parse_slow_says_what_is_allowed(text):
    with pytest.raises(ValueError, match="a factor of at least 1"):
        parse_slow(text)


def test_problems_name_what_can_never_happen():
    found = problems([parse_kill("worker-4@1"), parse_kill("coordinator@9"), parse_kill("worker-1@3")], [Slow(5, 2)], replicas=4, rounds=3)
    assert found == [
        "--kill worker-4@1: there are 4 workers, worker-0 to worker-3",
        "--kill coordinator@9: the job has 3 rounds",
        "--slow worker-5: there are 4 workers, worker-0 to worker-3",
    ]


def opened(number):
    return {"event": "round_opened", "round": number}


def sent(number, worker):
    return {"event": "task_sent", "round": number, "worker": worker}


def test_a_worker_is_killed_when_its_task_was_sent_and_only_once():
    faults = Faults([parse_kill("worker-2@3")], Random(0))
    assert faults.feed(opened(3), 0) == []
    assert faults.feed(sent(3, "worker-1"), 0) == []
    assert faults.feed(sent(2, "worker-2"), 0) == []
    assert [str(kill) for kill in faults.feed(sent(3, "worker-2"), 0)] == ["worker-2@3"]
    assert faults.feed(sent(3, "worker-2"), 1) == []
    assert faults.unfired == []


def test_the_coordinator_is_killed_within_the_length_of_the_round_before_its_writing_included():
    faults = Faults([parse_kill("coordinator@4")], Random(7))
    faults.feed(opened(3), 90)
    faults.feed({"event": "round_closed", "round": 3, "duration_s": 0.5}, 99)  # so long was it collecting; then it was written
    assert faults.feed(opened(4), 100) == []
    at = faults.next_deadline()
    assert 101 < at < 110
    assert faults.tick(at - 0.001) == []
    assert [str(kill) for kill in faults.tick(at)] == ["coordinator@4"]
    assert faults.feed(opened(4), 111) == []
    assert faults.next_deadline() is None


def test_the_coordinator_is_killed_at_the_close_of_a_round_that_was_shorter():
    faults = Faults([parse_kill("coordinator@1")], Random(7))
    faults.feed(opened(1), 0)
    assert [str(kill) for kill in faults.feed({"event": "round_closed", "round": 1, "duration_s": 0.001}, 0.001)] == ["coordinator@1"]


def test_a_kill_whose_round_never_came_is_unfired():
    faults = Faults([parse_kill("worker-0@2")], Random(0))
    assert [str(kill) for kill in faults.unfired] == ["worker-0@2"]


def test_a_kill_whose_process_was_not_there_strikes_when_the_round_reopens():
    faults = Faults([parse_kill("coordinator@2")], Random(0))
    faults.feed(opened(2), 0)
    (kill,) = faults.tick(1)
    faults.missed(kill)
    assert faults.next_deadline() is None
    faults.feed(opened(2), 5)
    assert faults.tick(6) == [kill]
