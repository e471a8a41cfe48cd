"""Trackers that work, raise, block and never come back: what is counted, and that nobody waits."""

from __future__ import annotations

import threading

import pytest

from fedcore.report.trackers import RunInfo, Trackers
from fedcore.report.trackers.delivery import CALL_SECONDS, FAILURES, WAITING

LIMIT_SECONDS = 30
RUN = RunInfo("mnist", "r1", 0, {"rounds": 3}, run_dir=None)


class Recorder:
    """Takes everything, or fails as it is told."""

    def __init__(self, fail=lambda method, argument: None):
        self.calls = []
        self.fail = fail
        self.seen = threading.Condition()

    def _call(self, method, argument):
        with self.seen:
            self.calls.append((method, argument))
            self.seen.notify_all()
        self.fail(method, argument)

    def on_run_start(self, run):
        self._call("start", run.run_id)

    def log_round(self, row):
        self._call("round", row["round"])

    def on_run_end(self, summary):
        self._call("end", summary["reason"])

    def wait_for(self, number):
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.calls) >= number, LIMIT_SECONDS), self.calls


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def tell(trackers, rounds=3):
    trackers.on_run_start(RUN)
    for number in range(1, rounds + 1):
        trackers.log_round({"round": number})
    trackers.on_run_end({"reason": "Completed"})
    trackers.close(LIMIT_SECONDS)


def raising(*methods):
    def fail(method, argument):
        if method in methods or (method, argument) in methods:
            raise ConnectionError("the server is down")

    return fail


def test_every_call_arrives_in_order():
    recorder = Recorder()
    trackers = Trackers({"one": lambda: recorder})
    tell(trackers)
    assert recorder.calls == [("start", "r1"), ("round", 1), ("round", 2), ("round", 3), ("end", "Completed")]
    assert trackers.errors == {"one": 0}


def test_without_trackers_nothing_happens():
    trackers = Trackers()
    tell(trackers)
    assert trackers.errors == {}


def test_a_call_that_raises_is_counted_and_the_next_one_is_made(capfd):
    recorder = Recorder(raising(("round", 2)))
    other = Recorder()
    trackers = Trackers({"one": lambda: recorder, "two": lambda: other})
    tell(trackers)
    assert trackers.errors == {"one": 1, "two": 0}
    assert recorder.calls == other.calls
    assert capfd.readouterr().err.count('tracker_failed tracker=one error="ConnectionError: the server is down"') == 1


def test_five_failures_in_a_row_turn_it_off_and_are_said_once(capfd):
    recorder = Recorder(raising("round"))
    trackers = Trackers({"one": lambda: recorder})
    tell(trackers, rounds=20)
    said = capfd.readouterr().err
    assert trackers.errors == {"one": FAILURES}
    assert [method for method, _ in recorder.calls] == ["start", *["round"] * FAILURES]
    assert (said.count("tracker_failed"), said.count("tracker_off")) == (1, 1)


def test_credentials_in_an_error_are_not_logged(capfd):
    def fail(method, argument):
        raise ConnectionError("API request to https://me:p4ss@lab:5000/api failed; see //lab/help and a@b")

    tell(Trackers({"one": lambda: Recorder(fail)}))
    said = capfd.readouterr().err
    assert "ConnectionError: API request to https://lab:5000/api failed; see //lab/help and a@b" in said
    assert "p4ss" not in said


def test_failures_that_are_not_in_a_row_do_not():
    recorder = Recorder(lambda method, number: raising("round")(method, number) if method == "round" and number % 2 else None)
    trackers = Trackers({"one": lambda: recorder})
    tell(trackers, rounds=20)
    assert trackers.errors == {"one": 10}
    assert recorder.calls[-1] == ("end", "Completed")


def test_a_start_that_fails_is_tried_again_before_the_next_call():
    failures = iter([True, True, False])
    recorder = Recorder(lambda method, argument: raising("start")(method, argument) if method == "start" and next(failures) else None)
    trackers = Trackers({"one": lambda: recorder})
    tell(trackers)
    assert [method for method, _ in recorder.calls] == ["start", "start", "start", "round", "round", "end"]
    assert recorder.calls[3] == ("round", 2)
    assert trackers.errors == {"one": 2}


def test_one_that_cannot_be_made_is_counted():
    def make():
        raise RuntimeError("no")

    trackers = Trackers({"one": make})
    tell(trackers)
    assert trackers.errors == {"one": 5}


@pytest.fixture
def gate():
    """Blocks a tracker for as long as a test wants; no thread outlives the test."""
    opened = threading.Event()
    yield opened
    opened.set()


def blocking(gate):
    return lambda method, argument: gate.wait(LIMIT_SECONDS) if method == "round" else None


def test_one_that_blocks_keeps_nobody_and_counts_when_it_takes_too_long(gate, capfd):
    clock, blocked, other = Clock(), Recorder(blocking(gate)), Recorder()
    trackers = Trackers({"one": lambda: blocked, "two": lambda: other}, clock)
    trackers.on_run_start(RUN)
    trackers.log_round({"round": 1})
    blocked.wait_for(2)
    other.wait_for(2)
    assert trackers.errors == {"one": 0, "two": 0}
    clock.now += CALL_SECONDS + 1
    assert trackers.errors == {"one": 1, "two": 0}
    assert trackers.errors == {"one": 1, "two": 0}
    for number in range(2, 20):
        trackers.log_round({"round": number})
    assert trackers.errors["one"] == FAILURES
    said = capfd.readouterr().err
    assert (said.count("tracker_failed"), said.count("tracker_off")) == (1, 1)
    other.wait_for(20)


def test_an_answer_that_comes_at_last_is_not_counted_twice(gate):
    clock, blocked = Clock(), Recorder(blocking(gate))
    trackers = Trackers({"one": lambda: blocked}, clock)
    trackers.on_run_start(RUN)
    trackers.log_round({"round": 1})
    blocked.wait_for(2)
    clock.now += CALL_SECONDS + 1
    trackers.log_round({"round": 2})  # lost: it would wait behind the other
    assert trackers.errors == {"one": 2}
    gate.set()
    trackers.close(LIMIT_SECONDS)
    assert trackers.errors == {"one": 2}


def test_the_queue_is_bounded(gate):
    blocked = Recorder(blocking(gate))
    trackers = Trackers({"one": lambda: blocked})
    trackers.on_run_start(RUN)
    trackers.log_round({"round": 1})
    blocked.wait_for(2)
    for number in range(WAITING + 3):
        trackers.log_round({"round": number})
    assert trackers.errors == {"one": 3}


def test_what_is_not_taken_at_the_end_is_counted(gate, capfd):
    blocked = Recorder(blocking(gate))
    trackers = Trackers({"one": lambda: blocked})
    trackers.on_run_start(RUN)
    trackers.log_round({"round": 1})
    blocked.wait_for(2)
    trackers.log_round({"round": 2})
    trackers.on_run_end({"reason": "Completed"})
    trackers.close(0)
    assert trackers.errors == {"one": 3}
    assert "tracker_not_told tracker=one calls=3" in capfd.readouterr().err
