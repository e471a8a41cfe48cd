"""What TLS adds to the server: handshakes that fail, hang or never come, ends of streams, and certificates that are bad or change.

That everything else is the same over TLS, test_http shows by running twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fedcore.coordinator.http import Limits
from fedcore.coordinator.tls import BadCertificate, Certificate
from fedcore.wire.xmlrpc import encode_call, parse_response
from support import http_app
from support.tls import DAY, certificate_files

SESSION = http_app.SESSION
STATUS = encode_call("fedcore.status", [SESSION])
POLL = encode_call("fedcore.next_task", [SESSION, 60.0])
PUT = {"Authorization": f"Bearer {SESSION}", "Fedcore-Base": "b"}


@pytest.fixture
def files(tmp_path):
    return certificate_files(tmp_path / "tls")


@pytest.fixture
def serve(files):
    with contextlib.ExitStack() as stack:

        def start(**limits):
            running = http_app.Running(Limits(**limits), files=files)
            stack.callback(running.close)
            return running

        yield start


@pytest.fixture
def running(serve):
    return serve()


def hello(files):
    """Return the bytes of a client's first flight."""
    outgoing = ssl.MemoryBIO()
    client = files.asking().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def works(running):
    with running.connect() as client:
        client.request("POST", "/RPC2", STATUS)
        return parse_response(client.answer()[2]) == {"params": 1}


# -- handshakes -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_these_versions_are_spoken(running, files, version):
    with files.asking(newest=version).wrap_socket(running.reach(), server_hostname="localhost") as sock:
        assert sock.version() == version.name.replace("_", ".")
        assert sock.compression() is None


def test_older_versions_are_refused_and_counted(running, files):
    with running.reach() as sock, pytest.raises(ssl.SSLError) as raised:
        files.asking(newest=ssl.TLSVersion.TLSv1_1).wrap_socket(sock, server_hostname="localhost")
    assert raised.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    running.until(lambda: running.app.refusals == ["certificate"])
    assert works(running)


def test_a_client_that_does_not_trust_is_counted(running):
    with running.reach() as sock, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    running.until(lambda: running.app.refusals == ["certificate"])


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(STATUS) + STATUS, id="a call"),
        pytest.param(b"PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + bytes(10_000), id="an upload"),
        pytest.param(b"\x00\x01\x02", id="noise"),
    ],
)
def test_plain_text_is_told_what_is_spoken_here_and_closed(running, caplog, capsys, sent):
    with http_app.Client(running.reach()) as client:
        client.send(sent)
        status, headers, body = client.answer()
        assert (status, headers["connection"]) == (400, "close")
        assert "https://" in json.loads(body)["reason"]
        assert client.closed()
    assert running.app.refusals == ["certificate"]
    assert running.app.calls == []
    assert works(running)
    assert "Traceback" not in caplog.text + capsys.readouterr().err


def test_noise_after_the_first_byte_is_counted_and_closed(running, caplog):
    with http_app.Client(running.reach()) as client:
        client.send(b"\x16\x03\x01" + struct.pack(">H", 200) + os.urandom(200))
        with contextlib.suppress(ConnectionError):
            client.file.read()
        running.until(lambda: running.app.refusals == ["certificate"])
        running.until(lambda: running.server.connections == 0)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("part", "counted"),
    [pytest.param(0, [], id="a probe that says nothing"), pytest.param(50, ["incomplete"], id="half a greeting")],
)
def test_a_client_that_goes_away_during_the_handshake_costs_nothing(running, files, caplog, part, counted):
    with running.reach() as sock:
        sock.sendall(hello(files)[:part])
    running.until(lambda: running.server.connections == 0 and running.app.refusals == counted)
    assert works(running)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("part", "counted"),
    [
        pytest.param(slice(0, 0), [], id="nothing"),
        pytest.param(slice(0, 50), ["stalled"], id="half a greeting"),
        pytest.param(slice(None), ["stalled"], id="a greeting and no more"),
    ],
)
def test_a_handshake_that_does_not_go_on_ends_like_a_slow_head(serve, files, part, counted):
    running = serve(head_seconds=0.2)
    with http_app.Client(running.reach()) as client:
        client.send(hello(files)[part])
        client.file.read()  # until it is closed
        running.until(lambda: running.app.refusals == counted)


