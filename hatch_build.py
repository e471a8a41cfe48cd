"""Builds `fedcore/aggregation/kernels.c` with the package, if there is a C compiler; without one, the package is whole all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-shared", "-fPIC"]


class KernelsHook(BuildHookInterface):
    """Runs before a wheel is packed, and before an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library in its place, and say that the wheel is for this platform."""
        del version
        folder = Path(self.root) / "fedcore" / "aggregation"
        library = folder / "_kernels.so"
        library.unlink(missing_ok=True)  # of another machine, perhaps
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            self.app.display_warning("no C compiler: sums of float32 will be done by numpy, which takes twice the time")
            return
        part = folder / f"_kernels.{os.getpid()}.tmp"
        built = subprocess.run([compiler, *FLAGS, "-o", part, folder / "kernels.c"], capture_output=True, text=True, check=False)
        if built.returncode:
            part.unlink(missing_ok=True)
            self.app.display_warning(f"sums of float32 will be done by numpy, which takes twice the time: {built.stderr.strip()}")
            return
        part.replace(library)
        build_data["artifacts"].append("/fedcore/aggregation/_kernels.so")
        build_data["pure_python"] = False
        # It knows nothing of Python's own interface, so it serves every version.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
