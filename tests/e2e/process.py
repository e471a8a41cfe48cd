"""The operator as a process of this machine, with the rights that the chart gives it and no others."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fedcore.certificates import authority
from tests.cluster.commands import wait_until
from tests.cluster.kubernetes import Kubernetes, Manifest
from tests.cluster.places import REPOSITORY

CHART = REPOSITORY / "charts/fedcore"
RELEASE = "fedcore"
READY_SECONDS = 180


@dataclass(frozen=True)
class Site:
    """A namespace with a release of the chart whose Deployment has no pod: account, roles and CRD, and what a process needs to use them."""

    cluster: Kubernetes
    namespace: str
    folder: Path

    @contextmanager
    def operator(self, name: str, **settings: str) -> Iterator["Operator"]:
        """Run ``python -m fedcore_operator run``; it is killed if it has not ended by itself.

        Parameters
        ----------
        name : str
            Name of its log, and of the pod that it believes to be.
        settings : str
            ``log_level`` is ``FEDCORE_LOG_LEVEL``, and so on.
        """
        health, metrics = _free_ports(2)
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and "FEDCORE" not in name}
        given = {
            "operator_namespace": self.namespace,
            "operator_pod": name,
            "coordinator_image": "coordinator:1",
            "worker_image": "worker:1",
            "ca_dir": str(self.folder / "ca"),
            "health_port": str(health),
            "metrics_port": str(metrics),
            **settings,
        }
        environment |= {f"FEDCORE_{field.upper()}": value for field, value in given.items()}
        environment |= {"KUBECONFIG": str(self.folder / "kubeconfig"), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'operator'}"}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
        log_file = self.folder / f"{name}.log"
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fedcore_operator", "run"], env=environment, cwd="/", stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield Operator(process, log_file, health, metrics)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=180)


@dataclass(frozen=True)
class Operator:
    """One process."""

    process: "subprocess.Popen[bytes]"
    log_file: Path
    health_port: int
    metrics_port: int

    def asked(self, path: str) -> tuple[int, str]:
        """Status and text of ``/readyz``, ``/metrics`` or ``/healthz``; 0 while it does not listen."""
        port = self.health_port if path == "/healthz" else self.metrics_port
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode().strip()
        except OSError:
            return 0, ""

    def scraped(self) -> bytes:
        """Answer to a scrape, packed, as Prometheus asks for it."""
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3", "Accept-Encoding": "gzip"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.metrics_port}/metrics", headers=accept)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def log(self) -> str:
        """What it wrote."""
        return self.log_file.read_text("utf-8")

    def events(self, event: str) -> list[Manifest]:
        """Lines of an event, where the format is JSON."""
        return [found for line in self.log().splitlines() if (found := json.loads(line))["event"] == event]

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until it leads and has looked at every job."""
        self.wait_until("operator ready", lambda: self.asked("/readyz") == (200, "leader"), seconds=seconds)

    def wait_until(self, what: str, condition: Callable[[], object], seconds: float = READY_SECONDS) -> None:
        """Wait while it lives."""

        def holds() -> bool:
            assert self.process.poll() is None, self.log()[-4000:]
            return bool(condition())

        wait_until(what, holds, seconds=seconds, log=self.log_file)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def memory_kib(self, field: str = "VmHWM") -> int:
        """Its memory: ``VmHWM``, the most so far, or ``VmRSS``, now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(next(line for line in status.splitlines() if line.startswith(f"{field}:")).split()[1])


@contextmanager
def site(cluster: Kubernetes, folder: Path, namespace: str) -> Iterator[Site]:
    """Install the chart without a pod into a namespace that is there."""
    cluster.helm("install", RELEASE, CHART, f"--namespace={namespace}", "--take-ownership", "--set=replicas=0")
    try:
        _credentials(folder / "ca")
        _kubeconfig(cluster, namespace, folder / "kubeconfig")
        yield Site(cluster, namespace, folder)
    finally:
        cluster.helm("uninstall", RELEASE, f"--namespace={namespace}")


def _credentials(folder: Path) -> None:
    """Write what the mounted Secret would hold; without it, only the first process of all would start."""
    pair = authority("test", now=datetime.now(UTC), valid=timedelta(days=30))
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(pair.certificate)
    (folder / "ca.key").write_bytes(pair.key)
    (folder / "token.key").write_text("0" * 64)


def _kubeconfig(cluster: Kubernetes, namespace: str, path: Path) -> None:
    """Write a kubeconfig with the service account's token in place of the administrator's certificate."""
    config = json.loads(cluster.kubeconfig.read_text("utf-8"))
    token = cluster.kubectl("create", "token", RELEASE, f"--namespace={namespace}", "--duration=2h").strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path.touch(mode=0o600)
    path.write_text(json.dumps(config), "utf-8")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in sockets]
