from __future__ import annotations

import json
import re

import pytest

from fedcore.log import log_event, log_failure


@pytest.fixture
def text(monkeypatch):
    monkeypatch.delenv("FEDCORE_LOG_FORMAT", raising=False)


def test_text_is_time_event_and_fields(text, capsys):
    log_event("round_closed", round=7, outcome="full", duration_s=1.23456789, late=None, final=True)
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d\d:\d\d:\d\d round_closed round=7 outcome=full duration_s=1.23457 final=true\n", line)


@pytest.mark.parametrize("value", ["two words", "two\nlines", 'a"quote', "", "a=b", "bell\x07"])
def test_text_quotes_what_would_break_the_line(text, capsys, value):
    log_event("event", field=value)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert json.loads(line.split("field=")[1]) == value


def test_json_has_the_same_keys(monkeypatch, capsys):
    monkeypatch.setenv("FEDCORE_LOG_FORMAT", "json")
    log_event("round_closed", round=7, outcome="full")
    record = json.loads(capsys.readouterr().err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {"event": "round_closed", "round": 7, "outcome": "full"}


def test_a_failure_has_its_traceback(text, capsys):
    try:
        float("no good")
    except ValueError as error:
        log_failure("task_failed", error, doing="train")
    first, *rest = capsys.readouterr().err.splitlines()
    assert "task_failed error=" in first
    assert first.endswith("doing=train")
    assert rest[0] == "Traceback (most recent call last):"


@pytest.mark.parametrize(("wanted", "written"), [("debug", "abcd"), ("", "bcd"), ("nonsense", "bcd"), ("warning", "cd"), ("error", "d")])
def test_what_is_less_severe_than_wanted_is_left_out(text, monkeypatch, capsys, wanted, written):
    monkeypatch.setenv("FEDCORE_LOG_LEVEL", wanted)
    log_event("a", at="debug")
    log_event("b")
    log_event("c", at="warning")
    log_event("d", at="error")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == list(written)
