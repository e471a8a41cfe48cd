from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import socket
import ssl
import time
import tracemalloc
import xmlrpc.client
from types import SimpleNamespace

import pytest

from fedcore.coordinator.http import Limits, Pace, Refusal, Server
from fedcore.wire.protocol import FaultCode, UploadReply
from fedcore.wire.xmlrpc import RpcFault, encode_call, parse_response
from support import http_app
from support.checksum import sum64
from support.tls import certificate_files

SESSION, OTHERS, TOKEN = http_app.SESSION, http_app.OTHERS, http_app.TOKEN


def auth(session):
    return {"Authorization": f"Bearer {session}"}


def put(session):
    return {**auth(session), "Fedcore-Base": "b"}


AUTH = auth(SESSION)
PUT = put(SESSION)
PIECE = bytes(2**20)
STATUS = encode_call("fedcore.status", [SESSION])
POLL = encode_call("fedcore.next_task", [SESSION, 60.0])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificate_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "TLS"])
def serve(request, files):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with contextlib.ExitStack() as stack:

        def start(**limits):
            running = http_app.Running(Limits(**limits), files=files if request.param == "TLS" else None)
            stack.callback(running.close)
            return running

        yield start


@pytest.fixture
def running(serve):
    return serve(pace=Pace(grace_seconds=5))


@pytest.fixture
def client(running):
    with running.connect() as client:
        yield client


def hurried(**more):
    return {"pace": Pace(bytes_per_second=2**20, grace_seconds=0.2), "head_seconds": 0.3, **more}


def fault(answer):
    with pytest.raises(RpcFault) as raised:
        parse_response(answer[2])
    return answer[0], raised.value.code