@pytest.mark.parametrize("part", [pytest.param(0, id="silent"), pytest.param(50, id="half-way through the handshake")])
def test_strangers_in_a_handshake_make_room(serve, files, part):
    running = serve(max_connections=32, head_seconds=60.0)
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(running.connect())
        worker.request("POST", "/RPC2", STATUS)
        worker.answer()
        greeting = hello(files)[:part]
        for _ in range(100):
            stranger = stack.enter_context(running.reach())
            with contextlib.suppress(ConnectionError):
                stranger.sendall(greeting)
        newcomer = stack.enter_context(running.connect())
        for client in (worker, newcomer):
            client.request("POST", "/RPC2", STATUS)
            assert client.answer()[0] == 200
        running.until(lambda: running.server.connections <= 32)


def test_handshakes_that_hang_do_not_hold_up_the_end(files):
    running = http_app.Running(Limits(), files=files)
    with running.reach() as silent, running.reach() as half:
        half.sendall(hello(files)[:50])
        running.until(lambda: running.server.connections == 2)
        running.close()
        assert silent.recv(1) == b""


# -- streams and their ends -------------------------------------------------------------------------------------------------------------


def test_an_unknown_session_is_refused_with_the_body_unread(running):
    with running.connect() as client:
        client.request("PUT", "/v1/uploads/3", Authorization="Bearer guess", Fedcore_Base="b", Content_Length=10_000_000)
        assert client.reason() == (401, "unauthorized")  # not one byte of the body was sent
    assert (running.app.pieces, running.app.refusals) == ([], ["unauthorized"])


@pytest.mark.parametrize("cut", [0, 1, 16_384, 16_385, 300_000, 999_999])
@pytest.mark.parametrize("farewell", [True, False], ids=["said", "cut"])
def test_a_body_cut_at_any_byte_is_discarded(running, caplog, cut, farewell):
    with running.connect() as client:
        client.request("PUT", "/v1/uploads/3", bytes(cut), **PUT, Content_Length=1_000_000)
        if farewell:
            with contextlib.suppress(OSError):
                client.sock.settimeout(0)
                client.sock.unwrap()
        socket.socket.shutdown(client.sock, socket.SHUT_RDWR)
        running.until(lambda: running.app.discarded == ["incomplete"] and running.app.refusals == ["incomplete"])
    assert works(running)
    assert "Traceback" not in caplog.text


def test_a_record_that_was_tampered_with_ends_the_body(running, caplog):
    with running.connect() as client:
        client.request("PUT", "/v1/uploads/3", bytes(300_000), **PUT, Content_Length=1_000_000)
        socket.socket.sendall(client.sock, b"\x17\x03\x03" + struct.pack(">H", 100) + bytes(100))
        running.until(lambda: running.app.discarded == ["incomplete"])
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("farewell", [True, False], ids=["said", "cut"])
def test_a_client_that_goes_away_while_parked_is_noticed(running, farewell):
    with running.connect() as client:
        client.request("POST", "/RPC2", POLL + b"early bytes of what comes next", Content_Length=len(POLL))
        running.until(lambda: running.app.parked == 1)
        if farewell:
            with contextlib.suppress(OSError):
                client.sock.settimeout(0)
                client.sock.unwrap()
        else:
            socket.socket.shutdown(client.sock, socket.SHUT_RDWR)
        running.until(lambda: running.app.cancelled == 1)


def test_what_was_decrypted_behind_a_body_is_not_forgotten(running):
    """The end of a body and further requests in one record: nothing more will make the socket readable."""
    put = b"PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nFedcore-Base: b\r\nAuthorization: Bearer s3ss10n\r\nContent-Length: 9000\r\n\r\n"
    call = b"POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(STATUS)
    with running.connect() as client:
        client.send(put)
        client.send(bytes(9000) + call)
        client.send(STATUS + call + STATUS)
        assert [client.answer()[0] for _ in range(3)] == [201, 200, 200]


def test_an_answer_that_ends_the_connection_says_so_in_tls_too(running, files):
    context = files.asking()
    with context.wrap_socket(running.reach(), server_hostname="localhost", suppress_ragged_eofs=False) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = b""
        while data := sock.recv(1000):  # an end without a farewell would raise
            got += data
    assert got.endswith(b"ok\n")


