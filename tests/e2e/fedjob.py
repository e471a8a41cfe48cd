"""``kubectl fedjob`` of this checkout, run as a user would."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import PATIENCE
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.places import REPOSITORY


@dataclass(frozen=True)
class Fedjob:
    """The plugin, on a PATH that has it."""

    cluster: Kubernetes
    namespace: str
    folder: Path

    @classmethod
    def installed(cls, cluster: Kubernetes, namespace: str, folder: Path) -> "Fedjob":
        """Put it on PATH: that of the environment may be of another checkout."""
        program = folder / "kubectl-fedjob"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fedcore.cli.fedjob.main "$@"\n')
        program.chmod(0o755)
        return cls(cluster, namespace, folder)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it in the background, with its output in pipes."""
        return self.program([str(self.cluster.kubectl_program), "fedjob", *arguments, f"--namespace={self.namespace}"])

    def program(self, command: list[str], **variables: str) -> subprocess.Popen[str]:
        """Start any program that is to find it on PATH."""
        environment = {**self.cluster.environment(), "TZ": "UTC", "PYTHONPATH": str(REPOSITORY), **variables}
        environment["TMPDIR"] = str(self.folder)  # one that is killed leaves its folder
        environment["PATH"] = f"{self.folder}{os.pathsep}{environment['PATH']}"
        pipe = subprocess.PIPE
        command = ["env", "--default-signal=INT", *command]  # what starts tests in the background has Ctrl-C ignored
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Return what it prints; it has to end with ``code``."""
        return self.ended(self.start(*arguments), code)[0]

    @staticmethod
    def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
        """Wait for its end; return what it printed on stdout and on stderr."""
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return out, err
