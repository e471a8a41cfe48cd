"""A cluster as far as the operator's decisions go: objects with versions and owners, kubelets, a clock, and the truth about processes.

It speaks raw objects, as the API server does, so that what parses them is tried too. Whatever must never happen is asserted where it
would.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from datetime import UTC, datetime, timedelta

from fedcore.engine.reasons import EndReason
from fedcore.progress import Progress
from fedcore.spec import API_VERSION, Status
from fedcore.spec.times import format_time
from fedcore_operator.api import names
from fedcore_operator.api.conditions import is_finished
from fedcore_operator.api.job import InvalidJob, Job, parse_job
from fedcore_operator.api.settings import Settings
from fedcore_operator.decide import actions as act
from fedcore_operator.decide.acceptance import dry_run_due
from fedcore_operator.decide.answers import Answer, Created, creation, verdict
from fedcore_operator.decide.observe import Observation, Pods, Polled, Refusal, view_pod
from fedcore_operator.decide.progress import belongs
from fedcore_operator.decide.reconcile import reconcile
from fedcore_operator.plan.secrets import join_secret, tls_secret
from fedcore_operator.plan.shapes import shapes

SETTINGS = Settings.read(
    {"FEDCORE_OPERATOR_NAMESPACE": "fedcore", "FEDCORE_COORDINATOR_IMAGE": "coordinator:1", "FEDCORE_WORKER_IMAGE": "worker:1"}
)
START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
JOB = "mnist"


class KilledError(Exception):
    """The operator was killed."""


class ConflictError(Exception):
    """409 on a status write."""


@dataclass
class Truth:
    """What really happened, for comparison with what is counted."""

    alive: set[str] = field(default_factory=set)
    """Uids of pods whose container runs, whatever the API says."""
    failures: int = 0
    disruptions: int = 0
    seen: set[str] = field(default_factory=set)
    """Names of pods that a whole pass has seen."""
    newest: dict[str, int] = field(default_factory=dict)
    """Highest attempt of each place that was ever made: what a coordinator accepts of it from then on."""


class Cluster:
    """One namespace with one job."""

    def __init__(self, spec):
        self.now = START
        self.truth = Truth()
        self.refuse_creations = False
        self.pods = {}
        self.objects = {}
        self.history = []
        """Every status that was written."""
        self._last_id = 0
        self.job = {
            "apiVersion": API_VERSION,
            "kind": "FederatedJob",
            "metadata": {
                "name": JOB,
                "namespace": "ns",
                "uid": "0f3c5a7e-job",
                "generation": 1,
                "resourceVersion": self._version(),
                "creationTimestamp": format_time(START),
            },
            "spec": spec,
        }

    def _version(self):
        self._last_id += 1
        return str(self._last_id)

    @property
    def status(self):
        return Status.model_validate(self.job.get("status") or {})

    # -- the user ---------------------------------------------------------------------------------------------------------------------

    def edit(self, change):
        change(self.job["spec"])
        self.job["metadata"]["generation"] += 1
        self.job["metadata"]["resourceVersion"] = self._version()

    # -- the API server ---------------------------------------------------------------------------------------------------------------

    def write_status(self, status, version):
        if version != self.job["metadata"]["resourceVersion"]:
            raise ConflictError
        written = status.to_api()
        assert Status.model_validate(json.loads(json.dumps(written))) == status, "a status reads back as it was written"
        self._check_course(self.status, status)
        self.job["status"] = written
        self.job["metadata"]["resourceVersion"] = self._version()
        self.history.append(status)

    @staticmethod
    def _check_course(before, after):
        assert not is_finished(before), "nothing flips the end of a job"
        assert after.coordinator.attempt >= before.coordinator.attempt
        assert after.coordinator.restarts >= before.coordinator.restarts
        assert after.coordinator.disruptions >= before.coordinator.disruptions
        assert after.attempt_base >= before.attempt_base
        entries = {one.index: one for one in after.worker_indexes}
        for old in before.worker_indexes:
            new = entries[old.index]
            assert new.attempt >= old.attempt
            assert new.restarts >= old.restarts
            assert new.disruptions >= old.disruptions
        for condition in after.conditions:
            if condition.type == "Failed":
                assert condition.reason in set(EndReason)
                assert condition.message

    def create_pod(self, manifest):
        name = manifest["metadata"]["name"]
        self.assert_active()
        if name in self.pods:
            return Answer(409)
        if self.refuse_creations:
            return Answer(403, "exceeded quota")
        assert name not in self.truth.seen, f"{name}: an attempt is used once"
        if manifest["metadata"]["labels"][names.ROLE] == "coordinator" and _on_volume(manifest):
            others = [pod for pod in self.pods.values() if pod["metadata"]["labels"][names.ROLE] == "coordinator"]
            assert not [pod for pod in others if pod["metadata"]["uid"] in self.truth.alive], "two coordinators share a volume"
        place, _, attempt = name.rpartition("-")
        assert int(attempt) >= self.truth.newest.get(place, 0), f"{name}: a coordinator refuses an attempt lower than one that it knows"
        self.truth.newest[place] = int(attempt)
        pod = copy.deepcopy(manifest)
        pod["metadata"] |= {"uid": f"uid-{self._version()}", "creationTimestamp": format_time(self.now)}
        pod["status"] = {"phase": "Pending", "conditions": []}
        self.pods[name] = pod
        return Answer(201)

    def assert_active(self):
        assert not is_finished(self.status), "nothing is made after the end"
        assert not self.job["spec"].get("suspend"), "nothing is made while suspended"

    def delete_pod(self, name, uid):
        """Mark a pod for deletion; the kubelet does the rest. One that never ran is gone at once."""
        pod = self.pods.get(name)
        if pod is None or pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"]:
            return
        if pod["status"]["phase"] != "Running":
            self.remove(pod)
            return
        grace = timedelta(seconds=pod["spec"]["terminationGracePeriodSeconds"])
        pod["metadata"]["deletionTimestamp"] = format_time(self.now + grace)

    def delete_job(self, uid):
        assert uid == self.job["metadata"]["uid"]
        self.pods.clear()  # what garbage collection does

    # -- kubelets ---------------------------------------------------------------------------------------------------------------------

    def remove(self, pod):
        self.truth.alive.discard(pod["metadata"]["uid"])
        self.pods.pop(pod["metadata"]["name"], None)

    def run(self, pod):
        pod["status"] |= {"phase": "Running", "podIP": "10.0.0.1"}
        self._contain(pod, {"running": {"startedAt": format_time(self.now)}}, ready=False)
        self.truth.alive.add(pod["metadata"]["uid"])

    def get_ready(self, pod):
        pod["status"]["containerStatuses"][0]["ready"] = True

    def end(self, pod, code, message=""):
        """Let our container terminate."""
        self.truth.alive.discard(pod["metadata"]["uid"])
        started = pod["status"].get("containerStatuses", [{"state": {}}])[0]["state"].get("running", {}).get("startedAt")
        state = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message, "finishedAt": format_time(self.now)}
        self._contain(pod, {"terminated": {**state, **({"startedAt": started} if started else {})}}, ready=False)
        pod["status"]["phase"] = "Failed" if code else "Succeeded"

    def complete_deletion(self, pod):
        """Let a pod that is being deleted drain: its container ends, its object goes."""
        self.remove(pod)

    def evict(self, pod):
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": format_time(self.now),
        }
        pod["status"]["conditions"] = [target]
        pod["status"]["reason"] = "Evicted"
        if pod["status"]["phase"] == "Running":
            self.end(pod, 143)
        pod["status"]["phase"] = "Failed"

    def lose(self, pod):
        """Cut the pod's node off: marked for deletion by the taint manager, and nobody there to do it."""
        if "deletionTimestamp" not in pod["metadata"]:
            grace = timedelta(seconds=pod["spec"]["terminationGracePeriodSeconds"])
            pod["metadata"]["deletionTimestamp"] = format_time(self.now + grace)
            target = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
            pod["status"]["conditions"] = [{**target, "lastTransitionTime": format_time(self.now)}]
            pod["status"].setdefault("containerStatuses", [{"name": "", "state": {}}])[0]["ready"] = False

    @staticmethod
    def _contain(pod, state, ready):
        pod["status"]["containerStatuses"] = [{"name": pod["metadata"]["labels"][names.ROLE], "state": state, "ready": ready}]

    # -- looking ----------------------------------------------------------------------------------------------------------------------

    def is_current(self, pod):
        """Say whether a pod is of the attempt that the status calls current."""
        labels, status = pod["metadata"]["labels"], self.status
        attempt = int(labels[names.ATTEMPT])
        if labels[names.ROLE] == "coordinator":
            return attempt == status.coordinator.attempt
        index = int(labels[names.INDEX])
        return attempt == next((one.attempt for one in status.worker_indexes if one.index == index), status.attempt_base)

    def of_role(self, role):
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"][names.ROLE] == role]

    def progress(self, **said):
        attempt = self.status.coordinator.attempt
        known = {
            "run_id": "r",
            "phase": "Running",
            "round": 1,
            "rounds": 5,
            "accepted": 0,
            "required": 1,
            "registered": 1,
            "quorum_met": True,
        }
        more = {"quorum_lost_seconds": 0, "late": 0, "metrics": {}, "metrics_version": None, "recent_rounds": [], "slowest_workers": []}
        return Progress.model_validate(
            {"schema": 1, "uid": self.job["metadata"]["uid"], "attempt": attempt, "checkpoint_version": 0, **known, **more, **said}
        )


