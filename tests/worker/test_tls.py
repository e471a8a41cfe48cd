"""A worker over TLS: whom it believes, what it says of others, and answers that come before their time."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
import safetensors.numpy

from fedcore.certificates import authority
from fedcore.worker.client import Client, Transient
from fedcore.worker.ending import EndWord
from support.tls import DAY, certificate_files

BODY = memoryview(os.urandom(3_000_000))


def stale(reason="round 2 is open"):
    return json.dumps({"result": "stale", "reason": reason}).encode()


def answer(status, body):
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body


@pytest.fixture
def peer(files):
    """Serve one TLS connection in a thread by a function of the test; returns the client's address and a client."""
    threads = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(function, context=None):
        def run():
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else an answer waits for the tickets' acknowledgement
            try:
                with (context or files.serving).wrap_socket(sock, server_side=True) as secured:
                    function(secured)
            except OSError:
                pass  # how the other side went is for the test to see

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        client = Client(f"https://localhost:{listener.getsockname()[1]}", files.ca)
        client.prepare()
        return client

    yield serve
    for thread in threads:
        thread.join(20)
    listener.close()


# -- a round ----------------------------------------------------------------------------------------------------------------------------


def test_a_round_over_tls(tls_server, files, start):
    tls_server.give(tls_server.train(1))
    run = start(tls_server.url, ca_file=files.ca)
    tls_server.wait_for(lambda: tls_server.of("fedcore.submit"))
    tls_server.stop_worker()
    assert run.end().exit_code == 0
    assert safetensors.numpy.load(tls_server.of("PUT")[0][2])["w"].tolist() == [1.0] * 4
    assert tls_server.server.handshakes <= 2  # the worker's and its pulse's: one each, not one a request


def test_a_download_that_breaks_off_goes_on_where_it_was(tls_server, files, start):
    tls_server.weights = safetensors.numpy.save({"w": np.zeros(100_000, np.float32)})
    tls_server.downloads.append(50_000)
    tls_server.give(tls_server.train(1))
    run = start(tls_server.url, ca_file=files.ca)
    tls_server.wait_for(lambda: tls_server.of("fedcore.submit"))
    assert [request[1] for request in tls_server.of("GET")] == [None, "bytes=50000-"]
    tls_server.stop_worker()
    run.end()


def test_a_worker_asked_to_stop_breaks_off_its_parked_call(tls_server, files, start):
    tls_server.heartbeat_seconds = 60.0
    run = start(tls_server.url, ca_file=files.ca)
    tls_server.wait_for(lambda: tls_server.of("fedcore.next_task"))
    run.stop()
    assert (run.end().exit_code, run.end().reason) == (0, EndWord.LEFT)


# -- trust ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, ": No such file or directory", id="missing"),
        pytest.param("", " holds no certificate in PEM", id="empty"),
        pytest.param("certificates", " holds no certificate in PEM", id="garbage"),
    ],
)
def test_a_ca_file_that_cannot_be_used_ends_it_at_once(tls_server, start, tmp_path, content, said):
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_text(content)
    ending = start(tls_server.url, ca_file=path).end()
    assert (ending.exit_code, ending.reason, ending.message) == (2, EndWord.INVALID, f"--ca-file: {path}{said}")
    assert tls_server.server.handshakes == 0


def spoil(kind, files):
    match kind:
        case "another authority":
            files.ca.write_bytes(authority("other", now=datetime.now(UTC), valid=DAY).certificate)
        case "another name":
            files.issue(dns_names=["elsewhere"], ip_addresses=["127.0.0.2"])
        case "expired":
            files.issue(made=datetime.now(UTC) - 2 * DAY)
        case "not yet":
            files.issue(made=datetime.now(UTC) + 2 * DAY)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        pytest.param("another authority", "is not trusted", id="another authority"),
        pytest.param("another name", "is for another name", id="another name"),
        pytest.param("expired", "has expired", id="expired"),
        pytest.param("not yet", "is not valid yet", id="not valid yet"),
    ],
)
def test_a_coordinator_that_is_not_believed_is_unreachable_and_it_is_said_why(tls_server, files, start, capsys, kind, said):
    spoil(kind, files)
    ending = start(tls_server.url, ca_file=files.ca, unreachable_seconds=0.3).end()
    assert (ending.exit_code, ending.reason) == (4, EndWord.UNREACHABLE)
    assert f"the coordinator's certificate {said}: " in ending.message
    assert f"checked against --ca-file {files.ca}" in ending.message
    assert not tls_server.calls
    assert said in capsys.readouterr().err


