"""Random histories of a cluster against the operator's invariants, with the operator killed after any of its writes.

FEDCORE_HYPOTHESIS_EXAMPLES sets how many histories.
"""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedcore.engine.quorum import required
from fedcore.engine.reasons import EndReason
from fedcore.spec import Quorum
from fedcore_operator.api.conditions import condition, is_finished
from fedcore_operator.api.names import INDEX
from support.cluster_model import Cluster, ConflictError, KilledError, Operator

PICK = st.integers(0, 30)
CODES = st.sampled_from([0, 1, 1, 1, 2, 3, 4, 137])
WORDS = st.sampled_from(["", "stopped", "left", "retired", "name_in_use", "crashed"])
DECIDED = st.sampled_from([EndReason.COMPLETED, EndReason.QUORUM_LOST, EndReason.CHECKPOINT_FAILED, EndReason.INTERNAL_ERROR])
REACTIONS = st.sampled_from(["none", "settle", "settle", "pass", 1, 2, 3, 4])
"""What the operator does then: nothing yet, passes, or a pass that is cut off after so many writes."""
WAITS = st.sampled_from([0, 1, 5, 5, 15, 31, 31, 61, 120, 700, 2000])


def without_uids(pods):
    """Pods as they are, whatever was made before them."""
    return {name: {**pod, "metadata": {**pod["metadata"], "uid": ""}} for name, pod in pods.items()}


