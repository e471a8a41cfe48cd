"""The command line: help, usage errors, and what it passes on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fedcore import __version__
from fedcore.cli.main import app


@pytest.fixture
def invoke():
    return lambda *arguments, **environment: CliRunner().invoke(app, arguments, env={"TERM": "dumb", "COLUMNS": "200", **environment})


@pytest.mark.parametrize("command", [(), ("run",), ("validate",), ("init",), ("coordinator",), ("worker",)])
def test_help(invoke, command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_version(invoke):
    assert invoke("--version").stdout == f"fedcore {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frobnicate",), "No such command"),
        (("run", "--kill", "worker-2"), "allowed: worker-INDEX@ROUND"),
        (("run", "--slow", "worker-2=0"), "allowed: worker-INDEX=FACTOR"),
        (("run", "--set", "rounds"), "allowed: PATH=VALUE"),
        (("run", "--port", "0"), "greater than or equal to 1"),
        (("run", "-q", "-v"), "quiet and verbose"),
        (("run", "--log-format", "xml"), "allowed: text, json"),
        (("validate",), "Missing argument"),
        (("coordinator",), "--run-dir (or FEDCORE_RUN_DIR) is required"),
        (("worker", "--coordinator", "nowhere"), "it looks like http://host:8470"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_usage_errors_exit_2_and_say_what_is_allowed(invoke, arguments, said):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_help_imports_nothing_heavy():
    code = "import sys; from fedcore.cli.main import app; print([m for m in ('numpy', 'pydantic', 'yaml', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_init_is_handed_name_and_folder(invoke, tmp_path):
    result = invoke("init", "mine", "--directory", str(tmp_path))
    assert result.exit_code == 0
    assert (tmp_path / "mine" / "job.yaml").is_file()


@pytest.mark.parametrize(
    "module", ["fedcore.cli.main", "fedcore.cli.run", "fedcore.local.runner", "fedcore.coordinator.main", "fedcore.cli.fedjob.main"]
)
def test_what_draws_is_not_imported_before_there_is_something_to_draw(module):
    code = f"import sys, {module}; print(sorted({{'jinja2', 'matplotlib'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