# -- heads and framing ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "status", "counted"),
    [
        pytest.param("PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\n{auth}\r\n\r\n", 411, ["no_length"], id="no length"),
        pytest.param(
            "PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\n{auth}\r\nTransfer-Encoding: chunked\r\n\r\n", 411, ["no_length"], id="chunked"
        ),
        pytest.param(
            "POST /RPC2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 411, ["no_length"], id="another transfer coding"
        ),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, [], id="negative length"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, [], id="length no number"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, [], id="two lengths"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, [], id="equal lengths"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400, [], id="lengths in a list"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nContent-Encoding: gzip\r\n\r\n", 415, ["gzip"], id="gzip"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413, ["too_large"], id="too large"),
        pytest.param("POST /RPC2 HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417, [], id="unknown expectation"),
        pytest.param("PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 401, ["unauthorized"], id="no session"),
        pytest.param("PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\n{auth}\r\nContent-Length: 5\r\n\r\n", 400, [], id="no base"),
        pytest.param("GET /v1/uploads/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, [], id="wrong method"),
        pytest.param("GET /v1/weights/-1 HTTP/1.1\r\nHost: a\r\n\r\n", 404, [], id="no such path"),
        pytest.param("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400, [], id="GET with a body"),
        pytest.param("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 70_000 + "\r\n\r\n", 431, [], id="huge head"),
        pytest.param("\x16\x03\x01 nonsense\r\n\r\n", 400, [], id="not HTTP"),
    ],
)
def test_head_is_refused_before_any_body(running, client, head, status, counted):
    client.send(head.format(auth=f"Authorization: Bearer {SESSION}").encode())
    assert client.answer()[0] == status
    assert running.app.refusals == counted


def test_connection_is_kept_for_further_requests(client):
    for _ in range(3):
        client.request("POST", "/RPC2", STATUS)
        assert parse_response(client.answer()[2]) == {"params": 1}
    client.request("GET", "/nowhere")
    assert client.reason() == (404, "not_found")
    client.request("GET", "/healthz", Connection="close")
    assert client.answer()[2] == b"ok\n"
    assert client.closed()


def test_pipelined_requests_are_answered_in_order(client):
    one = b"POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(STATUS) + STATUS
    body = b"PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nFedcore-Base: b\r\nAuthorization: Bearer s3ss10n\r\nContent-Length: 3\r\n\r\nabc"
    client.send(one + body + one)
    assert [client.answer()[0] for _ in range(3)] == [200, 201, 200]


def test_head_needs_no_body(client):
    client.request("HEAD", "/healthz")
    assert client.answer(head_only=True)[0] == 200
    client.request("GET", "/healthz")
    assert client.answer()[2] == b"ok\n"


@pytest.mark.parametrize("sent", [pytest.param(b"", id="nothing"), pytest.param(b"GET / HT", id="half a head")])
def test_slow_head_loses_the_connection(serve, sent):
    running = serve(**hurried())
    with running.connect() as client:
        client.send(sent)
        assert client.answer() is None or running.app.refusals == ["stalled"]
        assert client.closed()


def test_expected_continue_is_given_only_to_what_is_welcome(running, client):
    client.request("PUT", "/v1/uploads/1", **PUT, Content_Length=4, Expect="100-continue")
    assert client.answer()[0] == 100
    client.send(b"body")
    assert client.answer()[0] == 201
    running.app.upload_answer = Refusal(409, UploadReply(result="stale", reason="round 3 is open"))
    client.request("PUT", "/v1/uploads/1", **PUT, Content_Length=4, Expect="100-continue")
    status, headers, body = client.answer()
    assert (status, headers["connection"]) == (409, "close")
    assert b'"result":"stale"' in body


# -- calls ------------------------------------------------------------------------------------------------------------------------------


def test_stock_client_with_introspection(running):
    with xmlrpc.client.ServerProxy(running.url, use_builtin_types=True, context=running.asking) as proxy:
        assert "fedcore.next_task" in proxy.system.listMethods()
        assert "work" in proxy.system.methodHelp("fedcore.next_task")
        assert proxy.system.methodSignature("fedcore.status") == [["struct", "string"]]
        assert proxy.fedcore.register({"token": TOKEN}) == {"session": SESSION}
        assert proxy.fedcore.submit(SESSION, 1, {"weights": bytes(3_000_000)}) == {"params": 3}
        assert proxy.fedcore.weights(SESSION, 200_000) == bytes(200_000)
        for call, code in [
            (lambda: proxy.fedcore.status("other"), FaultCode.UNKNOWN_SESSION),
            (lambda: proxy.fedcore.register({"token": "guess"}), FaultCode.UNAUTHORIZED),
            (lambda: proxy.fedcore.nonsense(SESSION), FaultCode.BAD_REQUEST),
            (lambda: proxy.system.methodHelp("x"), FaultCode.BAD_REQUEST),
        ]:
            with pytest.raises(xmlrpc.client.Fault) as raised:
                call()
            assert raised.value.faultCode == code
    assert running.app.refusals == ["unauthorized", "unknown_method"]


def test_session_in_the_header_stands_in_front(running, client):
    client.request("POST", "/RPC2", encode_call("fedcore.heartbeat", [3, 0.5, 10.0]), **AUTH)
    assert parse_response(client.answer()[2]) == {"params": 4}
    assert running.app.calls == [("fedcore.heartbeat", [SESSION, 3, 0.5, 10.0])]


def test_token_in_the_header_admits(client):
    client.request("POST", "/RPC2", encode_call("fedcore.register", [{}]), Authorization=f"Bearer {TOKEN}")
    assert parse_response(client.answer()[2]) == {"session": SESSION}


def test_failing_application_is_500_and_the_server_lives(running, client, caplog):
    client.request("POST", "/RPC2", encode_call("fedcore.leave", [SESSION, "x"]))
    assert client.answer()[0] == 500
    assert "a bug" in caplog.text
    with running.connect() as other:
        other.request("GET", "/healthz")
        assert other.answer()[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<methodCall>", id="cut off"),
        pytest.param(b"<!DOCTYPE a [<!ENTITY b 'c'>]><methodCall><methodName>&b;</methodName></methodCall>", id="entities"),
        pytest.param(b"\xff\xfe\x00", id="noise"),
    ],
)
def test_bad_xml_is_a_fault(running, client, body):
    client.request("POST", "/RPC2", body)
    assert fault(client.answer())[1] == FaultCode.BAD_REQUEST
    assert running.app.refusals == ["bad_xml"]


BIG = {"weights": bytes(2_000_000)}


@pytest.mark.parametrize(
    ("call", "headers", "expected"),
    [
        pytest.param(encode_call("fedcore.submit", ["guess", 1, BIG]), {}, FaultCode.UNKNOWN_SESSION, id="unknown session"),
        pytest.param(encode_call("fedcore.submit", [1, BIG]), {"Authorization": "Bearer x"}, FaultCode.UNKNOWN_SESSION, id="in the header"),
        pytest.param(encode_call("fedcore.submit", [BIG]), {}, FaultCode.UNAUTHORIZED, id="no session at all"),
        pytest.param(encode_call("fedcore.register", [{"token": "x", **BIG}]), {}, FaultCode.UNAUTHORIZED, id="wrong token"),
        pytest.param(
            encode_call("fedcore.register", [{"weights": bytes(500_000), "token": TOKEN}]), {}, FaultCode.UNAUTHORIZED, id="token too late"
        ),
        pytest.param(encode_call("fedcore.status", [SESSION, BIG]), AUTH, FaultCode.TOO_LARGE, id="not a submit"),
    ],
)
def test_large_call_is_refused_early(running, client, call, headers, expected):
    length = len(call)
    client.request("POST", "/RPC2", Content_Length=length, **headers)
    if "Authorization" not in headers or expected == FaultCode.TOO_LARGE:
        client.send(call[: 64 * 1024])
    assert fault(client.answer())[1] == expected
    assert running.app.calls == []


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        pytest.param("fedcore.next_task", [SESSION], "wait_seconds is missing", id="too few"),
        pytest.param("fedcore.next_task", [SESSION, 1.0, 2], "takes session, wait_seconds and nothing more", id="too many"),
        pytest.param("fedcore.next_task", [SESSION, "soon"], "wait_seconds is no double", id="wrong type"),
        pytest.param("fedcore.heartbeat", [SESSION, True, 0.5, 1.0], "round is no int", id="boolean for a number"),
        pytest.param("fedcore.submit", [SESSION, 1, []], "update is no struct", id="no struct"),
    ],
)
def test_parameters_that_do_not_fit_are_named(running, client, method, params, named):
    client.request("POST", "/RPC2", encode_call(method, params))
    with pytest.raises(RpcFault, match=named) as raised:
        parse_response(client.answer()[2])
    assert raised.value.code == FaultCode.BAD_REQUEST
    assert running.app.calls == []


def test_only_so_many_inline_submits_at_once(serve):
    running = serve(inline_slots=1, queue_seconds=0.2)
    call, other = (encode_call("fedcore.submit", [session, 1, BIG]) for session in (SESSION, OTHERS[0]))
    with running.connect() as first, running.connect() as second:
        first.request("POST", "/RPC2", Content_Length=len(call))
        first.send(call[:100_000])
        running.until(lambda: running.server._rpc._submits.full)
        second.request("POST", "/RPC2", Content_Length=len(other))
        second.send(other[:100_000])
        assert fault(second.answer()) == (503, FaultCode.BUSY)
        first.send(call[100_000:])
        assert parse_response(first.answer()[2]) == {"params": 3}


def test_anonymous_bytes_are_bounded_over_all(serve):
    running = serve(anonymous_bytes=100_000)
    body = encode_call("fedcore.register", [{"name": "x" * 60_000}])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(5)]
        for client in clients:
            client.request("POST", "/RPC2", Content_Length=len(body))
            client.send(body[:50_000])
        running.until(lambda: sum(client.answered() for client in clients) == 3)  # which three is the scheduler's choice
        for client in (client for client in clients if client.answered()):
            assert fault(client.answer()) == (503, FaultCode.BUSY)
        assert running.app.refusals == ["busy"] * 3


