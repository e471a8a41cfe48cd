"""``fedcore experiment``: flags, and what is refused before anything starts."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fedcore.cli import experiment
from fedcore.cli.main import app


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["experiment", *arguments], env={"TERM": "dumb", "COLUMNS": "200"})


@pytest.mark.parametrize("name", ["accuracy-vs-workers", "round-trips", "failures"])
def test_help(invoke, name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert "--seeds" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("accuracy-vs-workers", "--workers", "1,x"), "different numbers from 1 to 1000"),
        (("accuracy-vs-workers", "--workers", "0,1"), "different numbers from 1 to 1000"),
        (("accuracy-vs-workers", "--workers", "2,2"), "different numbers from 1 to 1000"),
        (("failures", "--workers", "4", "--kill", "0,5"), "different numbers from 0 to 4"),
        (("round-trips", "--slow", "2=4"), "allowed: worker-INDEX=FACTOR"),
        (("round-trips", "--seeds", "0"), "--seeds"),
    ],
)
def test_usage_errors(invoke, tmp_path, arguments, said):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_without_the_report_extra_nothing_starts(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "find_spec", lambda name: None)
    result = invoke("failures")
    assert result.exit_code == 2
    assert result.stderr == 'error: matplotlib and jinja2 not installed: pip install "fedcore[report]"; nothing was started\n'
    assert not list(tmp_path.iterdir())
