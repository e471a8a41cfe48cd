"""What is seen in a pod."""

from __future__ import annotations

import pytest

from fedcore.cli.fedjob.pods import sight_pods
from support.fedjob_objects import UID, ended, pod, state, unschedulable, up, waiting

JSON = {"reason": "crashed", "message": "no such file"}


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        pytest.param(
            up(3, 2), {"index": 3, "attempt": 2, "ready": True, "started": True, "place": "worker-3", "role": "worker"}, id="ready"
        ),
        pytest.param(up(), {"index": None, "place": "coordinator", "role": "coordinator"}, id="the coordinator"),
        pytest.param(pod(0), {"started": False, "waits_for": "", "over": False}, id="on its way"),
        pytest.param(waiting(0, reason="ContainerCreating"), {"waits_for": ""}, id="no trouble yet"),
        pytest.param(waiting(0, reason="ImagePullBackOff", message="x"), {"waits_for": "ImagePullFailed", "message": "x"}, id="image"),
        pytest.param(waiting(0, reason="CreateContainerConfigError"), {"waits_for": "CreateContainerConfigError"}, id="another trouble"),
        pytest.param(unschedulable(0, message="full"), {"waits_for": "Unschedulable", "message": "full"}, id="no node"),
        pytest.param(
            ended(0, code=1, said=JSON),
            {"over": True, "started": True, "exit_code": 1, "exit_reason": "crashed", "message": "no such file"},
            id="ended with a word",
        ),
        pytest.param(ended(0, message="Traceback\nKeyError\n"), {"exit_reason": "Error", "message": "Traceback\nKeyError"}, id="log text"),
        pytest.param(ended(0, code=137, reason="OOMKilled", said=JSON), {"exit_reason": "OOMKilled", "exit_code": 137}, id="memory"),
        pytest.param(
            pod(0, phase="Failed", reason="Evicted", message="low on disk"), {"exit_reason": "Evicted", "over": True}, id="evicted"
        ),
        pytest.param(
            pod(0, initContainerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
            {"waits_for": "CrashLoopBackOff"},
            id="init",
        ),
        pytest.param(state(0, running={"startedAt": "x"}), {"started": True, "ready": False}, id="runs and is not registered"),
    ],
)
def test_a_pod_as_it_is_seen(raw, fields):
    (seen,) = sight_pods([raw], UID)
    assert {name: getattr(seen, name) for name in fields} == fields


def test_what_is_not_the_jobs_is_not_seen():
    strange = pod(0)
    strange["metadata"]["labels"] = {}
    assert sight_pods([strange, up(uid="another")], UID) == ()