# -- parked polls -------------------------------------------------------------------------------------------------------------------------


def test_two_hundred_parked_polls_are_answered(running):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(200)]
        for client in clients:
            client.request("POST", "/RPC2", POLL)
        running.until(lambda: running.app.parked == 200)
        running.release()
        assert all(parse_response(client.answer()[2]) == {"kind": "wait"} for client in clients)
    assert running.app.cancelled == 0


def test_client_that_goes_away_while_parked_cancels_the_call(running, client):
    with running.connect() as gone:
        gone.request("POST", "/RPC2", POLL)
        running.until(lambda: running.app.parked == 1)
    running.until(lambda: running.app.cancelled == 1)
    client.request("POST", "/RPC2", STATUS)
    assert client.answer()[0] == 200


def test_request_sent_behind_a_parked_one_waits_its_turn(running, client):
    client.request("POST", "/RPC2", POLL)
    running.until(lambda: running.app.parked == 1)
    client.request("POST", "/RPC2", STATUS)
    running.release()
    assert parse_response(client.answer()[2]) == {"kind": "wait"}
    assert parse_response(client.answer()[2]) == {"params": 1}


def test_five_hundred_idle_connections_do_not_starve_a_worker(serve):
    running = serve(max_connections=64)
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(running.connect())
        worker.request("POST", "/RPC2", STATUS)
        worker.answer()
        idle = [stack.enter_context(running.connect()) for _ in range(500)]
        worker.request("POST", "/RPC2", STATUS)
        assert worker.answer()[0] == 200
        newcomer = stack.enter_context(running.connect())
        newcomer.request("POST", "/RPC2", STATUS)
        assert newcomer.answer()[0] == 200
        assert idle[0].closed()
        running.until(lambda: running.server.connections <= 64)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n<", id="a call that does not go on"),
        pytest.param(b"PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n", id="a refused body that does not come"),
    ],
)
def test_strangers_who_hold_back_a_body_do_not_starve_a_worker(serve, sent):
    running = serve(max_connections=64, linger_seconds=60.0, pace=Pace(grace_seconds=60.0))
    with contextlib.ExitStack() as stack:
        parked = stack.enter_context(running.connect())
        parked.request("POST", "/RPC2", POLL)
        running.until(lambda: running.app.parked == 1)
        for _ in range(200):
            stack.enter_context(running.connect()).send(sent)
        worker = stack.enter_context(running.connect())
        worker.request("POST", "/RPC2", STATUS)
        assert worker.answer()[0] == 200
        running.until(lambda: running.server.connections <= 64)
        running.release()
        assert parse_response(parked.answer()[2]) == {"kind": "wait"}


