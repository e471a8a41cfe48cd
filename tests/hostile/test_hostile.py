"""What clients may send, against a real coordinator: each is refused with the right answer, and neither memory nor the round is harmed."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import xmlrpc.client

import numpy as np
import pytest
from safetensors.numpy import save

from fedcore.wire.protocol import FaultCode
from fedcore.wire.xmlrpc import RpcFault, parse_response
from support.coordinator import TOKEN, Worker, model

MEMORY_MB = 64
plain_and_tls = pytest.mark.parametrize("coordinator", ["plain", "TLS"], indirect=True)


def entity_bomb(levels=9):
    """A call of a kilobyte that is ten billion characters once its entities are expanded."""
    entities = '<!ENTITY e0 "aaaaaaaaaa">' + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(levels))
    return f"""<?xml version="1.0"?><!DOCTYPE bomb [{entities}]><methodCall><methodName>fedcore.status</methodName><params><param><value>
<string>&e{levels};</string></value></param></params></methodCall>"""


def one_large_entity(times=2_000):
    """No nesting, which parsers have limits for: 100 kB, two thousand times."""
    return f"""<?xml version="1.0"?><!DOCTYPE bomb [<!ENTITY a "{"a" * 100_000}">]><methodCall><methodName>fedcore.status</methodName>
<params><param><value><string>{"&a;" * times}</string></value></param></params></methodCall>"""


@pytest.fixture
def unharmed(coordinator, open_round):
    """Run the hostile part; then memory must not have grown, and the round must close with both workers' updates."""
    before = coordinator.peak_mb()
    yield open_round
    assert coordinator.peak_mb() - before < MEMORY_MB
    for worker in coordinator.workers:
        assert worker.deliver(1, open_round, save(model(1.0))) == "accepted"
    assert_closed(coordinator)


def assert_closed(coordinator):
    assert coordinator.workers[0].task()["round"] == 2
    closed = coordinator.events("round_closed")
    assert [(event["accepted"], event["outcome"]) for event in closed] == [(2, "full")]


def broken(name):
    weights = model(0.5)
    match name:
        case "wrong shape":
            weights["weight"] = weights["weight"][:-1]
        case "missing tensor":
            del weights["bias"]
        case "other dtype":
            weights["weight"] = weights["weight"].astype(np.float16)
        case "NaN":
            weights["weight"][123_456] = np.nan
        case "infinity":
            weights["bias"][3] = np.inf
        case "out of range":
            weights["bias"][3] = 3e37
    return save(weights)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("wrong shape", "layout", id="wrong shape"),
        pytest.param("missing tensor", "layout", id="missing tensor"),
        pytest.param("NaN", "non_finite", id="NaN"),
        pytest.param("infinity", "non_finite", id="infinity"),
        pytest.param("other dtype", "layout", id="other dtype"),
    ],
)
def test_bodies_that_are_no_update_are_refused_by_name(coordinator, unharmed, name, reason):
    status, answer = coordinator.workers[0].put(1, unharmed, broken(name))
    assert status == 422
    assert answer["result"] == "rejected"
    assert answer["reason"].startswith(reason)
    assert coordinator.events("update")[-1]["reason"] == reason


def test_value_out_of_range_is_refused_at_submit(coordinator, unharmed):
    worker = coordinator.workers[0]
    status, answer = worker.put(1, unharmed, broken("out of range"))
    assert status == 201
    refused = worker.submit(1, unharmed, answer["upload"])
    assert refused["result"] == "rejected"
    assert refused["reason"].startswith("out_of_range")
    assert "bias" in refused["reason"]


@pytest.mark.parametrize("samples", [0, 101, -5])
def test_impossible_samples_are_refused(coordinator, unharmed, samples):
    worker = coordinator.workers[0]
    _, answer = worker.put(1, unharmed, save(model(0.5)))
    assert worker.submit(1, unharmed, answer["upload"], samples=samples)["reason"].startswith("samples")


def test_garbage_and_endless_header_are_refused(coordinator, unharmed):
    worker = coordinator.workers[0]
    assert worker.put(1, unharmed, b"\xff" * 4096)[0] == 422
    assert worker.put(1, unharmed, (2**40).to_bytes(8, "little") + b" " * 4096)[0] == 422


@plain_and_tls
def test_oversized_body_is_refused_before_it_is_read(coordinator, unharmed):
    worker = coordinator.workers[0]
    status, answer = worker.put(1, unharmed, b"x" * 100_000, length=50 * 2**30)
    assert (status, answer["result"]) == (413, "rejected")


