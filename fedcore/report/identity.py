"""Whose run a run directory holds: the one check of `fedcore run` and of the coordinator, before either writes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.jobfile import InvalidJob, load_job
from fedcore.report.rundir import JOB, is_finished

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.spec import FederatedJob

__all__ = ["AnotherRun", "check_same_job", "check_same_run"]

_FIXED = ("seed", "task", "workload", "aggregation")
"""Parts of the spec that make a run what it is: with another value its earlier rounds would mean something else."""


class AnotherRun(Exception):  # noqa: N818 - an expected state of the world
    """The directory holds a run that this job cannot continue."""


def check_same_run(job: FederatedJob, path: Path) -> None:
    """See that a run directory is new, or that of an unfinished run of this job; nothing is changed.

    Raises
    ------
    AnotherRun
        It is not; the message says why and what to do.
    """
    if is_finished(path):
        raise AnotherRun(f"{path} holds a run that has ended; choose another directory")
    if (path / JOB).exists():
        check_same_job(job, path)


def check_same_job(job: FederatedJob, path: Path) -> None:
    """See that a run directory's run, ended or not, is of this job.

    Raises
    ------
    AnotherRun
        It is not, or the directory does not say whose it is.
    """
    try:
        before = load_job(path / JOB)
    except InvalidJob as error:
        raise AnotherRun(f"{path / JOB} cannot be read, so this run cannot be resumed: {error}") from error
    if before.metadata.name != job.metadata.name:
        raise AnotherRun(
            f'{path} holds an unfinished run of "{before.metadata.name}", not of "{job.metadata.name}"; choose another directory'
        )
    changed = [f"spec.{part}" for part in _FIXED if getattr(before.spec, part) != getattr(job.spec, part)]
    if job.spec.rounds < before.spec.rounds:
        changed.append(f"spec.rounds (it may only grow, from {before.spec.rounds})")
    if changed:
        raise AnotherRun(
            f"{path} holds an unfinished run of this job with another {' and '.join(changed)}; undo the change, or choose another directory"
        )
