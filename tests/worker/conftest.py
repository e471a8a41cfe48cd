"""A scripted stand-in for the coordinator: real sockets, no engine. It does what a test tells it, faults included."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from xmlrpc.client import Fault, dumps, loads

import numpy as np
import pytest
import safetensors.numpy

from fedcore.worker.loop import Worker
from fedcore.worker.options import Options
from fedcore.worker.ready import ReadyFile
from fedcore.worker.supervision import Supervision
from support.checksum import sum64
from support.tls import certificate_files

HERE = Path(__file__).parent
PROGRAM = "import os, sys; from fedcore.worker import Options; from fedcore.worker.main import run; sys.exit(run(Options.read(os.environ)))"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.connections.append(self.connection)

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        params, method = loads(body, use_builtin_types=True)
        try:
            answer = dumps((self.server.script.rpc(method, params),), methodresponse=True, allow_none=False)
        except Fault as fault:
            answer = dumps(fault, methodresponse=True)
        self.answer(200, answer.encode(), "text/xml")

    def do_GET(self):
        script = self.server.script
        script.note("GET", (self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if script.downloads:
            cut = script.downloads.popleft()
            if cut is None:
                self.answer(404, b"{}", "application/json")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(script.weights)))
            self.end_headers()
            self.wfile.write(script.weights[:cut])
            self.close_connection = True
            return
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if "Range" in self.headers else 0
        self.answer(206 if start else 200, script.weights[start:], "application/octet-stream")

    def do_PUT(self):
        script = self.server.script
        if script.early_answer is not None:
            status, reply = script.early_answer
            script.note("PUT", (self.path, None))
            self.answer(status, json.dumps(reply).encode(), "application/json", close=True)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        script.note("PUT", (self.path, self.headers["Fedcore-Base"], body, self.headers))
        status, reply, headers = script.uploads.popleft() if script.uploads else (201, None, {})
        if reply is None:
            reply = {"upload": f"u{len(script.calls)}", "bytes": len(body), "sum64": sum64(body)}
        self.answer(status, json.dumps(reply).encode(), "application/json", headers=headers)

    def answer(self, status, body, kind, *, close=False, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class Listener(ThreadingHTTPServer):
    """Ends all connections when it closes, as a process that dies does."""

    daemon_threads = True

    def __init__(self, port, script):
        super().__init__(("127.0.0.1", port), Handler)
        self.script = script
        self.connections = []
        self.handshakes = 0

    def get_request(self):
        sock, address = super().get_request()
        if self.script.files is None:
            return sock, address
        self.handshakes += 1
        return self.script.files.serving.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)

    def server_close(self):
        super().server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Script:
    """What the stand-in answers, and what it was asked."""

    def __init__(self, files=None):
        self.files = files
        self.changed = threading.Condition()
        self.calls = []
        self.tasks = deque()
        self.uploads = deque()
        self.downloads = deque()
        self.early_answer = None
        self.faults = {}
        self.submits = deque()
        self.superseded = set()
        self.sessions = set()
        self.heartbeat_seconds = 0.3
        self.parameters = {}
        self.weights = safetensors.numpy.save({"w": np.zeros(4, np.float32)})
        self.server = None

    @property
    def base_id(self):
        return hashlib.sha256(self.weights).hexdigest()

    @property
    def url(self):
        return f"http{'s' if self.files else ''}://127.0.0.1:{self.server.server_address[1]}"

    def start(self, port=0):
        self.server = Listener(port, self)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def note(self, method, params):
        with self.changed:
            self.calls.append((method, params))
            self.changed.notify_all()

    def of(self, method):
        return [params for name, params in self.calls if name == method]

    def wait_for(self, condition, timeout=20.0):
        with self.changed:
            assert self.changed.wait_for(condition, timeout), [(name, str(params)[:100]) for name, params in self.calls[-12:]]

    def train(self, number=1, **more):
        return {
            "kind": "train",
            "round": number,
            "base": {"id": self.base_id, "version": number - 1, "href": f"/v1/weights/{number - 1}", "bytes": len(self.weights)},
            "work": {"epochs": 1.0, "deadline_seconds": 60.0},
            "seed": 7,
            "evaluate": False,
            "reason": "",
            **more,
        }

    def give(self, *tasks):
        with self.changed:
            self.tasks.extend(tasks)
            self.changed.notify_all()

    def stop_worker(self, reason="Completed"):
        self.give({"kind": "stop", "round": 0, "seed": 0, "evaluate": False, "reason": reason})

    def supersede(self, number):
        with self.changed:
            self.superseded.add(number)
            self.changed.notify_all()

    def forget_sessions(self):
        with self.changed:
            self.sessions.clear()
            self.changed.notify_all()

    def rpc(self, method, params):
        self.note(method, params)
        planned = self.faults.get(method)
        if planned:
            fault = planned.popleft()
            if fault is not None:
                raise fault
        name = method.removeprefix("fedcore.")
        if name != "register" and params[0] not in self.sessions:
            raise Fault(1, "unknown_session: register again, then resubmit what you hold")
        return getattr(self, name)(*params)

    def register(self, hello):
        session = f"s{len(self.of('fedcore.register'))}"
        self.sessions.add(session)
        return {
            "session": session,
            "run_id": "run",
            "index": hello.get("index", 0),
            "replicas": 2,
            "seed": 0,
            "heartbeat_seconds": self.heartbeat_seconds,
            "inline_limit_bytes": 1024,
            "parameters": self.parameters,
        }

    def next_task(self, session, wait_seconds):
        with self.changed:
            self.changed.wait_for(lambda: self.tasks or session not in self.sessions, wait_seconds)
            if session not in self.sessions:
                raise Fault(1, "unknown_session: register again, then resubmit what you hold")
            if self.tasks:
                return self.tasks.popleft()
        return {"kind": "wait", "round": 0, "seed": 0, "evaluate": False, "reason": ""}

    def heartbeat(self, session, number, done, wait_seconds):
        with self.changed:
            self.changed.wait_for(lambda: number in self.superseded, wait_seconds)
        return {"superseded": number in self.superseded, "deadline_seconds": 60.0}

    def submit(self, session, number, update):
        return self.submits.popleft() if self.submits else {"result": "accepted", "reason": ""}

    def status(self, session):
        return {}

    def leave(self, session, reason):
        return {}


@pytest.fixture
def server():
    script = Script()
    script.start()
    yield script
    script.stop()


@pytest.fixture
def files(tmp_path):
    return certificate_files(tmp_path / "tls")


@pytest.fixture
def tls_server(files):
    """The same over TLS."""
    script = Script(files)
    script.start()
    yield script
    script.stop()


@pytest.fixture
def late_server():
    """Return a stand-in that does not listen yet; ``start(port)`` makes it."""
    script = Script()
    yield script
    script.stop()


@pytest.fixture
def start(tmp_path):
    """Start a worker on a thread; ``.end()`` waits for its `Ending`."""
    started = []
    toy = sys.modules.get("toy_task")
    if toy is not None:
        toy.TRAINED.clear()
        toy.BATCHES.clear()

    def start(url, task="Toy", **given):
        values = {"index": 0, "unreachable_seconds": 20.0, "ready_file": tmp_path / "ready", **given}
        options = Options(coordinator=url, entrypoint=f"toy_task:{task}", job_dir=HERE, **values)
        supervision = Supervision(options.drain_seconds)
        worker = Worker(options, supervision, ReadyFile(options.ready_file, options.ready_grace_seconds))
        endings = []
        thread = threading.Thread(target=lambda: endings.append(worker.run()), daemon=True)
        thread.start()

        def end(timeout=20.0):
            thread.join(timeout)
            assert endings, "the worker is still at work"
            return endings[0]

        run = SimpleNamespace(end=end, stop=lambda: supervision._ask("SIGTERM"), options=options, began=time.monotonic())
        started.append(run)
        return run

    yield start
    for run in started:
        run.stop()
        run.end()


@pytest.fixture
def spawn(server, tmp_path):
    started = []

    def spawn(task, **more):
        pass_fds = [int(more["FEDCORE_LIFELINE_FD"])] if "FEDCORE_LIFELINE_FD" in more else []
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FEDCORE_") and not name.endswith("_NUM_THREADS")},
            "FEDCORE_COORDINATOR": server.url,
            "FEDCORE_ENTRYPOINT": f"toy_task:{task}",
            "FEDCORE_INDEX": "1",
            "FEDCORE_JOB_DIR": str(HERE),
            "FEDCORE_READY_FILE": str(tmp_path / "ready"),
            "FEDCORE_TERMINATION_FILE": str(tmp_path / "end.json"),
            **more,
        }
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds)
        started.append(process)
        return process

    yield spawn
    for process in started:
        process.kill()
        process.communicate()
