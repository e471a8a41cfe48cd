"""``fedcore init NAME``: a project that runs as it is, to be changed bit by bit into one's own.

Files come from ``templates/project``; ``$name`` and ``$version`` are put in, ``$$`` is a dollar sign (`string.Template`).
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from fedcore import __version__

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["init"]

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?")
_FILES = ("task.py", "job.yaml", "Dockerfile", "README.md", "test_task.py")


def init(name: str, directory: Path) -> int:
    """Make the folder ``directory / name`` with a project in it, and say how to run it.

    Parameters
    ----------
    name : str
        The project's and its job's name.
    directory : Path
        Folder to make it in, the current one for the command.

    Returns
    -------
    int
        Exit code: 0; 1 if the files cannot be written; 2 for a name that no job can have, or a place that is taken: nothing was written.
    """
    if not _NAME.fullmatch(name):
        return _refuse(f'"{name}" cannot name a job; allowed: at most 45 small letters, digits and "-", a letter first, no "-" last', 2)
    project = directory / name
    try:
        if project.exists() and not project.is_dir():
            return _refuse(f"{project} exists and is no folder; nothing was written", 2)
        if project.is_dir() and any(project.iterdir()):
            return _refuse(f"{project} exists and is not empty; nothing was written. Choose another name, or empty it first", 2)
        project.mkdir(parents=True, exist_ok=True)
        templates = files("fedcore.cli") / "templates" / "project"
        for file in _FILES:
            text = (templates / f"{file}.tmpl").read_text(encoding="utf-8")
            (project / file).write_text(Template(text).substitute(name=name, version=__version__), encoding="utf-8")
    except OSError as error:
        return _refuse(f"cannot write the project {project}: {error.strerror or error}", 1)
    print(f"made {project}: {', '.join(_FILES)}")
    print(f"next: fedcore run {project / 'job.yaml'}")
    return 0


def _refuse(message: str, exit_code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return exit_code
