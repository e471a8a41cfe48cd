"""The last metrics of a job that has ended, pushed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry
from safetensors.numpy import save

from fedcore.coordinator import aftermath
from fedcore.coordinator.options import InvalidOptions, Options
from support.coordinator import JOB, Worker, model, start_coordinator, stop_coordinator
from support.prometheus import program
from support.scraped import Scrape, scrape_until


class Gateway(HTTPServer):
    """Takes what is pushed, as Pushgateway does, or refuses it."""

    def __init__(self, status=200, answer=None):
        self.status = status
        self.answer = answer
        self.pushed = []
        self.credentials = []
        self.closed = threading.Event()
        super().__init__(("127.0.0.1", 0), Taking)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Taking(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.pushed.append((self.path, body.decode()))
        self.server.credentials.append(self.headers["Authorization"])
        if self.server.answer is not None:
            self.server.answer(self.wfile, self.server.closed)
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def gateway():
    with contextlib.ExitStack() as stack:

        def start(status=200, answer=None):
            server = stack.enter_context(Gateway(status, answer))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            stack.callback(lambda: [each.join(30) for each in threading.enumerate() if each.name == "push"])
            stack.callback(server.closed.set)
            return server

        yield start


@pytest.fixture
def run_one_round(tmp_path, monkeypatch):
    """Run a job of one round with one worker, beside a Pushgateway, and return its coordinator and exit code."""
    with contextlib.ExitStack() as stack:

        def run(url):
            monkeypatch.setenv("FEDCORE_PUSHGATEWAY", url)
            monkeypatch.setenv("FEDCORE_NAMESPACE", "lab")
            coordinator = start_coordinator(tmp_path, JOB.replace("rounds: 2", "rounds: 1").replace("replicas: 2", "replicas: 1"))
            stack.callback(stop_coordinator, coordinator)
            worker = Worker(coordinator, 0).register()
            worker.task()
            worker.deliver(0, "", save(model(values=100)))
            worker.deliver(1, worker.task()["base"]["id"], save(model(1.0, values=100)))
            while worker.task()["kind"] != "stop":
                pass
            return coordinator, coordinator.process.wait(20)

        yield run


def check_outcome(seen):
    assert (seen.one("fedcore_finished", "reason"), seen.one("fedcore_phase", "phase")) == ("Completed", "Succeeded")
    assert seen.value("fedcore_current_round", federatedjob="hostile") == 1
    assert seen.value("fedcore_run_end_timestamp_seconds") > 0


def test_job_pushes_its_outcome_once_under_namespace_and_name(gateway, run_one_round):
    server = gateway()
    _, code = run_one_round(server.url)
    assert code == 0
    ((path, body),) = server.pushed
    assert path == "/metrics/job/fedcore/federatedjob/hostile/namespace/lab"
    seen = Scrape(body)
    check_outcome(seen)
    assert not [name for name in seen.families if name.startswith(("fedcore_worker_", "fedcore_rpc_", "process_"))]
    seen.assert_clean()


@pytest.mark.parametrize("there", [True, False], ids=["refuses", "is not there"])
def test_gateway_that_takes_nothing_changes_nothing(gateway, run_one_round, there):
    server = gateway(500)
    if not there:
        server.socket.close()
    coordinator, code = run_one_round(server.url)
    assert code == 0
    said = [line for line in coordinator.rest_of_log() if "push_failed" in line]
    assert len(said) == 1


def babble(out, _closed):
    out.write(b"what do you mean?\r\n")


def trickle(out, closed):
    with contextlib.suppress(OSError):
        out.write(b"HTTP/1.0 200 OK\r\nX: ")
        while not closed.wait(0.02):
            out.write(b"x")
        out.write(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(("answer", "seconds", "said"), [(babble, 60, "what do you mean?"), (trickle, 0.2, "no answer within 0.2 s")])
def test_whatever_the_gateway_answers_the_job_goes_on(gateway, monkeypatch, capfd, answer, seconds, said):
    monkeypatch.setattr(aftermath, "_PUSH_SECONDS", seconds)
    url = gateway(answer=answer).url
    asyncio.run(aftermath.push(url, CollectorRegistry(), namespace="lab", job="demo"))
    line = capfd.readouterr().err
    assert "push_failed" in line
    assert said in line


def test_credentials_of_the_gateway_are_shown_to_it_and_to_no_log(gateway, capfd):
    server = gateway(401)
    url = server.url.replace("//", "//lab:p%40ss@")
    asyncio.run(aftermath.push(url, CollectorRegistry(), namespace="lab", job="demo"))
    assert server.credentials == ["Basic " + base64.b64encode(b"lab:p@ss").decode()]
    line = capfd.readouterr().err
    assert f"gateway={server.url}" in line
    assert "ss" not in line.replace(server.url, "")


def test_address_is_checked_at_the_start():
    with pytest.raises(InvalidOptions, match='"gateway:9091" is no address; it looks like http://host:9091'):
        Options.read({"FEDCORE_JOB_FILE": "/j", "FEDCORE_RUN_DIR": "/r", "FEDCORE_PUSHGATEWAY": "gateway:9091"})


def test_real_pushgateway_shows_what_was_pushed(run_one_round):
    command = [program("prometheus-pushgateway"), "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if "Listening on" in line)
            url = "http://" + next(word for word in line.split() if word.startswith("address=")).removeprefix("address=")
            _, code = run_one_round(url)
            assert code == 0
            seen = scrape_until(url, lambda seen: seen.value("fedcore_run_info"))
            assert seen.value("fedcore_run_info", namespace="lab", federatedjob="hostile", job="fedcore") == 1
            check_outcome(seen)
        finally:
            process.terminate()
