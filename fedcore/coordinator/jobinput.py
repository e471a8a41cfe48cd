"""The coordinator's job file, looked at once a second while it runs.

It is a FederatedJob, or the supervisor's input: ``{name, namespace, uid, generation, spec, gone: "3,5", end: {reason, message}}``, the
job with what the supervisor has to say of it. For the engine each difference is an event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcore.engine.events import EndAsked, Event, SpecChanged, WorkerGone
from fedcore.engine.reasons import EndReason
from fedcore.jobfile import load_job, parse_job
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


def read_job_input(path: Path) -> JobInput:
    """Read the job file.

    Raises
    ------
    InvalidJob
        What is wrong, with places.
    """
    if path.suffix != ".json":
        return JobInput(load_job(path))
    text = path.read_text(encoding="utf-8")
    data = json.loads(text)
    if not isinstance(data, dict) or "metadata" in data or "spec" not in data:
        return JobInput(load_job(path))
    job = parse_job(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": data.get("name", "")}, "spec": data["spec"]}, source=path.name
    )
    return JobInput(
        job=job,
        uid=str(data.get("uid") or ""),
        generation=int(data.get("generation") or 0),
        gone=frozenset(int(index) for index in str(data.get("gone") or "").split(",") if index.strip()),
        end=_end(data.get("end")),
    )


def changes(before: JobInput, after: JobInput) -> list[Event]:
    """Return what the engine has to know of a new job file."""
    events: list[Event] = []
    if after.job.spec != before.job.spec:
        events.append(SpecChanged(after.job.spec))
    events += [WorkerGone(index, f"worker-{index} has spent its restart budget") for index in sorted(after.gone - before.gone)]
    if after.end is not None and after.end != before.end:
        events.append(EndAsked(*after.end))
    return events


def _end(asked: Any) -> tuple[EndReason, str] | None:
    return (EndReason(asked["reason"]), str(asked.get("message", ""))) if asked else None
