"""Prometheus in the cluster, through the network policies, with the relabelling of the chart's monitors as a real API server keeps them:
every query of all boards has data of a real job, and the operator says what the status says.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedcore.spec import Status
from support.asking import ask
from support.prometheus import Prometheus
from tests.cluster import fixtures, modules
from tests.cluster.commands import wait_until
from tests.cluster.errors import Unavailable
from tests.dashboards.drawing import draw
from tests.dashboards.queries import Source, queries, shipped, values
from tests.e2e.conftest import CHART
from tests.e2e.jobs import apply_job, apply_slow_job
from tests.e2e.nodes import kill_container
from tests.e2e.scraping import prometheus as scraping

pytestmark = pytest.mark.e2e

MONITORING = "monitoring"
"""The namespace that may scrape by default."""
KINDS = ("podmonitor", "servicemonitor", "prometheusrule")
INTERVAL_SECONDS = 2
FAULTY = {
    "task": {"entrypoint": "uneven_task:task", "parameters": {"images": "1000", "seconds": "0.3", "slow": "2.5", "spoilt": "5"}},
    "quorum": {"percent": 50, "graceSeconds": 1},
    "workers": {"replicas": 4, "maxRestartsPerWorker": 1},
    "failurePolicy": {"restartBackoffSeconds": 1},
    "rounds": 30,
}
"""The last worker is too slow for every round, the first one sends something that is no number; another one is killed until it is given up,
and a client takes its place, which is late for sure: a worker is told at once that its round is over.
"""
STRANGE = """
import os, ssl, urllib.error, urllib.request
asked = urllib.request.Request(os.environ["FEDCORE_COORDINATOR"] + "/v1/weights/0", headers={"Authorization": "Bearer guessed"})
try:
    urllib.request.urlopen(asked, timeout=10, context=ssl._create_unverified_context())
except urllib.error.HTTPError as refused:
    print(refused.code)
"""
LATE = """
import json, os, ssl, urllib.request, xmlrpc.client
url, trusted = os.environ["FEDCORE_COORDINATOR"], ssl.create_default_context(cafile=os.environ["FEDCORE_CA_FILE"])
fedcore = xmlrpc.client.ServerProxy(url + "/RPC2", context=trusted).fedcore
hello = {"protocol": "1", "name": "worker-1", "index": 1, "attempt": 3, "instance": "late", "samples": 100, "client": "test"}
session = fedcore.register({**hello, "tasks": ["train"], "token": open(os.environ["FEDCORE_TOKEN_FILE"]).read().strip()})["session"]

def transfer(path, body=None, **headers):
    headers["Authorization"] = "Bearer " + session
    asked = urllib.request.Request(url + path, body, headers, method="PUT" if body else "GET")
    return urllib.request.urlopen(asked, timeout=30, context=trusted).read()

while (task := fedcore.next_task(session, 5.0))["kind"] != "train":
    pass
number, base = task["round"], task["base"]
weights = transfer(base["href"])
upload = json.loads(transfer(f"/v1/uploads/{number}", weights, **{"Fedcore-Base": base["id"]}))["upload"]
while not fedcore.heartbeat(session, number, 0.5, 5.0)["superseded"]:
    pass