@plain_and_tls
def test_truncated_body_counts_for_nothing(coordinator, unharmed):
    worker = coordinator.workers[0]
    body = save(model(0.5))
    head = f"PUT /v1/uploads/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {worker.session}\r\nFedcore-Base: {unharmed}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    for cut in (0, 1, 7, 8, 100, len(body) // 2, len(body) - 1):
        assert coordinator.raw(head.encode(), body[:cut], half_close=True) in {0, 400, 408}
    assert coordinator.progress()["accepted"] == 0


@pytest.mark.parametrize(
    ("length", "status"),
    [
        pytest.param("Content-Length: -5", 400, id="negative length"),
        pytest.param("Content-Length: many", 400, id="no number"),
        pytest.param("X-Nothing: 1", 411, id="no length"),
        pytest.param("Transfer-Encoding: chunked", 411, id="chunked"),
        pytest.param("Content-Length: 5\r\nContent-Length: 6", 400, id="two lengths"),
    ],
)
@pytest.mark.parametrize("request_line", ["PUT /v1/uploads/1", "POST /RPC2"])
def test_lengths_that_say_nothing_are_refused(coordinator, unharmed, request_line, length, status):
    session = coordinator.workers[0].session
    head = f"{request_line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {session}\r\nFedcore-Base: {unharmed}\r\n{length}\r\n\r\n"
    assert coordinator.raw(head.encode(), b"hello") == status


def test_gzip_bomb_is_refused_unopened(coordinator, unharmed):
    worker = coordinator.workers[0]
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert worker.put(1, unharmed, bomb, headers=[("Content-Encoding", "gzip")])[0] == 415
    head = f"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    assert coordinator.raw(head.encode(), bomb) in {413, 415}


@pytest.mark.parametrize("bomb", [entity_bomb(), one_large_entity()], ids=["entities in entities", "one large entity"])
@pytest.mark.parametrize("known", [True, False], ids=["of a worker", "of a stranger"])
def test_entity_bomb_is_a_fault(coordinator, unharmed, bomb, known):
    headers = {"Content-Type": "text/xml"}
    if known:
        headers["Authorization"] = f"Bearer {coordinator.workers[0].session}"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", coordinator.port, timeout=20)) as connection:
        connection.request("POST", "/RPC2", bomb, headers)
        answer = connection.getresponse().read()
    with pytest.raises(RpcFault, match=r"^bad_request: a document type or an entity is declared$") as fault:
        parse_response(answer)
    assert fault.value.code is FaultCode.BAD_REQUEST
    assert coordinator.progress()["accepted"] == 0


@plain_and_tls
def test_strangers_get_nothing(coordinator, unharmed):
    stranger = Worker(coordinator, 0)
    with pytest.raises(xmlrpc.client.Fault, match="unauthorized"):
        stranger.register(token="guess")
    stranger.session = "guess"
    assert stranger.put(1, unharmed, save(model(9.0)))[0] == 401
    with pytest.raises(xmlrpc.client.Fault, match="unknown_session"):
        stranger.task()
    head = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 900000\r\n\r\n"
    assert coordinator.raw(head, b"<?xml version='1.0'?><methodCall><methodName>fedcore.submit</methodName>" + b" " * 899_000) in {
        0,
        200,
        401,
    }


def status_of(sock):
    """Read the status of the answer that comes on a connection."""
    with sock.makefile("rb") as answer:
        return int(answer.readline().split()[1])


@plain_and_tls
def test_five_hundred_idle_connections_and_a_slow_sender_starve_nobody(coordinator, open_round):
    prompt, slow_worker = coordinator.workers
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(coordinator.connect()) for _ in range(500)]
        for sock in idle:
            sock.sendall(b"POST /RPC2 HTTP/1.1\r\n")
        slow = stack.enter_context(coordinator.connect())
        slow.sendall(
            f"PUT /v1/uploads/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {slow_worker.session}\r\nFedcore-Base: {open_round}\r\n"
            "Content-Length: 2000000\r\n\r\nx".encode()
        )
        stranger = Worker(coordinator, 5)
        with pytest.raises(xmlrpc.client.Fault, match="busy: index 5 is outside"):
            stranger.register(token=TOKEN, index=5)
        assert coordinator.progress()["registered"] == 2
        assert prompt.deliver(1, open_round, save(model(1.0))) == "accepted"
        assert slow_worker.rpc.fedcore.status(slow_worker.session)["round"] == 1

        assert status_of(slow) == 408  # after the ten seconds in which a body may find its pace
        assert prompt.rpc.fedcore.status(prompt.session)["accepted"] == 1
        assert slow_worker.deliver(1, open_round, save(model(1.0))) == "accepted"
        assert_closed(coordinator)
        assert {status_of(sock) for sock in idle} == {408}
