"""From ``module:attribute`` to the callable it names.

An import that fails is the commonest mistake in a job file, and Python's own message leaves open whose fault it is: is the task's module
not there, or something that it imports? Each case has a sentence of its own here, with the file and line where there is one.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.precheck import precheck
from fedcore.tasks.task import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore.tasks.task import Task

__all__ = ["EntrypointError", "check_entrypoint", "load_entrypoint"]

_MESSAGE_BYTES = 8192
"""A message longer than this is cut: it must fit into a pipe that nobody empties while the child lives."""


class EntrypointError(Exception):
    """The entrypoint cannot be used. The job is invalid: a restart would not help."""


def load_entrypoint(entrypoint: str, search_dir: Path | None = None) -> Callable[[Context], Task]:
    """Import a task's entrypoint.

    Parameters
    ----------
    entrypoint : str
        ``module:attribute``; dots are allowed on both sides.
    search_dir : Path or None
        Folder that is put first on ``sys.path``, and stays there for what the task imports later: the job file's own.

    Raises
    ------
    EntrypointError
        Says what failed, where it was looked for, and why.
    """
    module_name, colon, attribute = entrypoint.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise EntrypointError(f'"{entrypoint}" is no entrypoint; allowed: module:attribute, such as my_package.my_task:task')
    looked = "looked in the Python path"
    if search_dir is not None:
        folder = str(search_dir.resolve())
        looked = f"looked in {folder} and the Python path"
        if sys.path[:1] != [folder]:
            sys.path.insert(0, folder)
            importlib.invalidate_caches()
    target: object = _guarded(partial(importlib.import_module, module_name), module_name, looked)
    for name in attribute.split("."):
        target = _guarded(partial(_attribute, target, name, entrypoint), module_name, looked)
    if not callable(target):
        raise EntrypointError(
            f'cannot use "{entrypoint}": it is {_article(type(target).__name__)}, not a callable that takes a context and returns a task'
        )
    return cast("Callable[[Context], Task]", target)


def check_entrypoint(
    entrypoint: str, search_dir: Path | None = None, timeout: float = 60.0, *, context: Context | None = None
) -> str | None:
    """Try `load_entrypoint` in a process of its own, and return what is wrong, or None.

    What is wrong with a parameter begins with its field, ``spec.task.parameters.NAME: ``.

    The caller's process imports nothing of the task's: no torch, no side effects, and a crash at import stays outside.

    Parameters
    ----------
    entrypoint, search_dir
        As in `load_entrypoint`.
    timeout : float
        Seconds that the import may take. 60: torch alone needs several on a cold disk.
    context : Context or None
        Where the task's own check is wanted too (`fedcore.tasks.precheck`): what worker 0 will be told.
    """
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-c", "from fedcore.tasks.entrypoint import _report; _report()"]
    command += [str(writing), entrypoint, "" if search_dir is None else str(search_dir)]
    # Neither the pipe nor stderr is read to its end: a process that the task leaves behind could hold it open for ever.
    os.set_blocking(reading, False)
    try:
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
            stdin.write(b"" if context is None else _encode(context))
            stdin.seek(0)
            done = subprocess.run(
                command,
                check=False,
                pass_fds=[writing],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                timeout=timeout,
            )
            stderr.seek(0)
            written = stderr.read().decode(errors="replace")
        # The parent's own end of the pipe is still open, so an empty one is "would block".
        with contextlib.suppress(BlockingIOError):
            return os.read(reading, _MESSAGE_BYTES).decode(errors="replace").removeprefix("ok") or None
    except subprocess.TimeoutExpired:
        return f'cannot import "{entrypoint}": it took longer than {timeout:g} s'
    finally:
        os.close(reading)
        os.close(writing)
    last = (written.strip().splitlines() or ["it wrote nothing"])[-1]
    return f'cannot import "{entrypoint}": the process ended with exit code {done.returncode} on the way: {last}'


def _report() -> None:
    """Be the child of `check_entrypoint`: write ``ok`` or the message to the descriptor named first."""
    descriptor, entrypoint, folder = sys.argv[1:4]
    told = sys.stdin.buffer.read()
    try:
        factory = load_entrypoint(entrypoint, Path(folder) if folder else None)
        if told:
            precheck(factory, _decode(told))
        message = "ok"
    except (EntrypointError, InvalidParameter) as error:
        message = str(error)
    os.write(int(descriptor), message.encode()[:_MESSAGE_BYTES])


def _encode(context: Context) -> bytes:
    data_dir = None if context.data_dir is None else str(context.data_dir)
    return json.dumps([context.index, context.replicas, context.seed, dict(context.parameters), data_dir]).encode()


def _decode(told: bytes) -> Context:
    index, replicas, seed, parameters, data_dir = json.loads(told)
    return Context(index, replicas, seed, parameters, None if data_dir is None else Path(data_dir))


def _guarded(step: Callable[[], object], module_name: str, looked: str) -> object:
    try:
        return step()
    except EntrypointError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise EntrypointError(f'cannot import "{module_name}": {error.msg} ({looked})') from None
        is_torch = (error.name or "").split(".")[0] in {"torch", "torchvision"}
        hint = 'install it with: pip install "fedcore[torch]"' if is_torch else looked
        raise EntrypointError(
            f'cannot import "{module_name}": {_place(error)} needs "{error.name}", which is not installed ({hint})'
        ) from error
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise EntrypointError(f'cannot import "{module_name}": {where}: {type(error).__name__}: {error.msg}') from error
    except (Exception, SystemExit) as error:
        # Whatever a user's module raises while it is imported is the answer to the question asked here.
        raise EntrypointError(f'cannot import "{module_name}": {_place(error)} raised {type(error).__name__}: {error}') from error


def _attribute(owner: object, name: str, entrypoint: str) -> object:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        if error.obj is not None and error.obj is not owner:  # raised deeper, while a module's own __getattr__ imported something
            raise
        near = difflib.get_close_matches(name, [item for item in dir(owner) if not item.startswith("_")], n=1)
        meant = f', did you mean "{near[0]}"?' if near else ""
        whose = f'module "{owner.__name__}"' if isinstance(owner, ModuleType) else _article(type(owner).__name__)
        file = getattr(owner, "__file__", None)
        raise EntrypointError(
            f'cannot use "{entrypoint}": {whose}{f" ({file})" if file else ""} has no attribute "{name}"{meant}'
        ) from None


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame outside the import machinery and this module."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    frames = [frame for frame in frames if frame.filename not in {__file__, importlib.__file__}]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "it"


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