def test_cutting_a_body_lets_no_ciphertext_pass_as_weights(files):
    """`ssl.SSLSocket.shutdown` would: from then on the bytes in the kernel are read as they are."""
    running = http_app.Running(Limits(), files=files)
    seen = bytearray()
    entered, go_on = threading.Event(), threading.Event()

    class Slow(http_app.Sink):
        def write(self, piece):
            seen.extend(piece)
            entered.set()
            go_on.wait(20)

    async def upload(*_):
        return Slow(running.app)

    running.app.upload = upload
    length = 256 * 1024 + 20_000
    with running.connect() as client:
        client.request("PUT", "/v1/uploads/3", bytes(length), **PUT)
        client.send(bytes(60_000))  # of what comes next: enough to be taken for the rest of the body
        entered.wait(20)
        for connection in running.server._tasks.values():
            connection.abort()
        go_on.set()
        running.until(lambda: running.server.connections == 0)
        running.close()
    assert seen == bytes(len(seen))


# -- the files --------------------------------------------------------------------------------------------------------------------------


def bad(kind, files):
    match kind:
        case "no certificate":
            files.cert.unlink()
        case "no key":
            files.key.unlink()
        case "a folder":
            files.cert.unlink()
            files.cert.mkdir()
        case "garbage":
            files.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "an empty key":
            files.key.write_bytes(b"")
        case "another's key":
            own = files.cert.read_bytes()
            files.issue()
            files.cert.write_bytes(own)
        case "encrypted":
            key = load_pem_private_key(files.key.read_bytes(), None)
            files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        case "expired":
            files.issue(made=datetime.now(UTC) - 2 * DAY)
        case "a broken chain":
            files.cert.write_bytes(files.cert.read_bytes() + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "too small":
            write_small_rsa(files)


def write_small_rsa(files):
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + DAY)
    files.cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


BAD = [
    ("no certificate", "--tls-cert: {cert}: No such file or directory"),
    ("no key", "--tls-key: {key}: No such file or directory"),
    ("a folder", "--tls-cert: {cert}: Is a directory"),
    ("garbage", "--tls-cert: {cert} holds no certificate in PEM"),
    ("an empty key", "--tls-key: {key} holds no private key in PEM"),
    ("another's key", "--tls-key: {key} does not belong to the certificate"),
    ("encrypted", "--tls-key: {key} is encrypted; a key without a passphrase is needed"),
    ("expired", "--tls-cert: {cert} expired on "),
    ("a broken chain", "--tls-cert: {cert} with --tls-key {key} cannot be used: "),
    ("too small", "--tls-cert: {cert} with --tls-key {key} cannot be used: "),
]


@pytest.mark.parametrize(("kind", "said"), BAD, ids=[kind for kind, _ in BAD])
def test_files_that_cannot_be_used_are_named(files, kind, said):
    bad(kind, files)
    with pytest.raises(BadCertificate) as raised:
        Certificate(files.cert, files.key)
    assert str(raised.value).startswith(said.format(cert=files.cert, key=files.key))


def test_renewed_files_are_taken_and_broken_ones_are_named_once(files, capsys):
    certificate = Certificate(files.cert, files.key)
    first = certificate.context
    assert not certificate.renewed()
    own = files.cert.read_bytes(), files.key.read_bytes()
    bad("another's key", files)
    assert not certificate.renewed()
    assert not certificate.renewed()
    assert certificate.context is first
    assert capsys.readouterr().err.count("certificate_ignored") == 1
    files.cert.write_bytes(own[0])
    files.key.write_bytes(own[1])
    assert certificate.renewed()
    assert certificate.context is not first


def test_a_renewed_certificate_serves_newcomers_and_leaves_the_others_alone(running, files):
    def serial():
        with files.asking().wrap_socket(running.reach(), server_hostname="localhost") as sock:
            return sock.getpeercert()["serialNumber"]

    with running.connect() as before:
        first = serial()
        running.server.tls = Certificate(files.issue().cert, files.key).context
        assert serial() != first
        before.request("POST", "/RPC2", STATUS)
        assert before.answer()[0] == 200
