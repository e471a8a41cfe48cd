"""Which pods' logs are meant, and how they are read from an API server whose streams break."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from fedcore.cli.fedjob.http import Http
from fedcore.cli.fedjob.logs import LogsOptions, logs, select
from fedcore.cli.fedjob.source import Source
from fedcore.cli.fedjob.trouble import ApiTrouble, Trouble
from support.fedjob_objects import ended, job, last_exit, running, scene, up, waiting

JOB = "/apis/fedcore.dev/v1alpha1/namespaces/ns/federatedjobs/mnist"
PODS = "/api/v1/namespaces/ns/pods"
EVENTS = "/api/v1/namespaces/ns/events"
SECOND_ATTEMPT = [{"index": 1, "attempt": 2, "restarts": 1, "lastExit": last_exit("Error", 1)}]


class Handler(BaseHTTPRequestHandler):
    """Answers a path with what the test put there: a status and a body, or a function of the query."""

    def do_GET(self):
        url = urlsplit(self.path)
        answer = self.server.answers.get(url.path, (404, "404 page not found\n"))
        self.server.asked.append((url.path, {key: values[0] for key, values in parse_qs(url.query).items()}))
        code, body = answer(self.server.asked[-1][1]) if callable(answer) else answer
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def api(tmp_path):
    with Server(str(tmp_path / "api"), Handler) as server:
        server.answers, server.asked = {PODS: (200, {"items": []}), EVENTS: (200, {"items": []})}, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.http = Http(tmp_path / "api", "here")
        yield server
        server.shutdown()
        thread.join()


def refused(code, message, kind=""):
    return code, {"kind": "Status", "message": message, "details": {"kind": kind}}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((404, "404 page not found\n"), 4, "the cluster of context here knows no FederatedJobs: `helm install"),
        (refused(404, "not found", "federatedjobs"), 2, 'no FederatedJob "mnist" in namespace ns of context here; there are none'),
        (refused(403, "federatedjobs is forbidden", "federatedjobs"), 4, "not allowed: federatedjobs is forbidden"),
        (refused(401, "Unauthorized"), 4, "does not let you in: Unauthorized; log in again"),
        (
            (500, "getting credentials: exec: executable aws not found\n\nmore"),
            4,
            "cannot be reached: getting credentials: exec: executable aws",
        ),
        (refused(503, "etcd is away", "x"), 4, "answers 503: etcd is away"),
        ((200, "{"), 4, "cannot be reached"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_keeps_a_job_from_being_read(api, answer, code, words):
    api.answers[JOB] = answer
    with pytest.raises(Trouble, match=re.escape(words)) as trouble:
        Source(api.http, "ns", "mnist").read()
    assert trouble.value.exit_code == code


def test_a_proxy_that_is_gone_is_an_error_in_words(tmp_path):
    with pytest.raises(ApiTrouble, match=r"cannot be reached: .*No such file"):
        Http(tmp_path / "nothing", "here").get("/")


PLACES = [up(), ended(1, 1), up(1, 2), up(2), waiting(3, reason="ErrImagePull")]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["coordinator-1", "worker-1-1", "worker-1-2", "worker-2-1", "worker-3-1"]),
        ({"role": "coordinator"}, ["coordinator-1"]),
        ({"role": "worker", "indexes": (1,)}, ["worker-1-1", "worker-1-2"]),
        ({"previous": True}, ["worker-1-1"]),
        ({"attempt": 2}, ["worker-1-2"]),
        ({"indexes": (7,)}, []),
    ],
    ids=str,
)
def test_which_pods_are_meant(options, names):
    found = select(scene(running(workerIndexes=SECOND_ATTEMPT), PLACES), LogsOptions(**options))
    assert [pod.name for pod in found] == [f"mnist-{name}" for name in names]


def test_previous_of_a_scaled_down_worker_is_its_newest():
    found = select(scene(running(spec={"workers": {"replicas": 1}}), [up(), ended(2, 1)]), LogsOptions(previous=True))
    assert [pod.name for pod in found] == ["mnist-worker-2-1"]


def log_of(*lines):
    return 200, "".join(f"2026-11-25T12:00:{number:02d}.000000000Z {text}\n" for number, text in lines)


def test_logs_are_printed_pod_by_pod(api, capsys):
    api.answers[JOB] = (200, running())
    api.answers[PODS] = (200, {"items": [up(), up(0), waiting(1, reason="ErrImagePull", message="no such image")]})
    api.answers[f"{PODS}/mnist-coordinator-1/log"] = log_of((1, "round_opened round=1"), (2, ""))
    api.answers[f"{PODS}/mnist-worker-0-1/log"] = refused(404, 'pods "mnist-worker-0-1" not found')
    assert logs(api.http, "ns", "mnist", LogsOptions(tail=5)) == 0
    out, err = capsys.readouterr()
    assert out == "[mnist-coordinator-1] round_opened round=1\n[mnist-coordinator-1] \n"
    assert err.splitlines() == [
        'mnist-worker-0-1: the API server answers 404: pods "mnist-worker-0-1" not found',
        "mnist-worker-1-1 has no log yet: ImagePullFailed: no such image",
    ]
    assert (f"{PODS}/mnist-coordinator-1/log", {"container": "coordinator", "timestamps": "true", "tailLines": "5"}) in api.asked


def test_a_stream_that_breaks_is_taken_up_where_it_was(api, capsys):
    said = [(1, "one"), (2, "two"), (3, "three")]
    pod = f"{PODS}/mnist-coordinator-1"

    def log(query):
        since = query.get("sinceTime", "")
        if not since:
            return log_of(*said[:2])  # and then the balancer has had enough
        api.answers[pod] = (200, ended(code=0))
        return log_of(*said[1:])

    complete = job(("Complete", "True", "Completed", ""))
    api.answers |= {JOB: (200, complete), PODS: (200, {"items": [up()]}), f"{pod}/log": log, pod: (200, up())}
    assert logs(api.http, "ns", "mnist", LogsOptions(role="coordinator", follow=True)) == 0
    assert capsys.readouterr().out.splitlines() == [f"[mnist-coordinator-1] {text}" for _, text in said]


@pytest.mark.parametrize(
    ("pods", "options", "words"),
    [
        ([], {}, "job mnist has no pods: `kubectl fedjob why mnist -n ns` says why"),
        ([up(), up(1)], {"indexes": (9,)}, "no such pod; there are mnist-coordinator-1, mnist-worker-1-1"),
    ],
    ids=["none", "another"],
)
def test_no_log_is_an_error_that_says_what_there_is(api, pods, options, words):
    api.answers |= {JOB: (200, running()), PODS: (200, {"items": pods})}
    with pytest.raises(Trouble, match=re.escape(words)) as trouble:
        logs(api.http, "ns", "mnist", LogsOptions(**options))
    assert trouble.value.exit_code == 2