def _on_volume(manifest):
    return any(volume["name"] == "fedcore-run" and "persistentVolumeClaim" in volume for volume in manifest["spec"]["volumes"])


class Operator:
    """The I/O half in a few lines: observe, decide, write, act. What it remembers is lost when it is killed."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.refusals = {}
        self.polled = None
        self.wake_at = None
        self.stale = None
        """Pods as a watch that lags behind last told them, and what the API server answered to this operator since."""

    def lag(self):
        """Hear nothing more of pods."""
        self.stale = copy.deepcopy(self.cluster.pods)

    def _keep(self, name):
        if self.stale is not None and name in self.cluster.pods:
            self.stale[name] = copy.deepcopy(self.cluster.pods[name])

    def hear(self, progress):
        if belongs(progress, parse_job(self.cluster.job)):
            self.polled = Polled(progress, self.cluster.now)

    def pass_(self, stop_after=None, between=None):
        """Do one pass and return how many writes it took; raise `KilledError` after ``stop_after``. ``between`` runs after reading."""
        cluster = self.cluster
        raw = copy.deepcopy(cluster.job)
        pods = cluster.pods if self.stale is None else self.stale
        views = [view for pod in pods.values() if (view := view_pod(pod, raw["metadata"]["uid"]))]
        job = parse_job(raw)
        found = verdict(Answer(201)) if dry_run_due(job) and shapes(job, SETTINGS) else None
        seen = Observation(Pods.of(views), self.polled, found, tuple(self.refusals.values()))
        decision = reconcile(job, seen, SETTINGS, cluster.now)
        again = reconcile(replaced(job, status=decision.status), seen, SETTINGS, cluster.now)
        assert again.status == decision.status, "what is seen unchanged is decided alike, so nothing is written"
        assert again.events == (), "and told once"
        self.wake_at = decision.wake_at
        if between is not None:
            between()
        done = 0
        if decision.status != job.status:
            cluster.write_status(decision.status, job.resource_version)
            done = self._count(done, stop_after)
        if isinstance(job, Job):  # of an invalid one nothing is noted, as if the operator had been down
            cluster.truth.seen |= {view.name for view in views}
        for action in decision.actions:
            if self._act(action, job):
                done = self._count(done, stop_after)
        self._check(job, decision)
        return done

    @staticmethod
    def _count(done, stop_after):
        if stop_after is not None and done + 1 >= stop_after:
            raise KilledError
        return done + 1

    def _check(self, job, decision):
        waits_for_change = is_finished(decision.status) or self.cluster.job["spec"].get("suspend") or isinstance(job, InvalidJob)
        assert waits_for_change or (decision.wake_at is not None and decision.wake_at > self.cluster.now)

    def _act(self, action, job):
        """Do an action; say whether it changed anything."""
        cluster = self.cluster
        match action:
            case act.CreateJoinSecret():
                return self._store(join_secret(job, "token", b"ca"), replace=False)
            case act.CreateCertificate(attempt):
                return self._store(tls_secret(job, attempt, b"certificate", b"key"), replace=False)
            case act.CreateClaim(manifest):
                return self._store(manifest, replace=False)
            case act.Apply(manifest):
                return self._store(manifest, replace=True)
            case act.TellCoordinator(pod, uid, text):
                found = cluster.pods.get(pod)
                if found is None or found["metadata"]["uid"] != uid:
                    return False
                found["metadata"]["annotations"][names.JOB_INPUT] = text
                return True
            case act.DeletePod(pod, uid):
                before = copy.deepcopy(cluster.pods.get(pod))
                cluster.delete_pod(pod, uid)
                self._keep(pod)
                return before != cluster.pods.get(pod)
            case act.CreatePod(index, attempt, manifest):
                answer = cluster.create_pod(manifest)
                self._keep(manifest["metadata"]["name"])
                outcome = creation(answer, holder_uid=job.uid, holder_is_job=True, job_uid=job.uid)
                self.refusals.pop(index, None)
                if outcome is Created.REFUSED:
                    self.refusals[index] = Refusal(index, attempt, answer.message, cluster.now)
                return outcome in {Created.DONE, Created.REFUSED}  # the next pass says so
            case act.DeleteJob(uid):
                had = bool(cluster.pods)
                cluster.delete_job(uid)
                return had
        raise AssertionError(action)

    def _store(self, manifest, *, replace):
        key = manifest["kind"], manifest["metadata"]["name"]
        known = self.cluster.objects.get(key)
        if known == manifest or (known is not None and not replace):
            return False
        self.cluster.assert_active()
        assert [owner["uid"] for owner in manifest["metadata"]["ownerReferences"]] == [self.cluster.job["metadata"]["uid"]]
        self.cluster.objects[key] = copy.deepcopy(manifest)
        return True

    def settle(self):
        """Hear of everything and pass until nothing changes; return how many passes that took."""
        self.stale = None
        for number in range(1, 8):
            if self.pass_() == 0:
                return number
        raise AssertionError("the operator never comes to rest")