def test_without_a_ca_file_the_system_decides(tls_server, start):
    ending = start(tls_server.url, unreachable_seconds=0.1).end()
    assert "is not trusted" in ending.message
    assert "checked against the system's certificates" in ending.message


def test_an_authority_that_is_renewed_is_taken_up(tls_server, files, start):
    right = files.ca.read_bytes()
    spoil("another authority", files)
    run = start(tls_server.url, ca_file=files.ca)
    deadline = threading.Event()
    while tls_server.server.handshakes < 2:
        assert not deadline.wait(0.01)
    files.ca.write_bytes(right)
    tls_server.stop_worker()
    assert run.end().exit_code == 0


def test_an_authority_whose_file_is_away_for_a_moment_is_waited_for(tls_server, files, start, capsys):
    right = files.ca.read_bytes()
    spoil("another authority", files)
    run = start(tls_server.url, ca_file=files.ca)
    while not tls_server.server.handshakes:
        threading.Event().wait(0.01)
    files.ca.unlink()
    while "No such file" not in capsys.readouterr().err:
        threading.Event().wait(0.01)
    files.ca.write_bytes(right)
    tls_server.stop_worker()
    assert run.end().exit_code == 0


def test_a_port_without_tls_is_named(server, start):
    ending = start(server.url.replace("http", "https"), unreachable_seconds=0.1).end()
    assert (ending.exit_code, ending.reason) == (4, EndWord.UNREACHABLE)
    assert "no TLS is spoken there" in ending.message


# -- answers before the end of a body -----------------------------------------------------------------------------------------------------


def drain(sock, size):
    while size > 0 and (data := sock.recv(65536)):
        size -= len(data)
    return size


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_tickets_are_no_answer(peer, files, version):
    """The first request of a connection is the upload: its tickets are still unread."""
    context = files.serving
    context.maximum_version = version
    left = []

    def function(sock):
        head = sock.recv(65536)
        left.append(drain(sock, BODY.nbytes - len(head.partition(b"\r\n\r\n")[2])))
        sock.sendall(answer(201, b'{"upload": "u1"}'))

    uploaded = peer(function, context).upload(1, "base", BODY, "session")
    assert (uploaded.status, uploaded.reply.upload, left) == (201, "u1", [0])
    assert uploaded.whole


@pytest.mark.parametrize(("status", "size"), [(409, 100), (413, 100), (422, 100), (422, 100_000)])
def test_an_early_answer_stops_the_body_and_is_read(peer, status, size):
    """The other side reads no byte of the body: sent to its end, it would never get there."""
    whole = memoryview(bytes(64 * 2**20))
    done = threading.Event()

    def function(sock):
        sock.recv(1)
        sock.sendall(answer(status, stale("x" * size)))
        done.wait(20)

    client = peer(function)
    uploaded = client.upload(1, "base", whole, "session")
    done.set()
    assert (uploaded.status, uploaded.whole, uploaded.reply.reason) == (status, False, "x" * size)
    assert client._connection().sock is None  # the rest of the body is still owed on it


def test_an_early_answer_is_not_lost_when_the_connection_breaks_behind_it(peer):
    def function(sock):
        sock.recv(1)
        sock.sendall(answer(409, stale()))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # closed with a reset

    try:
        uploaded = peer(function).upload(1, "base", memoryview(bytes(64 * 2**20)), "session")
    except Transient as error:
        pytest.fail(f"the answer was lost: {error}")
    assert (uploaded.status, uploaded.whole) == (409, False)


def test_a_connection_that_ends_in_mid_body_is_tried_again(peer):
    client = peer(lambda sock: sock.recv(1))
    with pytest.raises(Transient):
        client.upload(1, "base", memoryview(bytes(64 * 2**20)), "session")


def test_an_early_answer_leaves_nothing_behind_for_the_next(peer):
    def refuse(sock):
        sock.recv(1)
        sock.sendall(answer(409, stale()))
        drain(sock, 2**40)

    def accept(sock):
        head = sock.recv(65536)
        drain(sock, BODY.nbytes - len(head.partition(b"\r\n\r\n")[2]))
        sock.sendall(answer(201, b'{"upload": "u2"}'))

    client = peer(refuse)
    assert client.upload(1, "base", memoryview(bytes(64 * 2**20)), "session").status == 409
    peer(accept)
    assert client.upload(1, "base", BODY, "session").reply.upload == "u2"


def test_files_of_one_folder_do_not_trust_another(tmp_path):
    assert certificate_files(tmp_path / "a").ca.read_bytes() != certificate_files(tmp_path / "b").ca.read_bytes()
