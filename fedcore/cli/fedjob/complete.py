"""``kubectl_complete-fedjob``: what kubectl's shell completion asks for the words after ``kubectl fedjob``.

kubectl hands over the words so far, the last one unfinished and maybe empty, and takes one candidate a line; a last line ``:4`` keeps the
shell from offering file names. A cluster that does not answer completes nothing: this runs while somebody types.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["candidates", "context_names", "job_names", "main", "namespace_names"]

_NO_FILES = ":4"
_FILES = ":0"
_SECONDS = 5


def main() -> None:
    """Be the command ``kubectl_complete-fedjob``."""
    words = sys.argv[1:] or [""]
    print(*candidates(words[:-1], words[-1]), sep="\n")


def candidates(words: Sequence[str], unfinished: str) -> list[str]:
    """Return the lines to print."""
    import typer.main
    from typer._completion_classes import BashComplete  # the same for every shell: kubectl speaks to the shell

    from fedcore.cli.fedjob.main import app

    if words and words[-1] == "--kubeconfig":
        return [_FILES]
    completion = BashComplete(typer.main.get_command(app), {}, "kubectl fedjob", "")
    found = completion.get_completions(list(words), unfinished)
    return [*(f"{one.value}\t{one.help}" if one.help else str(one.value) for one in found), _NO_FILES]


def job_names(namespace: str | None, context: str | None, kubeconfig: Path | None) -> list[str]:
    """Return the jobs of the namespace; none if they cannot be had at once."""
    where = [] if namespace is None else [f"--namespace={namespace}"]
    return _kubectl("get", "federatedjobs.fedcore.dev", "--output=name", *where, context=context, kubeconfig=kubeconfig)


def namespace_names(context: str | None, kubeconfig: Path | None) -> list[str]:
    """Return the namespaces of the cluster; none to those who may not list them."""
    return _kubectl("get", "namespaces", "--output=name", context=context, kubeconfig=kubeconfig)


def context_names(kubeconfig: Path | None) -> list[str]:
    """Return the contexts of the kubeconfig."""
    return _kubectl("config", "get-contexts", "--output=name", context=None, kubeconfig=kubeconfig)


def _kubectl(*arguments: str, context: str | None, kubeconfig: Path | None) -> list[str]:
    flags = [] if kubeconfig is None else [f"--kubeconfig={kubeconfig}"]
    flags += [] if context is None else [f"--context={context}"]
    try:
        done = subprocess.run(["kubectl", *arguments, *flags], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    kinds = arguments[0] == "get"  # context names may have a slash of their own
    return [line.partition("/")[2] if kinds else line for line in done.stdout.split()]


if __name__ == "__main__":
    main()
