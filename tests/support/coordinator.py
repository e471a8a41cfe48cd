"""A real coordinator process, and workers that are lines of a test: the wire's own messages over stock clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import ssl

FEDCORE = str(Path(sys.executable).with_name("fedcore"))
TOKEN = "a token for this test"
JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: hostile}
spec:
  rounds: 2
  task: {entrypoint: "nobody:imports_it"}
  quorum: {percent: 100, roundTimeoutSeconds: 100}
  workers: {replicas: 2}
"""


@dataclass
class Coordinator:
    process: subprocess.Popen
    run_dir: Path
    port: int
    metrics_port: int
    workers: list[Worker] = field(default_factory=list)
    proxies: list[xmlrpc.client.ServerProxy] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    """Lines of its stderr since it listens."""
    asking: ssl.SSLContext | None = None
    """What clients speak TLS with, if they do."""
    reader: threading.Thread | None = None

    @property
    def url(self):
        return f"http{'s' if self.asking else ''}://localhost:{self.port}"

    def rest_of_log(self):
        """All that a process which has ended has logged."""
        self.process.wait(timeout=20)
        self.reader.join(timeout=20)
        return self.log

    def peak_mb(self):
        """Highest resident memory of the process so far (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000

    def progress(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", "/progress")
        progress = json.loads(connection.getresponse().read())
        connection.close()
        return progress

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return sock if self.asking is None else self.asking.wrap_socket(sock, server_hostname="localhost")

    def http(self, timeout):
        if self.asking is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=self.asking)

    def raw(self, request: bytes, body: bytes = b"", *, half_close=False):
        """Send bytes as they are and return the status of what comes back, 0 for a closed connection."""
        with self.connect() as sock:
            try:
                sock.sendall(request)
                sock.sendall(body)
                if half_close:
                    socket.socket.shutdown(sock, socket.SHUT_WR)  # `ssl.SSLSocket.shutdown` would read ciphertext from then on
            except OSError:
                pass  # refused half-way: the answer lies in the receive buffer
            try:
                answer = sock.makefile("rb").readline()
            except OSError:
                return 0
            return int(answer.split()[1]) if answer else 0

    def events(self, name):
        lines = (self.run_dir / "events.jsonl").read_text().splitlines()
        return [event for line in lines if (event := json.loads(line))["event"] == name]


@dataclass
class Worker:
    coordinator: Coordinator
    index: int
    session: str = ""

    def __post_init__(self):
        self.rpc = xmlrpc.client.ServerProxy(f"{self.coordinator.url}/RPC2", context=self.coordinator.asking)
        self.coordinator.proxies.append(self.rpc)

    def register(self, **more):
        hello = {
            "protocol": "1", "name": f"worker-{self.index}", "index": self.index, "attempt": 1, "instance": f"i{self.index}",
            "samples": 100, "client": "test", "token": TOKEN, "tasks": ["init", "train"], **more,
        }  # fmt: skip
        self.session = self.rpc.fedcore.register(hello)["session"]
        return self

    def task(self, wait=20.0):
        return self.rpc.fedcore.next_task(self.session, wait)

    def put(self, round_number, base, body, *, length=None, headers=()):
        """Upload, and return the status and the answer."""
        connection = self.coordinator.http(60)
        connection.putrequest("PUT", f"/v1/uploads/{round_number}")
        connection.putheader("Authorization", f"Bearer {self.session}")
        connection.putheader("Fedcore-Base", base)
        connection.putheader("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        with contextlib.suppress(OSError):  # refused half-way: the answer lies in the receive buffer
            connection.send(body)
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
        connection.close()
        return response.status, answer

    def submit(self, round_number, base, upload, samples=100):
        return self.rpc.fedcore.submit(
            self.session, round_number, {"base": base, "samples": samples, "metrics": {}, "upload": upload, "seconds": 0.5}
        )

    def deliver(self, round_number, base, body):
        status, answer = self.put(round_number, base, body)
        assert status == 201, answer
        return self.submit(round_number, base, answer["upload"])["result"]


def model(value=0.0, values=500_000, **more):
    """A model of 2 MB."""
    return {"weight": np.full((values,), value, np.float32), "bias": np.zeros((10,), np.float32), **more}


def start_coordinator(tmp_path, job=JOB, *more, files=None):
    """Start ``fedcore coordinator`` on free ports and wait until it listens; with ``files`` of certificates it speaks TLS."""
    (tmp_path / "job.yaml").write_text(job)
    (tmp_path / "token").write_text(TOKEN)
    run_dir = tmp_path / "run"
    command = [FEDCORE, "coordinator", "--job", tmp_path / "job.yaml", "--run-dir", run_dir, "--host", "127.0.0.1", "--port", "0"]
    command += [*more, *(files.flags if files else ()), "--metrics-port", "0", "--token-file", tmp_path / "token"]
    process = subprocess.Popen(
        [str(part) for part in command], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    listening = next(line for line in process.stderr if " listening " in line)
    log: list[str] = []
    reader = threading.Thread(target=log.extend, args=[process.stderr], daemon=True)
    reader.start()
    schemes = {"url": "https" if files else "http", "metrics": "http"}
    port, metrics_port = (int(re.search(rf" {key}={scheme}://127.0.0.1:(\d+)", listening)[1]) for key, scheme in schemes.items())
    return Coordinator(process, run_dir, port, metrics_port, log=log, asking=files.asking() if files else None, reader=reader)


def stop_coordinator(coordinator):
    """End the process, whatever it is doing."""
    for proxy in coordinator.proxies:
        proxy("close")()
    coordinator.process.send_signal(signal.SIGKILL)
    coordinator.process.wait(timeout=10)
    coordinator.process.stderr.close()


def until(condition):
    """Wait for something that a process does in its own time."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
