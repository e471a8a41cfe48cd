"""Objects of the API server as `kubectl fedjob` reads them: the least there is, and what a test is about laid over it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from fedcore.cli.fedjob.scene import set_scene
from fedcore.spec.times import format_time

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UID = "0f3c5a7e-1111-2222-3333-444455556666"
VALID = ("Accepted", "True", "Valid", "")
READY = ("CoordinatorReady", "True", "Ready", "mnist-coordinator-1 serves")
ENOUGH = ("QuorumMet", "True", "Enough", "4 of 4 workers are ready, 3 are required")


def ago(seconds):
    return format_time(NOW - timedelta(seconds=seconds))


def later(seconds):
    return ago(-seconds)


def job(*conditions, spec=None, metadata=None, **status):
    """Return a FederatedJob of 4 workers; conditions as (type, status, reason, message)."""
    shown = [
        {"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": ago(50), "observedGeneration": 3}
        for kind, state, reason, message in conditions
    ]
    whole = {"rounds": 20, "task": {"entrypoint": "my.task:make"}, **(spec or {})}
    whole["workers"] = {"replicas": 4, **whole.get("workers", {})}
    named = {"name": "mnist", "namespace": "ns", "uid": UID, "generation": 3, "creationTimestamp": ago(100), **(metadata or {})}
    return {"metadata": named, "spec": whole, "status": {"conditions": shown, **status} if conditions or status else {}}


def running(*conditions, spec=None, **status):
    """Return a job that trains since a minute."""
    workers = {"ready": 4, "started": "0-3", **status.pop("workers", {})}
    coordinator = {"started": True, "ready": True, **status.pop("coordinator", {})}
    known = {"phase": "Running", "startTime": ago(60), "quorumFirstMetTime": ago(50), "workers": workers, "coordinator": coordinator}
    given = {kind: one for kind, *one in (VALID, READY, ENOUGH, *conditions)}
    return job(*((kind, *one) for kind, one in given.items()), spec=spec, **{**known, **status})


def pod(index=None, attempt=1, *, uid=UID, **status):
    """Return a pod; without a status one that is about to start."""
    role = "coordinator" if index is None else "worker"
    place = role if index is None else f"worker-{index}"
    labels = {"fedcore.dev/job": "mnist", "fedcore.dev/role": role, "fedcore.dev/attempt": str(attempt)}
    labels |= {} if index is None else {"fedcore.dev/index": str(index)}
    metadata = {"name": f"mnist-{place}-{attempt}", "uid": f"{place}-{attempt}", "labels": labels, "ownerReferences": [{"uid": uid}]}
    return {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": {"phase": "Pending", **status}}


def state(index=None, attempt=1, *, uid=UID, ready=False, phase="Running", **state):
    """Return a pod whose container is in a state."""
    role = "coordinator" if index is None else "worker"
    return pod(index, attempt, uid=uid, phase=phase, containerStatuses=[{"name": role, "ready": ready, "state": state}])


def up(index=None, attempt=1, **fields):
    return state(index, attempt, **fields, ready=True, running={"startedAt": ago(40)})


def waiting(index=None, attempt=1, *, reason, message=""):
    return state(index, attempt, phase="Pending", waiting={"reason": reason, "message": message})


def unschedulable(index=None, *, message="0/3 nodes are available"):
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    return pod(index, conditions=conditions)


def ended(index=None, attempt=1, *, code=1, reason="Error", said=None, message=""):
    text = json.dumps({"schema": 1, **said}) if said is not None else message
    return state(index, attempt, phase="Failed", terminated={"exitCode": code, "reason": reason, "message": text, "finishedAt": ago(5)})


def event(reason, message="", *, about="FederatedJob/mnist", kind="Warning", at=5, uid=None):
    which, name = about.split("/")
    return {
        "metadata": {"uid": uid or f"{reason}-{at}", "name": "event"},
        "involvedObject": {"kind": which, "name": name},
        "type": kind,
        "reason": reason,
        "message": message,
        "eventTime": ago(at),
    }


def last_exit(reason, code=None, message="", at=40):
    return {"reason": reason, "message": message, "time": ago(at), **({} if code is None else {"exitCode": code})}


def scene(raw, pods=(), events=()):
    return set_scene(raw, pods, events)
