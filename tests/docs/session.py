"""A reader who types what a page says: its blocks run in order, in one shell, in a folder that looks like the checkout.

PATH has `TOOLS`, FedCore's own commands, and `make`, nothing else, so that a command which nobody accounts for is not found and fails the
session. `make` says what it would do (``make -n``). What cannot run here, for a reason in `REHEARSED`, succeeds without doing anything.
Every command is recorded with the words it was given after the shell's expansions, so that its flags can be checked.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.places import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.docs.pages import Block

__all__ = ["CONSOLE", "REHEARSED", "SHELL", "Session", "is_rehearsed", "run", "transcript"]

SHELL = ("sh", "bash")
CONSOLE = "console"
"""A transcript: its commands begin with ``$``, the rest is what they printed on the day. It is rehearsed as a whole."""
SECONDS = 900.0
"""For a page. The longest takes 30 s on an idle machine, and has taken ten times that on a busy one."""

FOLDERS = ("charts", "crds", "examples")
TOOLS = ("cat", "mkdir", "sed", "sh", "timeout")

REHEARSED = {
    "aws": "no AWS account",
    "eksctl": "no AWS account",
    "buildah": "no public image can be pulled; tests/e2e/test_registry.py builds and pushes with it",
    "docker": "as buildah, which the tests build with",
    "kubectl": "needs a cluster; tests/e2e/test_docs.py runs the pages of which it is the point, and checks all flags",
    "helm": "as kubectl",
    "apt-get": "changes the machine; tests/install_prometheus.sh does it",
    "prometheus": "serves until it is ended; tests/dashboards has it scrape a run",
    "ruby": "the worker in Ruby takes part in a real job in tests/examples/test_foreign_worker.py",
    "fedcore coordinator": "waits for workers; both meet in tests/worker/test_tls.py and tests/examples/test_foreign_worker.py",
    "fedcore worker": "as its coordinator",
    "python -m bench": "takes minutes; tests/bench runs each kind small",
    "fedcore experiment": "takes minutes; tests/experiments makes small ones",
    "python -m tests.cluster": "makes and removes clusters beside that of the tests; tests/cluster does it",
}
"""Commands, by the words they begin with, and why they do not run in a session."""

_SAYS = {"aws": "111122223333"}
"""What a rehearsed program prints where a page puts it in a variable."""
_END_OF_WORD, _END_OF_COMMAND = "\x1f", "\x1e"


@dataclass(frozen=True)
class Session:
    """What came of it."""

    code: int
    said: str
    """Output of both kinds, with a line ``@@ page:line`` where a block begins."""
    commands: list[list[str]]
    """Words of each command but the plain tools."""
    folder: Path


def is_rehearsed(words: Sequence[str]) -> bool:
    """Whether a command did not run."""
    return any(list(words[: len(start.split())]) == start.split() for start in REHEARSED)


def run(blocks: Sequence[Block], folder: Path, *, programs: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Session:
    """Write the files and run the commands of ``blocks``, in their order.

    Parameters
    ----------
    blocks : sequence of Block
        Of a page. One with a title is written as that file; of the others, those in a shell's language, in Python, and transcripts are run.
    folder : Path
        Empty; becomes the reader's checkout.
    programs : mapping of name to shell code, or None
        Takes the place of a rehearsed program: there is a cluster, for instance.
    seconds : float
        Deadline for all together.
    """
    record = folder.parent / f"{folder.name}.commands"
    _make_checkout(folder)
    _make_programs(folder / ".venv/bin", record, programs or {})
    script = "\n".join(["set -euo pipefail", *(line for block in blocks for line in _lines(block))])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FEDCORE_")}
    environment = {**inherited, "PATH": str(folder / ".venv/bin"), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [shutil.which("bash") or "bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as shell:
        try:
            said, _ = shell.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            said, _ = shell.communicate()
            said += f"\nnot done after {seconds:.0f} s"
    recorded = record.read_text(encoding="utf-8").split(_END_OF_COMMAND)[:-1] if record.exists() else []
    return Session(shell.returncode, said, [one.split(_END_OF_WORD)[:-1] for one in recorded], folder)


def _make_checkout(folder: Path) -> None:
    """Copy what commands name, so that they may change it."""
    folder.mkdir()
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, folder / name)


def _make_programs(folder: Path, record: Path, programs: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    (folder / "activate").touch()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name) or f"/missing/{name}")
    python = f"{shlex.quote(sys.executable)} -P"
    make = f'{shutil.which("make")} -n --no-print-directory -C {shlex.quote(str(REPOSITORY))} "$@"'
    ours = {
        "fedcore": f'{python} -m fedcore.cli.main "$@"',
        "kubectl-fedjob": f'{python} -m fedcore.cli.fedjob.main "$@"',
        "python": f'{sys.executable} "$@"',
        "make": f"PATH={shlex.quote(os.environ['PATH'])} {make}",
    }
    rehearsed = {name: f"echo {_SAYS[name]}" if name in _SAYS else "cat >/dev/null" for name in REHEARSED if " " not in name}
    for name, code in {**rehearsed, **ours, **programs}.items():
        left_out = [start.removeprefix(f"{name} ") for start in REHEARSED if start.startswith(f"{name} ")]
        skip = "".join(f"{shlex.quote(start)}*) exit 0;; " for start in left_out)
        program = folder / name
        program.write_text(
            f'#!/bin/sh\n{_recording(name, record)}case "$*" in {skip}esac\n{code}\n',
            encoding="utf-8",
        )
        program.chmod(0o755)


def _recording(name: str, record: Path) -> str:
    """Code that notes the words of a command, in one write; not of what a program starts by itself: nobody typed that."""
    line = f'line=$(printf "%s\\037" {name} "$@")'
    return f'[ -n "${{TYPED-}}" ] || {{ {line}; printf "%s\\036" "$line" >>{shlex.quote(str(record))}; }}\nexport TYPED=no\n'


def _lines(block: Block) -> list[str]:
    """Lines of the shell for a block: where it begins, and what it does."""
    begin = f"echo {shlex.quote(f'@@ {block}')}"
    if block.title is not None:
        name = shlex.quote(block.title)
        return [begin, f"mkdir -p {shlex.quote(str(Path(block.title).parent))}", _here(f"cat >{name}", block.text)]
    if block.language in SHELL:
        return [begin, block.text]
    if block.language == "python":
        return [begin, _here("python -", block.text)]
    return []


def _here(command: str, text: str) -> str:
    return f"{command} <<'END-OF-BLOCK'\n{text}END-OF-BLOCK"


def transcript(block: Block) -> list[list[str]]:
    """Words of the commands of a transcript."""
    return [shlex.split(line) for line in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE)] if block.language == CONSOLE else []
