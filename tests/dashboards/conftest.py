"""Real runs under a real Prometheus, which all that ask it share."""

import time

import pytest

from support.eventful import JOB, LIMIT_SECONDS, NAME, run_eventfully
from support.prometheus import serve
from support.rules import RULES
from support.runs import Runs
from support.watched import Watched, free_port, target

BRIEF = "brief"
RARELY_SECONDS = 5


def wait_for_the_end(prometheus, job):
    """Wait until Prometheus has put away what it was told last: the run's process does not wait for that."""
    ended = f'last_over_time(fedcore_run_end_timestamp_seconds{{federatedjob="{job}"}}[10m]) > 0'
    prometheus.wait_for(f"the end of {job}", lambda server: server.query(ended))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A Prometheus with the rules that scrapes two ports, the second one rarely: the server, and the ports."""
    often, rarely = free_port(), free_port()
    jobs = [
        {"job_name": "often", "static_configs": [target(often)]},
        {"job_name": "rarely", "scrape_interval": f"{RARELY_SECONDS}s", "static_configs": [target(rarely)]},
    ]
    with serve(tmp_path_factory.mktemp("prometheus"), jobs, [RULES]) as prometheus:
        yield prometheus, often, rarely


@pytest.fixture(scope="session")
def brief_start(server, tmp_path_factory):
    """A job that is scraped rarely, so that it ends between two scrapes. It mostly waits, so it runs beside the other."""
    runs = Runs(tmp_path_factory.mktemp("brief"), job={**JOB, "metadata": {"name": BRIEF}})
    start = time.time()
    changes = {"spec.rounds": 6, "spec.workers.replicas": 2, "spec.quorum.percent": 100}
    yield runs, runs.start(changes, "--metrics-port", str(server[2]), "--slow", "worker-0=40"), start
    runs.kill()


@pytest.fixture(scope="session")
def watched(server, brief_start, tmp_path_factory):
    """The eventful run, seen to its end."""
    prometheus, port, _ = server
    start = time.time()
    run = run_eventfully(tmp_path_factory.mktemp("eventful"), port)
    assert run.exit_code == 0, run.stderr
    wait_for_the_end(prometheus, NAME)
    return Watched(prometheus, run, NAME, start, time.time())


@pytest.fixture(scope="session")
def brief(server, brief_start):
    """The brief job, seen to its end."""
    runs, process, start = brief_start
    run = runs.finish(process, LIMIT_SECONDS)
    assert run.exit_code == 0, run.stderr
    wait_for_the_end(server[0], BRIEF)
    return Watched(server[0], run, BRIEF, start, time.time())