# -- bodies -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 5_000_000])
def test_upload_arrives_whole(running, client, size):
    body = os.urandom(size)
    client.request("PUT", "/v1/uploads/3", body, **PUT, Content_Length=size)
    status, _, answer = client.answer()
    assert status == 201
    assert UploadReply.model_validate_json(answer) == UploadReply(upload="u1", bytes=size, sum64=sum64(body))
    assert all(piece == 512 * 1024 for piece in running.app.pieces[:-1])
    client.request("POST", "/RPC2", STATUS)
    assert client.answer()[0] == 200


def test_upload_of_a_client_that_is_gone_before_it_is_told_to_go_on_is_discarded(running, monkeypatch):
    offered = []

    async def upload(*arguments):
        offered.append(arguments)
        await running.app.release.wait()
        return http_app.Sink(running.app)

    monkeypatch.setattr(running.app, "upload", upload)
    client = running.connect()
    client.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000, Expect="100-continue")
    running.until(lambda: offered)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # closed with a reset
    client.file.close()
    client.sock.close()
    running.release()
    running.until(lambda: running.app.discarded == ["incomplete"])


def test_half_an_upload_is_discarded(running):
    with running.connect() as client:
        client.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000)
        client.send(bytes(500_000))
    running.until(lambda: running.app.discarded == ["incomplete"] and running.app.refusals == ["incomplete"])


def test_slow_upload_is_stopped(serve):
    running = serve(**hurried())
    with running.connect() as client:
        client.request("PUT", "/v1/uploads/3", **PUT, Content_Length=10_000_000)
        client.send(bytes(1000))
        assert client.reason() == (408, "stalled")
    assert (running.app.discarded, running.app.refusals) == (["stalled"], ["stalled"])


def test_slow_call_is_stopped(serve):
    running = serve(**hurried())
    with running.connect() as client:
        client.request("POST", "/RPC2", Content_Length=1000)
        client.send(STATUS[:20])
        assert client.reason() == (408, "stalled")


