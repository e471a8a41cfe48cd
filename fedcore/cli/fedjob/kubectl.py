"""The way to the cluster: the user's own kubectl, which serves as a proxy on a socket that only this user can open.

kubectl is there, since this is its plugin, and it knows how its user logs in: exec plugins such as ``aws eks get-token``, certificates,
proxies, impersonation. One ``kubectl proxy`` per command asks the login helper once, not once per request, and answers with the API
server's own status codes, so that "no such job", "no such kind" and "not allowed" are told apart without reading anybody's prose; watches
and logs are plain streams. Rejected: the Python client (126 MB, an extra to install, and exec plugins of its own making), and a kubectl
process per request (a second of ``aws`` each, and errors as text).

The proxy lets reads through only. It ends with us, however we end: a shell holds its process and a pipe from us. What reads cannot do,
running a program in a pod or making a pod, is asked of kubectl itself, by the one command that needs it.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcore.cli.fedjob.http import Http
from fedcore.cli.fedjob.trouble import UNREACHABLE, USAGE, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Kubectl", "Target", "connect"]

_SECONDS = 30
_GUARD = 'trap "" INT; "$@" & child=$!; exec >/dev/null; read -r _; kill "$child"'
"""Ends its child when its standard input ends, which is when we are gone. Ctrl-C is ours to handle, so both of them are deaf to it."""
_SERVING = "Starting to serve"


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster and namespace, as the flags say; what they leave open says the kubeconfig."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    @property
    def flags(self) -> list[str]:
        """What kubectl is to be told."""
        flags = [] if self.context is None else [f"--context={self.context}"]
        return flags if self.kubeconfig is None else [*flags, f"--kubeconfig={self.kubeconfig}"]


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl itself, in the namespace of a job."""

    target: Target
    namespace: str

    def command(self, *arguments: str) -> list[str]:
        """Return what to start. The flags come first: behind ``--`` they would be another's."""
        return ["kubectl", *self.target.flags, f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, stdin: str = "", seconds: float = _SECONDS) -> str:
        """Return what it prints.

        Raises
        ------
        Trouble
            It failed, or was not done in time.
        """
        try:
            done = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise Trouble(f"kubectl {arguments[0]} has not ended within {seconds:.0f} s", UNREACHABLE) from None
        if done.returncode != 0:
            raise Trouble(done.stderr.strip().removeprefix("error: ").removeprefix("Error from server "), UNREACHABLE)
        return done.stdout


@contextmanager
def connect(target: Target) -> Iterator[tuple[Http, str]]:
    """Give a way to ask the cluster, and the namespace.

    Raises
    ------
    Trouble
        There is no kubectl, no kubeconfig, no such context, or the proxy does not start.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise Trouble("kubectl is not on PATH; it is what logs in to the cluster", USAGE)
    context, namespace = _context(program, target)
    with tempfile.TemporaryDirectory(prefix="fedjob-", ignore_cleanup_errors=True) as folder:  # mode 0700
        socket = Path(folder) / "api"
        with _proxy(program, target, socket):
            yield Http(socket, context), namespace


def _context(program: str, target: Target) -> tuple[str, str]:
    """Return the names of context and namespace."""
    if target.kubeconfig is not None and not target.kubeconfig.is_file():
        raise Trouble(f"--kubeconfig: there is no file {target.kubeconfig}", USAGE)
    command = [program, "config", "view", "--minify", "--output=json", *target.flags]
    try:
        view = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Trouble(f"kubectl has not read its configuration within {_SECONDS} s", USAGE) from None
    if view.returncode != 0:
        raise Trouble(_no_context(target, view.stderr), USAGE)
    config: dict[str, Any] = json.loads(view.stdout)
    entries = config.get("contexts") or [{}]
    entry = entries[0]
    return str(entry.get("name", "")), target.namespace or (entry.get("context") or {}).get("namespace") or "default"


def _no_context(target: Target, said: str) -> str:
    where = target.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if target.context is not None:
        return f'--context: there is no context "{target.context}" in {where}; `kubectl config get-contexts` lists them'
    if "current-context" in said:
        return (
            f"no cluster is chosen: {where} is not there, or names no current context; `kubectl config use-context NAME` chooses one, "
            "on EKS `aws eks update-kubeconfig --name CLUSTER` writes it"
        )
    return f"kubectl cannot read its configuration: {said.strip().removeprefix('error: ')}"


@contextmanager
def _proxy(program: str, target: Target, socket: Path) -> Iterator[None]:
    command = [program, "proxy", f"--unix-socket={socket}", "--reject-methods=POST,PUT,PATCH,DELETE", *target.flags]
    said = socket.with_name("said")
    with said.open("wb") as errors, _guarded(command, errors.fileno()) as guard:
        assert guard.stdout is not None
        readable, _, _ = select.select([guard.stdout], [], [], _SECONDS)
        first = guard.stdout.readline().decode(errors="replace") if readable else ""
        if not first.startswith(_SERVING):
            raise Trouble(f"kubectl proxy does not start: {said.read_text('utf-8', 'replace').strip() or 'it says nothing'}", UNREACHABLE)
        yield


@contextmanager
def _guarded(command: Sequence[str], errors: int) -> Iterator[subprocess.Popen[bytes]]:
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "fedjob", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
    )
    assert guard.stdin is not None
    try:
        yield guard
    finally:
        guard.stdin.close()
        guard.wait(_SECONDS)
        if guard.stdout is not None:
            guard.stdout.close()
