"""Runs side by side."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from fedcore.cli.compare import compare
from fedcore.cli.report import find_run
from fedcore.report.compare import compare_page, read_runs
from fedcore.report.page import render
from fedcore.report.plots import draw_compared, style
from fedcore.report.plots.compared import lines
from fedcore.report.rundir import EVENTS
from support.browser import references


@pytest.fixture
def runs(tmp_path, monkeypatch, two_rounds):
    monkeypatch.chdir(tmp_path)
    for name, events, percent in (("a", two_rounds, 75), ("b", two_rounds[:-2], 50)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in events))
        (folder / "job.yaml").write_text(f"spec: {{rounds: 2, quorum: {{percent: {percent}}}}}\n")
    return tmp_path / "runs"


def test_as_a_table(runs, capsys):
    assert compare(["runs/a", "runs/b"], as_one_object=False, html=None) == 0
    figures, differences = capsys.readouterr().out.split("\n\n")
    lines = figures.splitlines()
    assert lines[0].split() == ["a", "b"]
    assert len({len(line) for line in lines}) == 1, "columns"
    assert next(line.split() for line in lines if line.startswith("phase")) == ["phase", "Succeeded", "Interrupted"]
    assert next(line.split() for line in lines if line.startswith("accuracy")) == ["accuracy", "0.875", "0.625"]
    assert differences.splitlines()[1].split() == ["spec.quorum.percent", "75", "50"]


def test_as_one_object(runs, capsys):
    assert compare(["runs/a", "latest"], as_one_object=True, html=None) == 0
    told = json.loads(capsys.readouterr().out)
    first, second = told["runs"]
    assert (first["run"], second["run"], second["run_dir"]) == ("a", "b", str(runs / "b"))
    wanted = {"workers": 2, "rounds_completed": 2, "updates_accepted": 4, "updates_late": 1, "worker_restarts": 1, "bytes_sent": 1610}
    assert wanted.items() <= first.items()
    assert (first["round_p50_s"], first["round_max_s"], first["round_trip_p50_s"]) == (1.188, 1.375, 0.75)
    assert told["differences"] == {"spec.quorum.percent": [75, 50]}


def test_the_latest_run_is_the_one_that_was_written_to_last(runs):
    os.utime(runs / "a" / EVENTS, (2e9, 2e9))
    assert find_run("latest") == Path("runs/a")
    (runs.parent / "latest").symlink_to(runs / "b")
    assert find_run("latest") == Path("latest"), "one of that name is meant"


def test_as_a_page(runs, capsys):
    page = runs.parent / "compared.html"
    assert compare(["runs/a", "runs/b", "runs/a"], as_one_object=True, html=page) == 0
    json.loads(capsys.readouterr().out)
    html = page.read_text()
    assert all(found.startswith("data:image/") for found in references(html))
    assert len(references(html)) == 4
    assert "3 runs side by side" in html


def test_names_of_runs_are_text_whatever_is_in_them(runs):
    for name in ("$a^$", "_hidden", "<b>"):
        shutil.copytree(runs / "a", runs / name)
    compared = read_runs([runs / name for name in ("$a^$", "_hidden", "<b>", "b")])
    drawn = draw_compared({run.name: run.history for run in compared})
    wanted = {"$a^$", "_hidden", "<b>", "b"}
    with style.styled():
        figure = lines({run.name: {1: 0.5} for run in compared}, "title", "across", "up")
    assert {text.get_text() for text in figure.legends[0].get_texts()} == wanted
    assert "<b>" not in render(compare_page(compared, drawn))


def test_what_is_no_run_is_said(runs, capsys):
    assert compare(["runs/a", "runs/c"], as_one_object=False, html=None) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: runs/c is not there\n")
    assert compare(["runs/a"], as_one_object=False, html=runs / "no/where.html") == 1
    assert "where.html cannot be written: No such file or directory" in capsys.readouterr().err


def test_the_latest_run_where_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert compare(["latest"], as_one_object=False, html=None) == 2
    assert capsys.readouterr().err == "error: there is no run in runs/\n"