def test_slow_reader_is_dropped(serve, tmp_path):
    running = serve(pace=Pace(bytes_per_second=2**30, grace_seconds=0.2))
    running.app.weights_path = tmp_path / "w"
    running.app.weights_path.write_bytes(bytes(50_000_000))
    with running.connect() as client:
        client.request("GET", "/v1/weights/7", **AUTH)
        running.until(lambda: running.app.refusals == ["stalled"])


def test_refusal_in_mid_body_reaches_a_client_that_goes_on_sending(running, client):
    running.app.spoil = True
    client.request("PUT", "/v1/uploads/3", **PUT, Content_Length=30 * 2**20)
    client.flood(PIECE, 30)
    status, headers, body = client.answer()
    assert (status, headers["connection"]) == (422, "close")
    assert b"layout: wrong" in body
    assert running.app.discarded == ["refused"]


def test_memory_stays_bounded_whatever_is_sent(running):
    running.app.spoil = True
    tracemalloc.start()
    try:
        for path, headers in [("/RPC2", {}), ("/v1/uploads/1", {}), ("/v1/uploads/1", PUT)]:
            with running.connect() as client:
                client.request("POST" if path == "/RPC2" else "PUT", path, Content_Length=64 * 2**20, **headers)
                client.flood(PIECE, 64)
                assert client.answer()[0] in {401, 413, 422}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_upload_without_a_slot_is_told_to_come_again(serve):
    running = serve(upload_slots=1, queue_seconds=0.1)
    with running.connect() as first, running.connect() as second:
        first.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000)
        first.send(bytes(600_000))
        running.until(lambda: running.app.pieces)
        second.request("PUT", "/v1/uploads/3", **put(OTHERS[0]), Content_Length=4)
        status, headers, _ = second.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        first.send(bytes(400_000))
        assert first.answer()[0] == 201


def test_newer_upload_of_a_session_breaks_off_the_older(serve):
    running = serve(upload_slots=8, queue_seconds=20)
    with contextlib.ExitStack() as stack:
        older = [stack.enter_context(running.connect()) for _ in range(12)]
        for number, client in enumerate(older, 1):
            client.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000)
            client.send(bytes(600_000))
            running.until(lambda: len(running.app.pieces) == number)  # noqa: B023 - called at once
            assert running.server._transfers._uploads._free >= 6  # a moment for two, until the older one has let go
        other = stack.enter_context(running.connect())
        other.request("PUT", "/v1/uploads/3", b"body", **put(OTHERS[0]))
        assert other.answer()[0] == 201
        assert all(client.answer() is None for client in older[:-1])
        older[-1].send(bytes(700_000))
        assert older[-1].answer()[0] == 201
        assert running.app.discarded == ["incomplete"] * 11


def test_upload_that_waits_is_given_up_for_a_newer_one(serve):
    running = serve(upload_slots=1, queue_seconds=20)
    with running.connect() as first, running.connect() as older, running.connect() as newer:
        first.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000)
        first.send(bytes(600_000))
        running.until(lambda: running.app.pieces)
        uploading = running.server._transfers._uploading
        for client, body in ((older, b"old"), (newer, b"newer")):
            before = uploading.get(OTHERS[0])
            client.request("PUT", "/v1/uploads/3", body, **put(OTHERS[0]))
            running.until(lambda: uploading.get(OTHERS[0]) is not before)  # noqa: B023 - called at once
        first.send(bytes(400_000))
        assert first.answer()[0] == 201
        assert UploadReply.model_validate_json(newer.answer()[2]).bytes == 5
        assert older.answer() is None


def begun(sock):
    """Whether some of an answer is there; over TLS, readable may mean a session ticket."""
    sock.setblocking(False)
    try:
        return bool(sock.recv(1))
    except (BlockingIOError, ssl.SSLWantReadError):
        return False


