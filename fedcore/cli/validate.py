"""``fedcore validate JOB.yaml...``: everything that can be known of a job file without a cluster, all at once.

The entrypoint is tried even if the rest of the file is wrong: whoever mends a file wants to do it once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fedcore.jobfile import InvalidJob, Problem, check_draft, read_job, resolved_yaml
from fedcore.tasks.entrypoint import check_entrypoint
from fedcore.tasks.task import Context

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcore.jobfile import Draft
    from fedcore.spec import FederatedJob

__all__ = ["check_draft_and_entrypoint", "count_problems", "validate"]

_ENTRYPOINT = ("spec", "task", "entrypoint")
_PARAMETERS = "spec.task.parameters."
_HOPELESS = frozenset({"apiVersion", "kind", ".".join(_ENTRYPOINT)})
"""With a problem at one of these an import would say nothing new: the file is no job, or the entrypoint is none."""
_INVALID = 2


def validate(paths: Sequence[Path], resolved: bool, overrides: Sequence[tuple[str, str]] = ()) -> int:  # noqa: FBT001 - the flag as it is
    """Check job files and say what is wrong with each.

    Parameters
    ----------
    paths : sequence of Path
        The files. Each has its own lines, whatever is wrong with those before it.
    resolved : bool
        Print each valid job with every default and where each value came from, on stdout; that it is valid is said on stderr then.
    overrides : sequence of (str, str)
        As in `fedcore.jobfile.load_job`.

    Returns
    -------
    int
        Exit code: 0, or 2 if any file has a problem.
    """
    exit_code = 0
    for path in paths:
        try:
            draft = read_job(path, overrides)
            job = check_draft_and_entrypoint(draft, path.resolve().parent)
        except InvalidJob as error:
            print(*error.problems, f"error: {count_problems(error, path)}", sep="\n", file=sys.stderr)
            exit_code = _INVALID
            continue
        print(f"{path}: valid", file=sys.stderr if resolved else sys.stdout)
        if resolved:
            start = "---\n" if len(paths) > 1 else ""
            print(f"{start}{resolved_yaml(draft, job)}", end="")
    return exit_code


def check_draft_and_entrypoint(draft: Draft, search_dir: Path | None, data_dir: Path | None = None) -> FederatedJob:
    """Return the job, if it is one, its entrypoint can be imported, and the task has nothing against it.

    Parameters
    ----------
    draft : Draft
        What `fedcore.jobfile.read_job` has returned.
    search_dir : Path or None
        As in `fedcore.tasks.entrypoint.check_entrypoint`.
    data_dir : Path or None
        The data set's folder, if the job will run with it.

    Raises
    ------
    InvalidJob
        All that is wrong.
    """
    entrypoint = _entrypoint(draft)
    try:
        job = check_draft(draft)
    except InvalidJob as error:
        if entrypoint is None or any(problem.field in _HOPELESS for problem in error.problems):
            raise
        raise InvalidJob([*error.problems, *_task_problems(draft, entrypoint, search_dir)]) from None
    spec = job.spec
    context = Context(0, spec.workers.replicas, spec.seed, spec.task.parameters, data_dir)
    problems = _task_problems(draft, spec.task.entrypoint, search_dir, context)
    if problems:
        raise InvalidJob(problems)
    return job


def count_problems(error: InvalidJob, path: Path) -> str:
    """Return how many problems a file has, in words."""
    number = len(error.problems)
    return f"{number} {'problem' if number == 1 else 'problems'} in {path}"


def _entrypoint(draft: Draft) -> str | None:
    value = draft.data
    for name in _ENTRYPOINT:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _task_problems(draft: Draft, entrypoint: str, search_dir: Path | None, context: Context | None = None) -> list[Problem]:
    wrong = check_entrypoint(entrypoint, search_dir, context=context)
    if wrong is None:
        return []
    path: tuple[str, ...] = _ENTRYPOINT
    message = wrong
    if wrong.startswith(_PARAMETERS):
        name, _, message = wrong.removeprefix(_PARAMETERS).partition(": ")
        path = ("spec", "task", "parameters", name)
    place = draft.place(path)
    return [Problem(place.source, place.line, ".".join(path), message)]