report = {"base": base["id"], "samples": 100, "metrics": {}, "upload": upload, "seconds": 0.5}
print(fedcore.submit(session, number, report)["result"])
fedcore.leave(session, "done")
"""
BRIEF = {"rounds": 1, "workers": {"replicas": 2}, "task": {"entrypoint": "fedcore.tasks.mnist:numpy_task", "parameters": {"images": "400"}}}


@pytest.fixture(scope="module")
def scraped(local_cluster, operator, prometheus_image, numpy_worker_image):
    """A Prometheus, and the release as it is where the Prometheus operator is installed."""
    cluster = local_cluster
    try:
        files = modules.PROMETHEUS_OPERATOR.files("example/prometheus-operator-crd")
    except Unavailable as reason:
        fixtures._do_without(reason)
    crds = "\n---\n".join(files[f"monitoring.coreos.com_{kind}s.yaml"] for kind in KINDS)
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=crds)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{kind}s.monitoring.coreos.com" for kind in KINDS))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MONITORING, "labels": labels}})
    release = ("fedcore", f"--namespace={operator.namespace}")
    changes = ("--reset-then-reuse-values", f"--set=monitoring.interval={INTERVAL_SECONDS}s")
    cluster.helm("upgrade", release[0], CHART, *release[1:], "--wait", "--timeout=180s", *changes)
    try:
        operator.wait_leads()
        pods, services, rules = (cluster.get(kind, f"--namespace={operator.namespace}")["items"] for kind in KINDS)
        wait_until("an account for Prometheus", lambda: "default" in cluster.kubectl("get", "serviceaccounts", f"--namespace={MONITORING}"))
        images = prometheus_image, numpy_worker_image
        with scraping(cluster, MONITORING, images, [*pods, *services], *rules) as found:
            # What happens before the first scrape raises no rate.
            found.wait_for("the operator", lambda server: server.value("fedcore_operator_leader") == 1)
            yield found
    finally:
        cluster.kubectl("delete", "namespace", MONITORING, "--wait=false")
        cluster.helm("rollback", *release, "1", "--wait", "--timeout=180s")
        cluster.kubectl("delete", "crd", *(f"{kind}s.monitoring.coreos.com" for kind in KINDS))
        operator.wait_leads()


def is_ready(cluster, namespace, pod):
    found = [one for one in cluster.get("pods", f"--namespace={namespace}")["items"] if one["metadata"]["name"] == pod]
    return any(container["ready"] for one in found for container in one["status"].get("containerStatuses", ()))


@dataclass(frozen=True, eq=False)
class Seen:
    """Two jobs that have ended, and what Prometheus has seen of them, from before their start until after their end."""

    prometheus: Prometheus
    namespace: str
    status: Status
    """Of the faulty job."""
    brief: Status
    events: int
    start: float
    end: float

    @property
    def span(self):
        return f"{int(self.end - self.start) + 1}s"

    def last(self, metric, *labels, job="faulty"):
        """Last values of a metric of a job, by those of some labels."""
        selector = f'{metric}{{namespace="{self.namespace}", federatedjob="{job}"}}'
        found = self.prometheus.query(f"max by ({', '.join(labels)}) (last_over_time({selector}[{self.span}]))", self.end)
        return {tuple(sample[label] for label in labels): value for sample, value in found}


@pytest.fixture(scope="module")
def seen(local_cluster, operator, scraped):
    with local_cluster.namespace() as namespace:
        start = time.time()
        job = apply_slow_job(local_cluster, namespace, "faulty", FAULTY)
        brief = apply_job(local_cluster, namespace, "brief", BRIEF)
        job.wait_asked(3)
        kill_container(local_cluster, namespace, "faulty-worker-1-1")
        inside = ("exec", f"--namespace={namespace}", "faulty-worker-2-1", "--", "python", "-c")
        assert local_cluster.kubectl(*inside, STRANGE).strip() == "401"
        wait_until("the second attempt has registered", lambda: is_ready(local_cluster, namespace, "faulty-worker-1-2"))
        kill_container(local_cluster, namespace, "faulty-worker-1-2")
        job.wait("a worker given up", lambda status: any(one.gave_up for one in status.worker_indexes))
        assert local_cluster.kubectl(*inside, LATE).strip() == "stale"
        assert brief.wait_end() == "Completed", operator.log()
        assert job.wait_end() == "Completed", operator.log()
        ended = f'sum(fedcore_operator_job_finished{{namespace="{namespace}", reason="Completed"}})'
        scraped.wait_for("both ends", lambda server: server.value(ended) == 2)
        events = sum(one["regarding"]["kind"] == "FederatedJob" for one in job.get("events.v1.events.k8s.io")["items"])
        scraped.wait_for("all events", lambda server: server.value("sum(fedcore_operator_events_total)") >= events)
        yield Seen(scraped, namespace, job.status(), brief.status(), events, start, time.time())


def test_every_query_of_all_boards_has_data(seen):
    span = int(seen.end - seen.start) + 1
    filled = values(namespace=seen.namespace, federatedjob="faulty", window="30s", span_seconds=span, step_seconds=INTERVAL_SECONDS)
    asked = {query: ask(seen.prometheus, query, seen.start, seen.end) for board in shipped().values() for query in queries(board, filled)}
    assert {str(query): answer.problem for query, answer in asked.items() if answer.problem} == {}
    assert {query.source for query in asked} == set(Source)
    assert {query.board for query in asked} == {"fedcore-overview", "fedcore-run", "fedcore-workers"}


def test_the_operator_says_what_the_status_says(seen):
    status = seen.status
    assert status.workers.restarts == 1
    assert seen.last("fedcore_operator_job_restarts_total", "role") == {
        ("worker",): status.workers.restarts,
        ("coordinator",): status.coordinator.restarts,
    }
    assert seen.last("fedcore_operator_job_disruptions_total", "role") == {
        ("worker",): status.workers.disruptions,
        ("coordinator",): status.coordinator.disruptions,
    }
    assert seen.last("fedcore_operator_job_current_round") == {(): status.progress.round} == {(): FAULTY["rounds"]}
    assert seen.last("fedcore_operator_job_accuracy_ratio") == {(): float(status.progress.accuracy)}
    assert seen.last("fedcore_operator_job_required_workers") == {(): status.quorum.required}
    assert seen.last("fedcore_operator_job_start_timestamp_seconds") == {(): status.start_time.timestamp()}
    assert seen.last("fedcore_operator_job_completion_timestamp_seconds") == {(): status.completion_time.timestamp()}
    assert seen.last("fedcore_operator_job_finished", "reason") == {("Completed",): 1}


def test_the_operator_counts_what_it_has_done(seen):
    def total(metric, **labels):
        selector = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        return seen.prometheus.value(f"sum({metric}{{{selector}}})", seen.end)

    assert total("fedcore_operator_jobs_finished_total", result="succeeded", reason="Completed") == 2
    assert total("fedcore_operator_jobs_finished_total", result="failed") == 0
    took = (seen.status.completion_time - seen.status.start_time).total_seconds()
    took += (seen.brief.completion_time - seen.brief.start_time).total_seconds()
    assert total("fedcore_operator_job_duration_seconds_sum", result="succeeded") == took
    assert total("fedcore_operator_events_total") == seen.events
    assert total("fedcore_operator_progress_polls_total", result="ok") > 5
    assert total("fedcore_operator_leader") == 1
    assert total("fedcore_operator_missed_events_total") == 0


def test_the_coordinator_and_the_status_tell_of_the_same_faults(seen):
    registrations = seen.last("fedcore_worker_registrations_total", "kind")
    assert (registrations["new",], registrations["restart",]) == (4, seen.status.workers.restarts + 1), "the client came as a third attempt"
    assert seen.last("fedcore_stragglers_total")[()] > 0
    assert seen.last("fedcore_updates_total", "result")["stale",] >= 1
    rejected, refused = seen.last("fedcore_updates_rejected_total", "reason"), seen.last("fedcore_requests_refused_total", "reason")
    assert {reason for (reason,), value in rejected.items() if value} == {"non_finite"}
    assert refused["unauthorized",] >= 1
    assert sum(seen.last("fedcore_rounds_total", "outcome").values()) == FAULTY["rounds"]
    assert seen.last("fedcore_eval_accuracy_ratio") == {(): pytest.approx(float(seen.status.progress.accuracy), abs=1e-4)}


@pytest.mark.parametrize("job", ["faulty", "brief"])
def test_an_end_between_two_scrapes_is_seen(seen, job):
    """The coordinator has waited to tell it; the operator tells it as long as the job exists."""
    assert {phase for phase, value in seen.last("fedcore_phase", "phase", job=job).items() if value} == {("Succeeded",)}
    accuracy = (seen.brief if job == "brief" else seen.status).progress.accuracy
    assert seen.last("fedcore_eval_accuracy_ratio", job=job) == {(): pytest.approx(float(accuracy), abs=1e-4)}
    assert seen.last("fedcore_operator_job_accuracy_ratio", job=job) == {(): float(accuracy)}


def test_every_target_is_reached_and_labelled_as_its_pod(seen):
    reached = seen.prometheus.query(f"max by (job) (max_over_time(up[{seen.span}]))", seen.end)
    assert {labels["job"].rpartition("/")[2]: up for labels, up in reached} == {"fedcore-operator": 1, "fedcore-coordinators": 1}
    info = f'last_over_time(fedcore_build_info{{component="coordinator", namespace="{seen.namespace}"}}[{seen.span}])'
    labels = {sample["federatedjob"]: sample for sample, _ in seen.prometheus.query(info, seen.end)}
    assert {job: sample["pod"] for job, sample in labels.items()} == {"faulty": "faulty-coordinator-1", "brief": "brief-coordinator-1"}
    assert seen.prometheus.query(f'count(last_over_time({{exported_federatedjob!=""}}[{seen.span}]))', seen.end) == []
    assert seen.prometheus.query(f'last_over_time(fedcore_operator_job_info{{exported_namespace!=""}}[{seen.span}])', seen.end) == []


def test_every_rule_is_evaluated(seen):
    rules = [rule for group in seen.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
    assert len(rules) > 10


@pytest.mark.timeout(300)
def test_every_panel_of_the_overview_is_drawn_with_data(seen, tmp_path):
    picture = Path(os.environ.get("FEDCORE_PICTURES", tmp_path)) / "fedcore-overview-dark.png"
    span = int(seen.end - seen.start) + 1
    drawn = draw("fedcore-overview", seen.prometheus.url, picture, span_seconds=span, end=seen.end, window="30s")
    assert drawn.complete, drawn
    assert picture.stat().st_size > 0