def test_one_session_cannot_take_every_download_slot(serve, tmp_path):
    running = serve(download_slots=2, queue_seconds=20)
    content = bytes(50_000_000)
    running.app.weights_path = tmp_path / "w"
    running.app.weights_path.write_bytes(content)
    with contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(running.connect()) for _ in range(4)]
        for client in greedy:
            client.request("GET", "/v1/weights/7", **AUTH)
        sockets = [client.sock for client in greedy]
        assert select.select(sockets, [], [], 20)[0]
        honest = stack.enter_context(running.connect())
        honest.request("GET", "/v1/weights/7", **auth(OTHERS[0]))
        assert honest.answer()[2] == content
        assert sum(begun(sock) for sock in sockets) == 1  # none of the others


def test_bodies_in_transit_are_signs_of_life(running, client):
    client.request("PUT", "/v1/uploads/3", **PUT, Content_Length=10_000_000)
    deadline = time.monotonic() + 4
    while not running.app.heards and time.monotonic() < deadline:
        client.send(bytes(1000))
        time.sleep(0.01)  # the sender's own slowness is what is tested
    assert running.app.heards


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        pytest.param({}, 200, slice(0, 1000), id="all"),
        pytest.param({"Range": "bytes=100-199"}, 206, slice(100, 200), id="first and last"),
        pytest.param({"Range": "bytes=900-"}, 206, slice(900, 1000), id="from there on"),
        pytest.param({"Range": "bytes=-10"}, 206, slice(990, 1000), id="the last ten"),
        pytest.param({"Range": "bytes=990-5000"}, 206, slice(990, 1000), id="beyond the end"),
        pytest.param({"Range": "bytes=1000-"}, 416, None, id="nothing of it exists"),
        pytest.param({"Range": "bytes=5-2"}, 200, slice(0, 1000), id="backwards is ignored"),
        pytest.param({"Range": "bytes=0-1,5-6"}, 200, slice(0, 1000), id="several are ignored"),
        pytest.param({"Range": "bytes=100-199", "If-Range": '"abc"'}, 206, slice(100, 200), id="the version it was"),
        pytest.param({"Range": "bytes=100-199", "If-Range": '"old"'}, 200, slice(0, 1000), id="another version"),
    ],
)
def test_weights_and_ranges(running, client, tmp_path, asked, status, part):
    content = os.urandom(1000)
    running.app.weights_path = tmp_path / "w"
    running.app.weights_path.write_bytes(content)
    for _ in range(2):
        client.request("GET", "/v1/weights/7", **AUTH, **asked)
        got, headers, body = client.answer()
        assert got == status
        if part is not None:
            assert body == content[part]
            assert headers["etag"] == '"abc"'
    went_out = 0 if part is None else 2 * len(content[part])
    running.until(lambda: running.app.bytes_sent == went_out)


def test_weights_come_whole_to_several_at_once(running, tmp_path):
    content = os.urandom(20_000_000)
    running.app.weights_path = tmp_path / "w"
    running.app.weights_path.write_bytes(content)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(4)]
        for client, session in zip(clients, OTHERS, strict=False):
            client.request("GET", "/v1/weights/7", **auth(session))
        assert all(client.answer()[2] == content for client in clients)


@pytest.mark.parametrize(
    ("version", "auth", "status"),
    [
        pytest.param(7, {}, 401, id="no session"),
        pytest.param(7, {"Authorization": "Bearer x"}, 401, id="wrong session"),
        pytest.param(8, AUTH, 404, id="not kept"),
        pytest.param(7, AUTH, 404, id="pruned in between"),
    ],
)
def test_weights_are_refused(running, client, tmp_path, version, auth, status):
    running.app.weights_path = tmp_path / "gone"
    client.request("GET", f"/v1/weights/{version}", **auth)
    assert client.answer()[0] == status


# -- life ---------------------------------------------------------------------------------------------------------------------------------


def test_port_in_use_says_so(running):
    with pytest.raises(OSError, match="in use"):
        running.run(Server("127.0.0.1", running.port).start())


