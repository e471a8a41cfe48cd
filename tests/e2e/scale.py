"""Many jobs before an API server without nodes: ``python -m tests.e2e.scale`` prints one JSON object.

The operator is a process with the rights of its chart. Nobody runs containers: `kubelet` writes the status of each pod as if they ran, and
answers polls. Calls are counted by the API server. Everything runs on this machine, so that its cores are shared by the operator, the API
server, etcd, and the one who plays kubelet.
"""

import argparse
import asyncio
import gzip
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.apiserver import apiserver
from tests.cluster.availability import prepare_apiserver
from tests.cluster.kubernetes import Kubernetes
from tests.e2e.audit import Audit, most_creations_in_a_second, per_job
from tests.e2e.kubelet import Kubelet, kubelet
from tests.e2e.process import Operator, Site, site

SYSTEM = "fedcore-system"
CREATION_SECONDS = 1800
SECONDS = 600
_SCRAPES = 21
SETTLING_SECONDS = 10
"""After a first pass, for the watches' first lists to be worked off too: the process is then as large as it gets."""


def measure(
    jobs: int, pods: int, restarts: int, steady_seconds: int, folder: Path, *, settling_seconds: int = SETTLING_SECONDS
) -> dict[str, Any]:
    """Apply ``jobs`` jobs of ``pods`` pods, restart the operator, let them run, end them; return the figures."""
    audit = Audit(folder / "audit", SYSTEM)
    with apiserver(folder / "apiserver", audit.arguments()) as cluster:
        cluster.kubectl("create", "namespace", SYSTEM)
        with cluster.namespace() as namespace, site(cluster, folder / "operator", SYSTEM) as place:
            run = _Run(cluster, namespace, place, audit, jobs, pods, settling_seconds)
            return asyncio.run(run.whole(restarts, steady_seconds))


