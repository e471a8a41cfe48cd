"""A scrape of the operator: what a leader says, what a follower leaves out, and that counters do not fall."""

import asyncio
import gzip
import subprocess

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from fedcore.metrics import Kind
from fedcore_operator.runtime import metrics
from fedcore_operator.runtime.cache import Cache, Key
from fedcore_operator.runtime.exposition import StateCollector, scraped
from fedcore_operator.runtime.meters import Meters
from fedcore_operator.runtime.queue import Queue
from support.cluster_model import Cluster
from support.prometheus import program

OPEN = "application/openmetrics-text; version=1.0.0"


class Operator:
    """The parts that are scraped, with a clock of the test's own."""

    def __init__(self):
        self.now, self.leads = 1000.0, True
        self.registry = CollectorRegistry()
        self.meters = Meters(self.registry)
        self.cache = Cache(lambda: self.now)
        self.queue = Queue(lambda: self.now, self.meters.waited)
        self.registry.register(StateCollector(self.cache, self.queue, lambda: self.leads))

    def value(self, metric, **labels):
        return self.registry.get_sample_value(metric.name, labels)

    def series(self):
        return {sample.name for family in self.registry.collect() for sample in family.samples}


@pytest.fixture
def operator():
    operator = Operator()
    operator.cache.hear_job("ADDED", stored("mnist"))
    return operator


def stored(name, version="1", **changes):
    raw = Cluster({"rounds": 2, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 2}}).job
    raw["metadata"] |= {"name": name, "uid": f"uid-{name}", "resourceVersion": version}
    return raw | changes


def scrape(registry, **headers):
    """Return body and type of an answer, as they came over the wire."""

    async def ask():
        app = web.Application()
        app.router.add_get("/metrics", scraped(registry))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            port = site._server.sockets[0].getsockname()[1]
            async with (
                aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept", "Accept-Encoding"]) as session,
                session.get(f"http://127.0.0.1:{port}/metrics", headers={key.replace("_", "-"): v for key, v in headers.items()}) as said,
            ):
                return await said.read(), said.headers
        finally:
            await runner.cleanup()

    return asyncio.run(ask())


def test_every_metric_of_the_catalogue_is_exposed_as_it_is_declared(operator):
    families = {family.name: family for family in operator.registry.collect()}
    for metric in metrics.CATALOGUE:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (str(metric.kind), metric.help)
        ours = set(metric.label_names) | ({"le"} if metric.kind is Kind.HISTOGRAM else set())
        assert all(set(sample.labels) <= ours for sample in family.samples)


def test_it_says_it_in_the_format_and_packing_that_is_asked_for(operator):
    plain, headers = scrape(operator.registry)
    assert headers["Content-Type"].startswith("text/plain")
    assert any(family.name == "fedcore_operator_job_phase" for family in parse_plain(plain.decode()))
    packed, headers = scrape(operator.registry, Accept=OPEN, Accept_Encoding="gzip")
    assert (headers["Content-Type"].split(";")[0], headers["Content-Encoding"]) == ("application/openmetrics-text", "gzip")
    assert any(family.name == "fedcore_operator_job_phase" for family in parse_open(gzip.decompress(packed).decode()))


def test_promtool_finds_nothing(operator):
    body, _ = scrape(operator.registry)
    done = subprocess.run([program("promtool"), "check", "metrics"], input=body, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_only_a_leader_speaks_of_jobs(operator):
    leading = operator.series()
    operator.leads = False
    following = operator.series()
    assert operator.value(metrics.LEADER) == 0
    of_jobs = {metric.name for metric in (metrics.JOBS, *metrics.PER_JOB)}
    assert leading - following == of_jobs - {metrics.JOB_FINISHED.name, metrics.JOB_ACCURACY.name, metrics.JOB_LOSS.name}


def test_a_jobs_series_go_with_it_and_follow_its_status(operator):
    job = {"namespace": "ns", "federatedjob": "mnist"}
    assert operator.value(metrics.JOB_RESTARTS, **job, role="worker") == 0
    operator.cache.hear_job("MODIFIED", stored("mnist", "2", status={"workers": {"restarts": 3}}))
    assert operator.value(metrics.JOB_RESTARTS, **job, role="worker") == 3
    operator.cache.hear_job("DELETED", stored("mnist", "3"))
    assert operator.value(metrics.JOB_RESTARTS, **job, role="worker") is None
    assert operator.value(metrics.JOBS, namespace="ns", phase="Pending") is None


def test_a_job_of_another_controller_is_not_ours_to_show(operator):
    foreign = stored("foreign")
    foreign["spec"] = {**foreign["spec"], "managedBy": "somebody.else/here"}
    operator.cache.hear_job("ADDED", foreign)
    assert operator.value(metrics.JOBS, namespace="ns", phase="Pending") == 1
    assert operator.value(metrics.JOB_TARGET_ROUNDS, namespace="ns", federatedjob="foreign") is None


def test_the_depth_is_what_is_due(operator):
    for name, delay in (("a", 0.0), ("b", -3.0), ("c", 60.0)):
        operator.queue.add(Key("ns", name), delay)
    assert operator.value(metrics.QUEUE_DEPTH) == 2


def test_a_missed_event_counts_once_and_for_good(operator):
    key = Key("ns", "mnist")
    operator.cache.prime(key, stored("mnist"), ())
    operator.cache.prime(key, stored("mnist", "9"), ())
    assert operator.value(metrics.MISSED_EVENTS, resource="federatedjobs") == 0
    operator.now += 121
    assert [operator.value(metrics.MISSED_EVENTS, resource="federatedjobs") for _ in range(2)] == [1, 1]
    operator.cache.hear_job("MODIFIED", stored("mnist", "9"))
    assert operator.cache.missed() == 0, "it has come, late"
    assert operator.value(metrics.MISSED_EVENTS, resource="federatedjobs") == 1
    assert operator.value(metrics.MISSED_EVENTS, resource="pods") == 0