@pytest.mark.parametrize("host", ["localhost", "::1", "", "::"])
def test_listens_on_names_and_both_families(host):
    async def check():
        server = Server(host, 0, routes={"/": http_app.healthz})
        try:
            await server.start()
        except OSError:
            pytest.skip("this machine has no IPv6")
        address = server.url.removeprefix("http://").rpartition(":")[0].strip("[]")
        reader, writer = await asyncio.open_connection(address, server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        await server.close()
        return answer

    assert asyncio.run(check()).endswith(b"ok\n")


def test_close_lets_what_is_going_on_end():
    running = http_app.Running(Limits())
    with running.connect() as busy, running.connect() as idle:
        busy.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000)
        busy.send(bytes(600_000))
        running.until(lambda: running.app.pieces)
        closing = asyncio.run_coroutine_threadsafe(running.server.close(20), running.loop)
        assert idle.closed()
        busy.send(bytes(400_000))
        assert busy.answer()[0] == 201
        closing.result(20)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))
    running.close()


def test_close_cuts_what_does_not_end():
    running = http_app.Running(Limits())
    with running.connect() as poll, running.connect() as upload:
        poll.request("POST", "/RPC2", POLL)
        upload.request("PUT", "/v1/uploads/3", **PUT, Content_Length=1_000_000)
        upload.send(bytes(600_000))
        running.until(lambda: running.app.parked and running.app.pieces)
        running.close(0.05)
    assert (running.app.cancelled, running.app.discarded) == (1, ["incomplete"])


# -- what is counted ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "counted"),
    [
        pytest.param(("POST", "/RPC2", STATUS, {}), ("status", "ok"), id="a call"),
        pytest.param(("POST", "/RPC2", encode_call("fedcore.status", ["?"]), {}), ("status", "unknown_session"), id="a fault"),
        pytest.param(("POST", "/RPC2", encode_call("fedcore.leave", [SESSION, ""]), {}), ("leave", "error"), id="a bug"),
        pytest.param(("POST", "/RPC2", encode_call("system.listMethods", []), {}), ("other", "ok"), id="an introspection"),
        pytest.param(("POST", "/RPC2", encode_call("fedcore.submit", [SESSION]), {}), ("submit", "bad_request"), id="parameters amiss"),
        pytest.param(("PUT", "/v1/uploads/3", b"body", PUT), ("put_upload", "ok"), id="an upload"),
        pytest.param(("PUT", "/v1/uploads/3", b"body", AUTH), ("put_upload", "bad_request"), id="an upload without its base"),
        pytest.param(("GET", "/v1/weights/8", b"", AUTH), ("get_weights", "bad_request"), id="a version that is not kept"),
    ],
)  # fmt: skip
def test_answer_is_counted_with_its_code(running, client, request_, counted):
    method, path, body, headers = request_
    client.request(method, path, body, **{name.replace("-", "_"): value for name, value in headers.items()})
    client.answer()
    running.until(lambda: running.app.answers)
    assert running.app.answers == [counted]
    assert 0 <= running.app.seconds[0] < 10


@pytest.mark.parametrize(("status", "result", "code"), [(409, "stale", "ok"), (413, "rejected", "too_large"), (503, "busy", "busy")])
def test_what_the_application_says_of_an_upload_is_counted(running, client, status, result, code):
    running.app.upload_answer = Refusal(status, UploadReply(result=result, reason="so it is"))
    client.request("PUT", "/v1/uploads/3", b"body", **{name.replace("-", "_"): value for name, value in PUT.items()})
    assert client.answer()[0] == status
    running.until(lambda: running.app.answers)
    assert running.app.answers == [("put_upload", code)]


def test_time_of_a_long_poll_is_not_handling(running, client, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("fedcore.coordinator.rpc.time", SimpleNamespace(monotonic=lambda: clock.now))
    client.request("POST", "/RPC2", POLL)
    running.until(lambda: running.app.parked)
    running.run(asyncio.sleep(0))  # the loop has come round: it has looked at the clock
    clock.now = 60.0
    running.release()
    client.answer()
    running.until(lambda: running.app.answers)
    assert list(zip(running.app.answers, running.app.seconds, strict=True)) == [(("next_task", "ok"), 0.0)]


def test_who_goes_away_is_not_answered(running):
    with running.connect() as client:
        client.request("POST", "/RPC2", POLL)
        running.until(lambda: running.app.parked)
    running.until(lambda: running.app.cancelled)
    assert running.app.answers == []
