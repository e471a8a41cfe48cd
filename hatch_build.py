"""Builds `fedcore/aggregation/kernels.c` with the package, if there is a C compiler; without one, the package is whole all the same."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "fedcore/aggregation/_kernels.so"
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-shared", "-fPIC"]
PLAIN = ["-DWIDEST="]
"""For a compiler that knows how to make one version for each kind of processor, and fails at it."""
WITHOUT = "sums of float32 will be done by numpy, which takes twice the time"


class KernelsHook(BuildHookInterface):
    """Runs before a wheel is packed, and before an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library, have it packed, and say that the wheel is for this platform.

        The source tree is not written to, unless the installation is editable: then the library belongs beside the source.
        """
        self._folder = tempfile.TemporaryDirectory()
        built = Path(self._folder.name) / "kernels.so"
        in_place = Path(self.root) / LIBRARY
        try:
            if version == "editable":
                in_place.unlink(missing_ok=True)  # of another machine, perhaps
            problem = self._build(built)
            if problem is None and version == "editable":
                part = in_place.with_suffix(f".{os.getpid()}.tmp")
                shutil.copy(built, part)
                part.replace(in_place)
        except OSError as error:
            problem = str(error)
        if problem is not None:
            self.app.display_warning(f"{WITHOUT}: {problem}")
            return
        if version != "editable":
            build_data["force_include"][str(built)] = LIBRARY
        build_data["pure_python"] = False
        # It knows nothing of Python's own interface, so it serves every version.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what has been packed."""
        del version, build_data, artifact_path
        self._folder.cleanup()

    def _build(self, library: Path) -> str | None:
        """Build the library, and return what prevents it."""
        wanted = shlex.split(os.environ.get("CC", "cc"))
        if not wanted or shutil.which(wanted[0]) is None:
            return "there is no C compiler"
        if struct.calcsize("P") != 8:
            return "this is no 64-bit Python"
        command = [*wanted, *FLAGS, "-o", str(library), str(Path(self.root) / "fedcore/aggregation/kernels.c")]
        for more in ([], PLAIN):
            done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
            if not done.returncode:
                return None
        return done.stderr.strip()
