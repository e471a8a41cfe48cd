"""The job input: what a coordinator is told of its job, and what we want of it while it runs.

An annotation of its pod, mounted by the downward API: a change is in the pod within a second or so, where a ConfigMap takes up to a
minute, and its generation can be seen in the API. `fedcore.coordinator.jobinput` reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcore.spec.status import Ending
    from fedcore_operator.api.job import Job

__all__ = ["job_input"]

_FOR_PODS_ONLY = {"workers": {"template", "data", "image"}, "coordinator": {"template", "image"}}
"""Of no use inside the pod, and large."""


def job_input(job: Job, gone: Iterable[int], ending: Ending | None) -> str:
    """Return the annotation's text; the same for the same job, so that a difference means something to tell.

    Parameters
    ----------
    gone : iterable of int
        Workers whose restart budget is spent.
    ending : Ending or None
        The end that the coordinator is asked for.
    """
    said: dict[str, Any] = {
        "name": job.name,
        "namespace": job.namespace,
        "uid": job.uid,
        "generation": job.generation,
        "spec": job.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_FOR_PODS_ONLY),
        "gone": ",".join(map(str, sorted(gone))),
    }
    if ending is not None:
        said["end"] = {"reason": ending.reason, "message": ending.message}
    return json.dumps(said, separators=(",", ":"), sort_keys=True)
