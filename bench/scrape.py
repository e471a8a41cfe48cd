"""What a scrape of the coordinator costs: ``python -m bench scrape --workers 1000``.

Simulated workers (`bench.simulated`), a model of 0.1 MB, quorum 100 %: scraped while rounds run, as Prometheus would, and once more with
the workers standing still, where nothing else competes for the processor. For each policy of ``spec.metrics.perWorker`` a job of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from bench.figures import machine, spread, tell
from bench.job import echo_job, start_coordinator
from bench.simulated import simulated_workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.job import Coordinator

__all__ = ["measure_scrape"]

ROUNDS = 1000
"""More than are awaited: the job is broken off."""
AWAITED_ROUND = 3
"""By then every worker has series of every kind."""


def scrape(url: str, *, packed: bool) -> tuple[float, bytes]:
    """Return seconds and body of one scrape on a connection of its own."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"} if packed else {})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read()
    return time.perf_counter() - began, body


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def settle(coordinator: Coordinator) -> None:
    """Wait until the coordinator has nothing left to do."""
    for _ in range(200):
        before = coordinator.cpu_seconds()
        time.sleep(0.3)
        if coordinator.cpu_seconds() - before <= 0.02:
            return
    raise SystemExit("the coordinator does not come to rest")


def scrape_job(workers: int, policy: str, repeats: int) -> dict[str, Any]:
    """Scrape one job in its third round and later."""
    job = echo_job(workers, 0.1, ROUNDS) + f"  metrics: {{perWorker: {policy}, lingerSeconds: 0}}\n"
    with start_coordinator(job) as coordinator, contextlib.ExitStack() as stack:
        pid = stack.enter_context(simulated_workers(coordinator, workers, 0.1))
        coordinator.wait_for("round_opened", 600, round=AWAITED_ROUND)
        url = coordinator.named("listening")[0]["metrics"] + "/metrics"
        busy = [scrape(url, packed=True)[0] for _ in range(repeats)]
        with standing_still(pid):
            settle(coordinator)
            plain = [scrape(url, packed=False) for _ in range(repeats)]
            packed = [scrape(url, packed=True) for _ in range(repeats)]
        coordinator.process.terminate()
        coordinator.process.wait(60)
    body = plain[-1][1]
    return {
        "policy": policy,
        "series": sum(1 for line in body.splitlines() if not line.startswith(b"#")),
        "bytes": len(body),
        "gzip_bytes": len(packed[-1][1]),
        **spread("plain_ms", [1000 * seconds for seconds, _ in plain], 1),
        **spread("gzip_ms", [1000 * seconds for seconds, _ in packed], 1),
        **spread("busy_ms", [1000 * seconds for seconds in busy], 1),
    }


def measure_scrape(workers: int, policies: Sequence[str], *, repeats: int) -> dict[str, Any]:
    """Scrape a job of each policy, and return the figures."""
    rows = []
    for policy in policies:
        rows.append(scrape_job(workers, policy, repeats))
        row = rows[-1]
        tell(
            f"scrape {workers} {policy}: {row['plain_ms']} ms plain, {row['gzip_ms']} ms gzip, {row['busy_ms']} ms while rounds run; "
            f"{row['series']} series, {row['bytes']} bytes, {row['gzip_bytes']} packed"
        )
    return {"bench": "scrape", "workers": workers, "repeats": repeats, "rows": rows, **machine()}
