"""Jobs and pods for the operator's tests: the least there is, and what a test is about laid over it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

from fedcore.progress import Progress
from fedcore.spec import Spec, Status
from fedcore_operator.api.conditions import ConditionType, set_condition
from fedcore_operator.api.job import Job
from fedcore_operator.api.settings import Settings
from fedcore_operator.decide.observe import Exit, Observation, Pods, PodView

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UID = "0f3c5a7e-1111-2222-3333-444455556666"
SETTINGS = Settings.read(
    {"FEDCORE_OPERATOR_NAMESPACE": "fedcore", "FEDCORE_COORDINATOR_IMAGE": "coordinator:1", "FEDCORE_WORKER_IMAGE": "worker:1"}
)


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def make_spec(changes=None):
    data = {"rounds": 20, "task": {"entrypoint": "my.task:make"}, "workers": {"replicas": 4}}
    for path, value in (changes or {}).items():
        *way, last = path.split(".")
        around = data
        for step in way:
            around = around.setdefault(step, {})
        around[last] = value
    return Spec.model_validate(data)


def make_job(changes=None, status=None, **fields):
    known = {
        "name": "mnist",
        "namespace": "ns",
        "uid": UID,
        "generation": 3,
        "resource_version": "7",
        "created_at": ago(100),
        "deleting": False,
        "managed_elsewhere": False,
        "queue": None,
    }
    return Job(**{**known, **fields}, status=make_status() if status is None else status, spec=make_spec(changes))


def make_status(*conditions, **fields):
    """Return a status; conditions as (type, state, reason)."""
    status = Status.model_validate(fields)
    for kind, state, reason in conditions:
        status = set_condition(status, ConditionType(kind), state, reason, "", generation=3, now=ago(50))
    return status


def running(*conditions, **fields):
    """Return the status of a job that runs since a minute, all of its pods seen."""
    known = {
        "startTime": "2026-11-25T11:59:00Z",
        "quorumFirstMetTime": "2026-11-25T11:59:10Z",
        "coordinator": {"started": True},
        "workers": {"started": "0-3"},
    }
    accepted = ("Accepted", "True", "Valid")
    return make_status(accepted, *conditions, **{**known, **fields})


def pod(index=None, attempt=1, *, ended=None, **fields):
    """Return a pod that runs and is ready; ``ended``: an `Exit`, or its code."""
    place = "coordinator" if index is None else f"worker-{index}"
    known = {"created_at": ago(60), "running_since": ago(55), "ready": True, "ip": "10.0.0.1"}
    if ended is not None:
        known |= {"running_since": None, "ready": False, "over": True, "over_at": ago(5), "exit": ended}
        known["exit"] = ended if isinstance(ended, Exit) else Exit(code=ended, at=ago(5), started_at=ago(55), kubernetes_reason="Error")
    return PodView(name=f"mnist-{place}-{attempt}", uid=f"uid-{place}-{attempt}", index=index, attempt=attempt, **{**known, **fields})


def exited(code, reason="", message="", **fields):
    known = {"at": ago(5), "started_at": ago(55), "kubernetes_reason": "Error" if code else "Completed"}
    return Exit(code=code, reason=reason, message=message, **{**known, **fields})


def seen(*pods, **fields):
    return Observation(Pods.of(pods), **fields)


def all_pods(replicas=4, **changes):
    """Return the pods of a job that runs, with those of ``changes`` (place, as ``c`` or ``w0``) in their stead; None leaves one out."""
    pods = {"c": pod(), **{f"w{index}": pod(index) for index in range(replicas)}}
    return [one for one in (pods | changes).values() if one is not None]


def with_status(job, status):
    return dataclasses.replace(job, status=status)


def progress(**said):
    """Return what the coordinator says of a job that runs."""
    known = {"run_id": "r", "phase": "Running", "round": 7, "rounds": 20, "accepted": 2, "required": 3, "registered": 4, "attempt": 1}
    more = {"quorum_lost_seconds": 0, "late": 3, "metrics": {"accuracy": 0.96234, "loss": 1e-7}, "metrics_version": 6, "quorum_met": True}
    rounds = [{"round": 6, "outcome": "full", "duration_s": 1.25, "accepted": 4, "required": 3, "stragglers": 0}]
    slow = [{"worker": "worker-2", "round_trip_s": 1.4, "round": 6}]
    lists = {"recent_rounds": rounds, "slowest_workers": slow}
    return Progress.model_validate({"schema": 1, "uid": UID, "checkpoint_version": 6, **known, **more, **lists, **said})