class _Run:
    def __init__(self, cluster: Kubernetes, namespace: str, place: Site, audit: Audit, jobs: int, pods: int, settling: int) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._place = place
        self._audit = audit
        self._jobs = jobs
        self._pods = pods
        self._settling = settling

    async def whole(self, restarts: int, steady_seconds: int) -> dict[str, Any]:
        figures: dict[str, Any] = {"jobs": self._jobs, "pods": self._jobs * self._pods, **_machine()}
        async with kubelet(self._cluster) as nodes:
            with self._place.operator("first", log_level="debug", log_format="json") as first:
                figures["applied"] = await self._applied(first, nodes)
                figures["reconcile_cpu_ms"] = _passes(first)
                _say(json.dumps(figures))
                assert first.stop() == 0, first.log()[-4000:]
            self._audit.since()
            figures["first_passes"] = [await self._restarted(f"restart-{number}") for number in range(1, restarts)]
            with self._started(f"restart-{restarts}") as (last, began):
                figures["first_passes"].append(await self._first_pass(last, began))
                _say(json.dumps(figures["first_passes"]))
                figures["steady"] = await self._steady(last, steady_seconds)
                _say(json.dumps(figures["steady"]))
                figures["ended"] = await self._ended(last, nodes)
                assert last.stop() == 0, last.log()[-4000:]
        first_passes = [one["seconds"] for one in figures["first_passes"]]
        figures["first_pass_s"] = {"median": statistics.median(first_passes), "least": min(first_passes), "most": max(first_passes)}
        return figures

    async def _applied(self, operator: Operator, nodes: Kubelet) -> dict[str, Any]:
        await asyncio.to_thread(operator.wait_ready)
        began = time.monotonic()
        items = [self._job(f"job-{number}") for number in range(self._jobs)]
        await asyncio.to_thread(self._cluster.apply, *items, namespace=self._namespace)
        applied = time.monotonic() - began
        _say(f"{self._jobs} jobs applied")
        await nodes.wait("all pods", lambda: nodes.running == self._jobs * self._pods, CREATION_SECONDS)
        created = time.monotonic() - began
        _say(f"all pods run after {created:.0f} s")
        await self._until("all jobs run", lambda phases: phases == {"Running": self._jobs})
        running = time.monotonic() - began
        calls = self._audit.since()
        refused = [call for call in calls if call.code >= 400 and not call.what.startswith(("get", "create leases"))]
        return {
            "kubectl_apply_s": round(applied, 1),
            "all_pods_s": round(created, 1),
            "all_jobs_running_s": round(running, 1),
            "calls_per_job": per_job(calls, self._jobs),
            "refused": sorted({f"{call.what}: {call.code}" for call in refused}),
            "most_creations_in_a_second": most_creations_in_a_second(calls),
            **_memory(operator),
        }

    async def _restarted(self, name: str) -> dict[str, Any]:
        with self._started(name) as (operator, began):
            found = await self._first_pass(operator, began)
            assert operator.stop() == 0, operator.log()[-4000:]
        return found

    @contextmanager
    def _started(self, name: str) -> Iterator[tuple[Operator, float]]:
        began = time.monotonic()
        with self._place.operator(name, log_format="json") as operator:
            yield operator, began

    async def _first_pass(self, operator: Operator, began: float) -> dict[str, Any]:
        """From the start of the process until each job was looked at once."""
        await asyncio.to_thread(operator.wait_until, "first pass", lambda: operator.events("first_pass_over"), SECONDS)
        seconds, spent = time.monotonic() - began, _cpu_seconds(operator)
        (said,) = operator.events("first_pass_over")
        assert said["jobs"] == self._jobs
        await asyncio.sleep(self._settling)
        calls = self._audit.since()
        _say(f"first pass {seconds:.1f} s, {said['seconds']} s of it after taking the Lease")
        return {
            "seconds": round(seconds, 2),
            "after_lease_s": said["seconds"],
            "cpu_s": round(spent, 1),
            "calls_per_job": per_job(calls, self._jobs),
            **_memory(operator),
        }

    async def _steady(self, operator: Operator, seconds: int) -> dict[str, Any]:
        self._audit.since()
        before = _cpu_seconds(operator)
        await asyncio.sleep(seconds)
        calls = self._audit.since()
        return {
            "seconds": seconds,
            "calls_per_job_and_minute": per_job(calls, self._jobs, seconds / 60),
            "cpu_share_of_a_core": round((_cpu_seconds(operator) - before) / seconds, 3),
            "scrape": await asyncio.to_thread(_scraped, operator),
            **_memory(operator),
        }

    async def _ended(self, operator: Operator, nodes: Kubelet) -> dict[str, Any]:
        began = time.monotonic()
        for job in list(nodes.jobs):
            await nodes.end(job)
        told = time.monotonic() - began
        await self._until("all jobs complete", lambda phases: phases == {"Succeeded": self._jobs})
        seconds = time.monotonic() - began
        calls = self._audit.since()
        _say(f"all complete after {seconds:.0f} s")
        figures = {"pods_ended_s": round(told, 1), "all_complete_s": round(seconds, 1), "calls_per_job": per_job(calls, self._jobs)}
        return figures | {"complete": self._jobs, **_memory(operator)}

    async def _until(self, what: str, reached: Any) -> None:
        phases: dict[str, int] = {}
        async with asyncio.timeout(SECONDS):
            while not reached(phases):
                await asyncio.sleep(1)
                column = "jsonpath={range .items[*]}{.status.phase}{'\\n'}{end}"
                said = await _in_thread(self._cluster.kubectl, "get", "fj", f"--namespace={self._namespace}", f"--output={column}")
                phases = {phase: said.split().count(phase) for phase in set(said.split())}
        _say(f"{what}: {phases}")

    def _job(self, name: str) -> dict[str, Any]:
        spec = {"rounds": 1000, "task": {"entrypoint": "my.task:make"}, "workers": {"replicas": self._pods - 1}}
        return {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": name}, "spec": spec}


async def _in_thread(call: Any, *arguments: str) -> str:
    return await asyncio.to_thread(call, *arguments, seconds=120)


def _passes(operator: Operator) -> dict[str, Any]:
    """Return what passes over a job cost without their calls: processor time, from the operator's log at level debug."""
    spent = sorted(1000 * one["cpu_s"] for one in operator.events("pass"))
    cuts = statistics.quantiles(spent, n=100)
    return {"passes": len(spent), "p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "most": round(spent[-1], 2)}


def _scraped(operator: Operator) -> dict[str, Any]:
    """Return what a scrape costs: the first one parses every job, the others find them parsed."""
    took, spent = [], _cpu_seconds(operator)
    for _ in range(_SCRAPES):
        began = time.monotonic()
        packed = operator.scraped()
        took.append(round(1000 * (time.monotonic() - began), 1))
    body = gzip.decompress(packed)
    return {
        "series": sum(not line.startswith(b"#") for line in body.splitlines()),
        "kib": round(len(body) / 1024),
        "gzip_kib": round(len(packed) / 1024),
        "first_ms": took[0],
        "median_ms": statistics.median(took[1:]),
        "cpu_ms": round(1000 * (_cpu_seconds(operator) - spent) / _SCRAPES),
    }


def _memory(operator: Operator) -> dict[str, float]:
    return {"memory_peak_mib": round(operator.memory_kib() / 1024, 1), "memory_now_mib": round(operator.memory_kib("VmRSS") / 1024, 1)}


def _cpu_seconds(operator: Operator) -> float:
    fields = Path(f"/proc/{operator.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.scale", description="The operator with many jobs, before a real API server.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--pods", type=int, default=50, help="of each job, its coordinator among them (50)")
    parser.add_argument("--restarts", type=int, default=3, help="of the operator, each with a first pass (3)")
    parser.add_argument("--steady", type=int, default=120, help="seconds to count calls while all jobs run (120)")
    parser.add_argument("--folder", type=Path, help="new folder that keeps the logs; by default they go")
    given = parser.parse_args()
    prepare_apiserver()
    with tempfile.TemporaryDirectory(prefix="fedcore-scale-") as folder:
        print(json.dumps(measure(given.jobs, given.pods, given.restarts, given.steady, given.folder or Path(folder))))


if __name__ == "__main__":
    main()
