"""Nodes that are cut off the network and come back: who is replaced, who is waited for, and that only one ever writes."""

import json
import sys
import time
from contextlib import suppress

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.figures import record_figure
from tests.e2e.history import is_ready, recorded
from tests.e2e.jobs import apply_slow_job
from tests.e2e.nodes import node_of
from tests.e2e.runs import CLAIM, read_run

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900, func_only=True)]

SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {"fedcore.dev/job": "work", "fedcore.dev/role": "worker"}},
        }
    ]
}
ROUNDS = {"work": 130, "plain": 60, "kept": 80}
QUICKLY = {
    "terminationGracePeriodSeconds": 5,
    "tolerations": [
        {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        for state in ("unreachable", "not-ready")
    ],
}
"""For pods that shall be given up soon, 21 s after the cut."""


def affinity(kind, node, operator):
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": operator, "values": [node]}]}
    if kind == "preferred":
        return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}}}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}


def test_a_node_is_cut_off_and_comes_back(operator, local_cluster, namespace, numpy_worker_image):
    cluster = local_cluster
    cut = next(node for node in cluster.nodes if node != operator.node())

    def apply(name, seconds, *, percent, coordinator, workers):
        spec = {
            "rounds": ROUNDS[name],
            "task": {"parameters": {"seconds": seconds, "values": "100"}},
            "quorum": {"percent": percent},
            "workload": {"policy": "fixed"},
            "coordinator": coordinator,
        }
        return apply_slow_job(cluster, namespace, name, spec, pod={**QUICKLY, **workers})

    there = {"template": {"spec": {**QUICKLY, **affinity("preferred", cut, "In")}}}
    elsewhere = affinity("required", cut, "NotIn")
    # One whose coordinator is safe and some of whose workers are not, and two of which it is the other way round.
    work = apply("work", "1.0", percent=60, coordinator={"template": {"spec": {**QUICKLY, **elsewhere}}}, workers=SPREAD)
    plain = apply("plain", "0.6", percent=100, coordinator=there, workers=elsewhere)
    kept = apply("kept", "0.6", percent=100, coordinator={**there, "checkpoint": {"volumeClaimTemplate": CLAIM}}, workers=elsewhere)
    jobs = {"work": work, "plain": plain, "kept": kept}
    with recorded(cluster, namespace) as history:
        for job in jobs.values():
            job.wait("all ready", lambda status: status.workers.ready == 3)
        lost = [pod["metadata"]["name"] for pod in work.pods() if pod["spec"]["nodeName"] == cut]
        assert 1 <= len(lost) <= 2, "the workers are spread over the nodes"
        assert node_of(cluster, namespace, "plain-coordinator-1") == node_of(cluster, namespace, "kept-coordinator-1") == cut
        stray = cluster.get("pod/plain-coordinator-1", f"--namespace={namespace}")["status"]["podIP"]
        kept.wait_asked(3)
        began = time.time()
        cluster.cut(cut)
        try:
            work.wait("replaced workers", lambda status: status.workers.disruptions == len(lost) and status.workers.ready == 3)
            plain.wait("a second coordinator", lambda status: status.coordinator.attempt == 2 and status.coordinator.ready)
            plain.wait("its workers", lambda status: status.progress.registered == 3 and status.phase == "Running")
            assert kept.status().coordinator.attempt == 1, "it may still be writing, who knows"
            assert kept.status().phase == "Degraded"
            registered = [_registered(cluster, cut, stray)]
            assert registered == [0], "the stray has no worker left"
        finally:
            cluster.heal(cut)
        healed = time.time()

        def is_gone():
            with suppress(ClusterError, ValueError):  # it ends
                registered.append(_registered(cluster, cut, stray))
            return not [pod for pod in plain.pods() if pod["metadata"]["name"] == "plain-coordinator-1"]

        wait_until("the stray gone", is_gone)
        assert set(registered) == {0}, "and gets none"
        kept.wait("its second coordinator", lambda status: status.coordinator.attempt == 2 and status.coordinator.ready)
        for job in jobs.values():
            assert job.wait_end(seconds=300) == "Completed", operator.log()
        run = read_run(kept, numpy_worker_image)
    for name in jobs:
        history.check(name)
    ends = {name: job.status() for name, job in jobs.items()}
    assert {name: (one.workers.disruptions, one.coordinator.disruptions, one.restarts) for name, one in ends.items()} == {
        "work": (len(lost), 0, 0),
        "plain": (0, 1, 0),
        "kept": (0, 1, 0),
    }
    assert "RestartedFromRoundOne" in plain.events()
    run.check(ROUNDS["kept"])
    assert [began for last, began in run.resumed() if began != last + 1] == []
    assert _overlap(history, "kept-coordinator-1", "kept-coordinator-2") <= 0, "two coordinators never share a volume"
    replaced = [f"{name.removesuffix('-1')}-2" for name in lost]
    cut_work = max(history.first(name, is_ready) for name in replaced) - began
    record_figure(
        "node cut off (marked after 16 s, toleration and grace 5 s each): its worker's next attempt is ready after", cut_work, "s"
    )
    cut_plain = history.first("plain-coordinator-2", is_ready) - began
    record_figure("the same for a coordinator without a volume, which begins at round 1", cut_plain, "s")
    after_heal = history.first("kept-coordinator-2", is_ready) - healed
    record_figure("node back: the coordinator on a volume, not replaced meanwhile, is ready after", after_heal, "s")


def _registered(cluster, node, address):
    """How many workers a coordinator has, asked from the node that it is on."""
    script = f"import urllib.request as r; print(r.urlopen('http://{address}:9464/progress', timeout=3).read().decode())"
    return json.loads(cluster.machine(node).run(sys.executable, "-c", script))["registered"]


def _overlap(history, old, new):
    """Seconds for which an attempt had not ended when the next one was made; below zero if there were none."""

    def has_ended(one):
        statuses = one.thing["status"].get("containerStatuses") or []
        return one.kind == "DELETED" or (bool(statuses) and all("terminated" in status["state"] for status in statuses))

    ended = next(one.at for one in history.pods if one.name == old and has_ended(one))
    return ended - next(one.at for one in history.pods if one.name == new and one.kind == "ADDED")
