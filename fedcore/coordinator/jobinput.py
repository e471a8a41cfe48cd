"""The coordinator's job file, looked at once a second while it runs.

It is a FederatedJob, or the supervisor's input: ``{name, namespace, uid, generation, spec, gone: "3,5", end: {reason, message}}``, the
job with what the supervisor has to say of it. For the engine each difference is an event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ValidationError

from fedcore.engine.events import EndAsked, Event, SpecChanged, WorkerGone, WorkerRevived
from fedcore.engine.reasons import EndReason  # noqa: TC001 - pydantic reads the annotations
from fedcore.jobfile import InvalidJob, Problem, load_job, parse_job
from fedcore.spec import API_VERSION, KIND, FederatedJob

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JobInput", "changes", "read_job_input"]


@dataclass(frozen=True, slots=True)
class JobInput:
    """The job, and what the supervisor says beside it."""

    job: FederatedJob
    uid: str = ""
    generation: int = 0
    gone: frozenset[int] = frozenset()
    end: tuple[EndReason, str] | None = None


class _End(BaseModel):
    reason: EndReason
    message: str = ""


class _Said(BaseModel):
    """What stands beside the spec, as it is written."""

    uid: str = ""
    generation: int = 0
    gone: Annotated[frozenset[int], BeforeValidator(lambda text: [index for index in str(text).split(",") if index.strip()])] = frozenset()
    end: _End | None = None


def read_job_input(path: Path) -> JobInput:
    """Read the job file.

    Raises
    ------
    InvalidJob
        What is wrong, with places.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except (OSError, ValueError):
        data = None  # the reader of job files says what is wrong with it, and where
    if not isinstance(data, dict) or "metadata" in data or "spec" not in data:
        return JobInput(load_job(path))
    job = parse_job(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": data.get("name", "")}, "spec": data["spec"]}, source=path.name
    )
    try:
        said = _Said.model_validate({key: value for key, value in data.items() if value})
    except ValidationError as error:
        raise InvalidJob(
            [Problem(path.name, None, ".".join(str(step) for step in found["loc"]), found["msg"]) for found in error.errors()]
        ) from None
    end = None if said.end is None else (said.end.reason, said.end.message)
    return JobInput(job, said.uid, said.generation, said.gone, end)


def changes(before: JobInput, after: JobInput) -> list[Event]:
    """Return what the engine has to know of a new job file."""
    events: list[Event] = []
    if after.job.spec != before.job.spec:
        events.append(SpecChanged(after.job.spec))
    events += [WorkerRevived(index) for index in sorted(before.gone - after.gone)]
    events += [WorkerGone(index, f"worker-{index} has spent its restart budget") for index in sorted(after.gone - before.gone)]
    if after.end is not None and after.end != before.end:
        events.append(EndAsked(*after.end))
    return events