class History(RuleBasedStateMachine):
    """One job. Rules are what happens in the cluster, and passes of the operator, whole or cut off."""

    @initialize(
        replicas=st.integers(1, 4),
        percent=st.sampled_from([1, 50, 75, 100]),
        budget=st.integers(0, 2),
        volume=st.booleans(),
        tls=st.booleans(),
        startup=st.sampled_from([0, 1800]),
        active=st.sampled_from([None, None, 5000]),
        loss=st.sampled_from([0, 100]),
        policy=st.sampled_from(["Running", "All", "None"]),
        ttl=st.sampled_from([None, 0, 100]),
        warm=st.sampled_from([True, True, True, False]),
    )
    def begin(self, replicas, percent, budget, volume, tls, startup, active, loss, policy, ttl, warm):
        spec = {
            "rounds": 5,
            "task": {"entrypoint": "a:b"},
            "workers": {"replicas": replicas, "maxRestartsPerWorker": budget},
            "coordinator": {"maxRestarts": budget, "checkpoint": {"claimName": "c"} if volume else {}},
            "quorum": {"percent": percent, "lossGracePeriodSeconds": loss},
            "startupDeadlineSeconds": startup,
            "security": {"tls": tls},
            "cleanPodPolicy": policy,
        }
        if active is not None:
            spec["activeDeadlineSeconds"] = active
        if ttl is not None:
            spec["ttlSecondsAfterFinished"] = ttl
        self.cluster = Cluster(spec)
        self.operator = Operator(self.cluster)
        self.said: set[EndReason] = set()
        if warm:
            self.operator.settle()
            self.all_start_and_get_ready("settle")

    # -- the cluster ------------------------------------------------------------------------------------------------------------------

    def _pick(self, number, phases, *, deleting=None):
        pods = [pod for pod in self.cluster.pods.values() if pod["status"]["phase"] in phases]
        if deleting is not None:
            pods = [pod for pod in pods if ("deletionTimestamp" in pod["metadata"]) is deleting]
        return pods[number % len(pods)] if pods else None

    def _then(self, reaction):
        if reaction == "settle":
            self.settles()
        elif reaction == "pass":
            self.passes()
        elif reaction != "none":
            self.killed_after(reaction)

    def _hit(self, pod, *, failure):
        """Note an end that may be counted."""
        if failure:
            self.cluster.truth.failures += 1
        else:
            self.cluster.truth.disruptions += 1

    @rule(number=PICK, reaction=REACTIONS)
    def starts(self, number, reaction):
        pod = self._pick(number, {"Pending"}, deleting=False)
        if pod is not None:
            self.cluster.run(pod)
        self._then(reaction)

    @rule(reaction=REACTIONS)
    def all_start_and_get_ready(self, reaction):
        for pod in list(self.cluster.pods.values()):
            if pod["status"]["phase"] == "Pending":
                self.cluster.run(pod)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]:
                self.cluster.get_ready(pod)
        self._then(reaction)

    @rule(number=PICK, code=CODES, word=WORDS, reaction=REACTIONS)
    def worker_ends(self, number, code, word, reaction):
        pods = [pod for pod in self.cluster.of_role("worker") if pod["status"]["phase"] == "Running"]
        if pods:
            pod = pods[number % len(pods)]
            message = json.dumps({"schema": 1, "reason": word, "message": "said so"}) if word else "Traceback ..."
            # A worker that an earlier coordinator told to stop is a disruption once a later one runs: either count may take it.
            self._hit(pod, failure=code not in {0, 3, 4} and word != "stopped")
            self.cluster.truth.disruptions += 1
            self.cluster.end(pod, code, message)
        self._then(reaction)

    @rule(number=PICK)
    def worker_fails_and_is_back(self, number):
        """A short cut to places that have a past."""
        self.worker_ends(number, 1, "", "settle")
        self.time_passes(61, "settle")
        self.all_start_and_get_ready("settle")

    @rule(code=st.sampled_from([0, 1, 1, 2, 137, 143]), locked=st.booleans(), reaction=REACTIONS)
    def coordinator_crashes(self, code, locked, reaction):
        pods = [pod for pod in self.cluster.of_role("coordinator") if pod["status"]["phase"] == "Running"]
        if pods:
            reason = "RunDirectoryLocked" if locked else "InvalidJob"
            message = json.dumps({"schema": 1, "final": False, "reason": reason, "message": "no"}) if code == 2 else "Traceback ..."
            self._hit(pods[0], failure="deletionTimestamp" not in pods[0]["metadata"])
            self.cluster.truth.disruptions += 1
            self.cluster.end(pods[0], code, message)
        self._then(reaction)

    @rule(reason=DECIDED, rarely=PICK, reaction=REACTIONS)
    def coordinator_decides(self, reason, rarely, reaction):
        pods = [pod for pod in self.cluster.of_role("coordinator") if pod["status"]["phase"] == "Running"]
        if pods and rarely % 4 == 0:
            said = {"schema": 1, "final": True, "reason": str(reason), "message": "so be it", "rounds": 5, "metrics": {"accuracy": 0.9}}
            self.said.add(reason)
            self.cluster.truth.disruptions += 1
            self.cluster.truth.failures += 1
            self.cluster.end(pods[-1], 0 if reason is EndReason.COMPLETED else 1, json.dumps(said))
        self._then(reaction)

    @rule(rarely=PICK)
    def nobody_is_ready_for_long(self, rarely):
        for pod in self.cluster.of_role("worker") if rarely % 4 == 0 else []:
            for container in pod["status"].get("containerStatuses", []):
                container["ready"] = False
        self.passes()
        self.time_passes(161, "settle")

    @rule(number=PICK, reaction=REACTIONS)
    def evicted(self, number, reaction):
        pod = self._pick(number, {"Pending", "Running"})
        if pod is not None:
            self._hit(pod, failure=False)
            self.cluster.evict(pod)
        self._then(reaction)

    @rule(number=PICK, reaction=REACTIONS)
    def deleted_by_hand(self, number, reaction):
        pod = self._pick(number, {"Pending", "Running", "Failed", "Succeeded"}, deleting=False)
        if pod is not None:
            self._hit(pod, failure=False)
            self.cluster.delete_pod(pod["metadata"]["name"], pod["metadata"]["uid"])
        self._then(reaction)

    @rule(number=PICK, reaction=REACTIONS)
    def node_lost(self, number, reaction):
        pod = self._pick(number, {"Running"}, deleting=False)
        if pod is not None:
            self._hit(pod, failure=False)
            self.cluster.lose(pod)
        self._then(reaction)

    @rule(number=PICK, reaction=REACTIONS)
    def deletion_done(self, number, reaction):
        pod = self._pick(number, {"Pending", "Running", "Failed", "Succeeded"}, deleting=True)
        if pod is not None:
            self.cluster.complete_deletion(pod)
        self._then(reaction)

    @rule(refused=st.booleans())
    def quota(self, refused):
        self.cluster.refuse_creations = refused

    # -- the user ---------------------------------------------------------------------------------------------------------------------

    @rule(replicas=st.integers(1, 5), reaction=REACTIONS)
    def scaled(self, replicas, reaction):
        self.cluster.edit(lambda spec: spec["workers"].update(replicas=replicas))
        self._then(reaction)

    @rule(suspend=st.booleans(), reaction=REACTIONS)
    def suspended_or_resumed(self, suspend, reaction):
        if self.cluster.job["spec"].get("suspend", False) != suspend:
            self.cluster.edit(lambda spec: spec.update(suspend=suspend))
        self._then(reaction)

    @rule(gone=st.booleans(), reaction=REACTIONS)
    def suspended_for_a_moment(self, gone, reaction):
        """Resumed when its pods are gone, or while they are on their way out."""
        if not self.cluster.job["spec"].get("suspend", False):
            self.cluster.edit(lambda spec: spec.update(suspend=True))
            self.settles()
            for pod in [one for one in self.cluster.pods.values() if gone and "deletionTimestamp" in one["metadata"]]:
                self.cluster.complete_deletion(pod)
            self.cluster.edit(lambda spec: spec.update(suspend=False))
        self._then(reaction)

    @rule(budget=st.integers(0, 4), reaction=REACTIONS)
    def budget_changed(self, budget, reaction):
        self.cluster.edit(lambda spec: spec["workers"].update(maxRestartsPerWorker=budget))
        self._then(reaction)

    @rule()
    def made_invalid_and_mended(self):
        self.cluster.edit(lambda spec: spec["quorum"].update(minWorkers=900))
        self.passes()
        self.cluster.edit(lambda spec: spec["quorum"].update(minWorkers=1))

    # -- time and the operator --------------------------------------------------------------------------------------------------------

    @rule(seconds=WAITS, reaction=REACTIONS)
    def time_passes(self, seconds, reaction):
        self.cluster.now += timedelta(seconds=seconds)
        self._then(reaction)

    @rule(met=st.booleans(), number=st.integers(0, 5))
    def polled(self, met, number):
        self.operator.hear(self.cluster.progress(quorum_met=met, round=number, registered=2, metrics={"accuracy": 0.5}))

    @rule()
    def passes(self):
        self.operator.pass_()

    @rule(writes=st.integers(1, 6))
    def killed_after(self, writes):
        try:
            self.operator.pass_(stop_after=writes)
        except KilledError:
            self.operator = Operator(self.cluster)

    @rule()
    def lags(self):
        self.operator.lag()

    @rule(writes=st.integers(1, 8))
    def would_end_alike_if_it_were_killed_now(self, writes):
        undisturbed, disturbed = copy.deepcopy(self.cluster), copy.deepcopy(self.cluster)
        Operator(undisturbed).settle()
        with suppress(KilledError):
            Operator(disturbed).pass_(stop_after=writes)
        Operator(disturbed).settle()
        assert disturbed.status == undisturbed.status
        assert disturbed.objects == undisturbed.objects
        assert without_uids(disturbed.pods) == without_uids(undisturbed.pods)

    @rule(replicas=st.integers(1, 5))
    def changed_while_it_decides(self, replicas):
        before = len(self.cluster.history)
        try:
            self.operator.pass_(between=lambda: self.cluster.edit(lambda spec: spec["workers"].update(replicas=replicas)))
        except ConflictError:
            assert len(self.cluster.history) == before

    @rule()
    def settles(self):
        self.operator.settle()
        self._check_rest()

    @precondition(lambda self: is_finished(self.cluster.status))
    @rule()
    def ends_are_cleaned_up(self):
        self.cluster.now += timedelta(seconds=200)
        self.operator.settle()
        left = [pod for pod in self.cluster.pods.values() if "deletionTimestamp" not in pod["metadata"]]
        match self.cluster.job["spec"]["cleanPodPolicy"]:
            case "All":
                assert left == []
            case "Running":
                assert {pod["status"]["phase"] for pod in left} <= {"Failed", "Succeeded"}

    # -- what holds -------------------------------------------------------------------------------------------------------------------

    def _check_rest(self):
        """Check what is true once nothing more is to be done."""
        cluster, status, spec = self.cluster, self.cluster.status, self.cluster.job["spec"]
        if is_finished(status):
            return
        living = [pod for pod in cluster.pods.values() if pod["status"]["phase"] in {"Pending", "Running"}]
        kept = [pod for pod in living if "deletionTimestamp" not in pod["metadata"]]
        if spec.get("suspend"):
            assert kept == [], "a suspended job keeps no pod"
            return
        assert all(cluster.is_current(pod) for pod in kept), "what was replaced is on its way out"
        indexes = [int(pod["metadata"]["labels"][INDEX]) for pod in kept if INDEX in pod["metadata"]["labels"]]
        assert len(indexes) == len(set(indexes))
        assert all(index < spec["workers"]["replicas"] for index in indexes)
        coordinators = [pod for pod in cluster.of_role("coordinator") if cluster.is_current(pod)]
        for pod in coordinators:
            if pod["status"]["phase"] in {"Pending", "Running"} and "deletionTimestamp" not in pod["metadata"]:
                said = json.loads(pod["metadata"]["annotations"]["fedcore.dev/job-input"])
                assert said["generation"] == cluster.job["metadata"]["generation"]
                assert said["spec"]["workers"]["replicas"] == spec["workers"]["replicas"]

    @invariant()
    def nothing_is_counted_that_did_not_happen(self):
        if not hasattr(self, "cluster"):
            return
        status, truth = self.cluster.status, self.cluster.truth
        assert status.restarts <= truth.failures
        assert status.coordinator.disruptions + sum(one.disruptions for one in status.worker_indexes) <= truth.disruptions

    @invariant()
    def an_end_has_its_reason(self):
        if not hasattr(self, "cluster"):
            return
        status, truth, spec = self.cluster.status, self.cluster.truth, self.cluster.job["spec"]
        failed = condition(status, "Failed")
        if failed is None:
            return
        match failed.reason:
            case EndReason.COORDINATOR_FAILED:
                assert truth.failures > spec["coordinator"]["maxRestarts"], "disruptions exhaust no budget"
            case EndReason.QUORUM_UNREACHABLE:
                assert truth.failures > 0, "disruptions exhaust no budget"
            case EndReason.STARTUP_DEADLINE_EXCEEDED:
                assert spec["startupDeadlineSeconds"]
            case EndReason.DEADLINE_EXCEEDED:
                assert "activeDeadlineSeconds" in spec
            case EndReason.QUORUM_LOST:
                assert EndReason.QUORUM_LOST in self.said or spec["quorum"]["lossGracePeriodSeconds"]

    @invariant()
    def status_agrees_with_itself(self):
        if not hasattr(self, "cluster"):
            return
        status = self.cluster.status
        assert (condition(status, "Complete") is None) or (condition(status, "Failed") is None)
        assert is_finished(status) == (status.phase in {"Succeeded", "Failed"})
        assert is_finished(status) == (status.completion_time is not None)
        if status.quorum.required and not is_finished(status):
            declared = status.workers.desired
            quorum = Quorum(percent=self.cluster.job["spec"]["quorum"]["percent"])
            assert status.quorum.required == required(quorum, declared) or status.phase in {"Suspended", "Pending"}


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=int(os.environ.get("FEDCORE_HYPOTHESIS_EXAMPLES", "150")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
