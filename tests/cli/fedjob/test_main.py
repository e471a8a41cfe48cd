"""The plugin's command line: help, usage errors, what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fedcore import __version__
from fedcore.cli.fedjob import main
from fedcore.cli.fedjob.complete import candidates


@pytest.fixture
def invoke():
    return lambda *arguments, **environment: CliRunner().invoke(main.app, arguments, env={"TERM": "dumb", "COLUMNS": "200", **environment})


@pytest.mark.parametrize("command", [(), ("watch",), ("logs",), ("why",)])
def test_help(invoke, command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "kubectl fedjob" in result.stdout


def test_version(invoke):
    assert invoke("--version").stdout == f"kubectl-fedjob {__version__}\n"


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("0", 0)])
def test_durations(text, seconds):
    assert main._seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "m", "-1s", "1d"])
def test_no_durations(invoke, text):
    result = invoke("watch", "mnist", "--timeout", text)
    assert result.exit_code == 2
    assert "allowed: 90s, 5m, 1h30m" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frobnicate",), "No such command"),
        (("why",), "Missing argument"),
        (("watch", "mnist", "--log-format", "xml"), "allowed: text, json"),
        (("logs", "mnist", "--role", "operator"), "allowed: coordinator, worker"),
        (("logs", "mnist", "--role", "coordinator", "--index", "1"), "the coordinator has no index"),
        (("logs", "mnist", "--previous", "--follow"), "says no more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_usage_errors_exit_2_and_say_what_is_allowed(invoke, arguments, said):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_without_kubectl_it_says_so(invoke, tmp_path):
    result = invoke("why", "mnist", PATH=str(tmp_path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: kubectl is not on PATH; it is what logs in to the cluster\n"


def test_a_kubectl_that_does_not_serve_is_an_error(invoke, tmp_path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\n[ "$1" = config ] && echo "{}" && exit 0\necho "error: it is broken" >&2\nexit 1\n')
    kubectl.chmod(0o755)
    result = invoke("why", "mnist", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert result.exit_code == 4
    assert result.stderr == "error: kubectl proxy does not start: error: it is broken\n"


def test_help_imports_nothing_heavy():
    modules = "('numpy', 'pydantic', 'yaml', 'torch', 'kubernetes')"
    code = f"import sys; from fedcore.cli.fedjob.main import app; print([m for m in {modules} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_command_imports_the_kubernetes_client():
    code = "import sys; from fedcore.cli.fedjob import kubectl, logs, watch, why; print('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_completion_of_words_that_need_no_cluster():
    assert [line.split("\t")[0] for line in candidates([], "w")] == ["watch", "why", ":4"]
    assert candidates(["logs", "mnist", "--role"], "")[:2] == ["coordinator", "worker"]
    assert candidates(["why", "--kubeconfig"], "") == [":0"]
