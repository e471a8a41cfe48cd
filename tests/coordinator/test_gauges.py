"""What gauges say of a job at one moment."""

from __future__ import annotations

import asyncio
import json
from itertools import count

import pytest

from fedcore.coordinator import metrics as m
from fedcore.coordinator.ending import Ending
from fedcore.coordinator.exposition import Exposition
from fedcore.coordinator.gauges import job_series, read_workers
from fedcore.coordinator.history import History
from fedcore.coordinator.journal import Journal
from fedcore.coordinator.linger import Scrapes
from fedcore.coordinator.meter import Meter
from fedcore.coordinator.perworker import KEPT_SECONDS
from fedcore.coordinator.service import Service
from fedcore.coordinator.spool import Spool
from fedcore.coordinator.versions import Versions
from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.engine import Engine
from fedcore.engine.reasons import EXIT_CODE, EndReason
from fedcore.report.rundir import EVENTS, SUMMARY, read_events
from fedcore.spec import Spec
from fedcore.wire.protocol import Hello, TaskKind
from support.scraped import Scrape

HEARTBEATS = 15.0
"""Three of them: who is silent for longer is lost."""


def spec(replicas=3, **parts):
    return Spec.model_validate({"rounds": 2, "task": {"entrypoint": "a:b"}, "workers": {"replicas": replicas}, **parts})


class Job:
    """An engine with workers that only register, and the workers' series of it."""

    def __init__(self, **parts):
        self.engine = Engine(spec(**parts), "run", 0.0)
        self._tickets = count(1)

    def register(self, index, now, samples=100, name=None, attempt=1):
        name = name or f"worker-{index}"
        instance = f"{name}.{attempt}"
        kinds = frozenset({TaskKind.TRAIN, TaskKind.INIT})
        hello = Hello(protocol="1", name=name, index=index, attempt=attempt, instance=instance, samples=samples, tasks=kinds)
        self.engine.handle(ev.Registered(next(self._tickets), hello, instance), now)

    def tick(self, now):
        self.engine.handle(ev.Tick(), now)

    def read(self, now):
        readings, counts = read_workers(self.engine, History(), now, 1000.0 + now)
        return {reading.name: reading for reading in readings}, {labels[0]: value for _, labels, value in counts}


def test_worker_has_series_from_its_registration_until_ten_minutes_after_its_loss():
    job = Job()
    job.register(0, now=0.0)
    readings, counts = job.read(now=1.0)
    assert (readings["worker-0"].live, readings["worker-0"].last_seen, counts) == (True, 1000.0, {"training": 0, "idle": 1, "lost": 0})
    job.tick(HEARTBEATS)
    readings, counts = job.read(now=HEARTBEATS + KEPT_SECONDS - 1)
    assert (readings["worker-0"].live, counts) == (False, {"training": 0, "idle": 0, "lost": 1})
    readings, counts = job.read(now=HEARTBEATS + KEPT_SECONDS)
    assert (readings, counts["lost"]) == ({}, 1)


def test_worker_that_leaves_or_is_scaled_away_has_no_series():
    job = Job()
    for index in range(3):
        job.register(index, now=0.0)
    job.engine.handle(ev.Left("worker-0.1", 99, "done"), 1.0)
    job.engine.handle(ev.SpecChanged(spec(replicas=2)), 1.0)
    assert set(job.read(now=1.0)[0]) == {"worker-1"}


def test_worker_that_still_loads_its_data_is_in_no_state():
    job = Job()
    job.register(0, now=0.0, samples=0)
    assert job.read(now=1.0) == ({}, {"training": 0, "idle": 0, "lost": 0})


def test_name_that_a_lost_worker_had_speaks_of_the_one_that_lives():
    job = Job()
    job.register(0, now=0.0, name="site")
    job.tick(HEARTBEATS)
    job.register(1, now=HEARTBEATS, name="site")
    readings, counts = job.read(now=HEARTBEATS)
    assert (readings["site"].live, counts) == (True, {"training": 0, "idle": 1, "lost": 1})


def test_metrics_of_a_task_have_series_if_their_names_are_few_and_plain():
    job = Job()
    job.engine.metrics_version = 1
    job.engine.metrics = {"accuracy": 0.5, "x" * 65: 1.0, "a\nb": 1.0, "\0": 1.0, **{f"own {number:02}": 1.0 for number in range(20)}}
    seen = [labels[0] for metric, labels, _ in job_series(job.engine, History(), resumes=0) if metric is m.EVAL_METRIC]
    assert seen == [f"own {number:02}" for number in range(16)]


# -- the word of the end ------------------------------------------------------------------------------------------------------------------


def end_by(service, reason):
    """Let a job end by this reason, as the world would have it."""
    match reason:
        case EndReason.COMPLETED:
            service.engine.version = service.engine.spec.rounds  # all rounds are done, and nobody is there to measure
            service.start(None, None)
        case EndReason.CHECKPOINT_FAILED:
            service.handle(ev.WriteFailed("no space left on device"))
        case EndReason.INTERNAL_ERROR:
            service._run([ef.Merge("no such upload", "w", 1)])
        case _:
            service.handle(ev.EndAsked(reason, "so it was wanted"))


@pytest.fixture
def ended(tmp_path):
    """Return exit code, exposition, summary and last event of a job that was ended."""

    def run(reason):
        async def whole():
            journal = Journal(tmp_path)
            meter = Meter()
            journal.watcher = meter.take
            engine = Engine(spec(), "run", asyncio.get_running_loop().time())
            parts = Versions(tmp_path / "versions", 3), journal, Spool(tmp_path / "spool"), Ending(tmp_path, journal, None)
            service = Service(engine, *parts, meter, Scrapes())
            try:
                end_by(service, reason)
                code = await asyncio.wait_for(service.done, 10)
                page = await Exposition(service, "demo", tls=False).page({})
            finally:
                service.stop()
            return code, Scrape(page.body.decode())

        code, seen = asyncio.run(whole())
        return code, seen, json.loads((tmp_path / SUMMARY).read_text()), list(read_events(tmp_path / EVENTS))[-1]

    return run


COORDINATORS = [reason for reason in EndReason if reason not in {EndReason.COORDINATOR_FAILED, EndReason.INTERRUPTED}]
"""Words of a coordinator; the other two are its supervisor's."""


@pytest.mark.parametrize("reason", COORDINATORS)
def test_end_has_the_same_word_in_metric_summary_and_log_and_the_code_that_goes_with_it(ended, reason):
    code, seen, summary, last = ended(reason)
    assert seen.one("fedcore_finished", "reason") == reason == summary["reason"] == last["reason"]
    assert code == EXIT_CODE[reason] == summary["exit_code"] == last["exit_code"]
    assert seen.one("fedcore_phase", "phase") == summary["phase"]
    assert seen.value("fedcore_run_end_timestamp_seconds") > 0
