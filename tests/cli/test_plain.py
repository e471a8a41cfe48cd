"""Plain lines: which events get one, and how it reads."""

from __future__ import annotations

import json
import time

import pytest

from fedcore.cli.plain import PlainView, line

NOON = "2026-11-24T09:11:03.000Z"


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def view(**changes):
    extras = {"run_started": {"metrics": "http://127.0.0.1:9464/metrics"}, "run_finished": {"run_dir": "/runs/a"}}
    return PlainView(**({"verbose": False, "log_format": "text", "rounds": 10, "extras": extras} | changes))


EVENTS = [
    {"event": "run_started", "job": "mnist", "workers": 5, "required": 4, "rounds": 10, "seed": 0, "run_id": "x"},
    {"event": "worker_registered", "worker": "worker-2", "attempt": 1, "kind": "new", "samples": 5},
    {"event": "task_sent", "round": 2, "worker": "worker-2", "epochs": 1.0},
    {"event": "evaluated", "version": 1, "metrics": {"accuracy": 0.871}},
    {"event": "round_closed", "round": 2, "outcome": "quorum", "accepted": 4, "required": 4, "stragglers": 1, "duration_s": 2.004},
    {"event": "worker_registered", "worker": "worker-2", "attempt": 2, "kind": "restart"},
    {"event": "run_finished", "phase": "Succeeded", "reason": "Completed", "message": "", "exit_code": 0},
]
LINES = """\
09:11:03 run_started job=mnist workers=5 required=4 rounds=10 metrics=http://127.0.0.1:9464/metrics
09:11:03 round_closed round=2/10 outcome=quorum accepted=4 required=4 stragglers=1 duration_s=2.004 version=1 accuracy=0.871
09:11:03 worker_registered worker=worker-2 attempt=2 kind=restart
09:11:03 run_finished phase=Succeeded reason=Completed accuracy=0.871 run_dir=/runs/a
"""


def show(seen, events=EVENTS):
    for number, event in enumerate(events):
        seen.event({"time": NOON, "seq": number, "resume": 0, **event})


def test_lines_of_a_run(capsys):
    show(view())
    out, err = capsys.readouterr()
    assert (out, err) == ("", LINES)


def test_verbose_shows_every_event(capsys):
    show(view(verbose=True))
    assert len(capsys.readouterr().err.splitlines()) == len(EVENTS)


def test_json_lines_have_the_same_keys(capsys):
    show(view(log_format="json"))
    lines = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert [each["event"] for each in lines] == ["run_started", "round_closed", "worker_registered", "run_finished"]
    assert lines[1]["accuracy"] == 0.871


def test_line_quotes_what_has_spaces_and_leaves_unknowns_out():
    event = {"time": NOON, "event": "worker_exited", "worker": "worker-1", "exit_code": 1, "message": 'no "x" here', "reason": None}
    assert line(event, 10) == r'09:11:03 worker_exited worker=worker-1 exit_code=1 message="no \"x\" here"'
