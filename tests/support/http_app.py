"""A small application behind the real server, which runs in a thread of its own, so that tests speak to it as clients do."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import socket
import ssl
import threading
import time

from fedcore.coordinator.http import BodyRefused, Page, Refusal, Server, WeightsFile
from fedcore.coordinator.tls import Certificate
from fedcore.wire.protocol import FaultCode, UploadReply
from fedcore.wire.xmlrpc import RpcFault

TOKEN = "job-token"
SESSION = "s3ss10n"
OTHERS = [f"s3ss10n-{number}" for number in range(1, 10)]


class Sink:
    def __init__(self, app):
        self.app = app
        self.size = 0

    def room(self, size):
        return None

    def write(self, piece):
        if self.app.spoil:
            raise BodyRefused(Refusal(422, UploadReply(result="rejected", reason="layout: wrong")))
        self.size += len(piece)
        self.app.pieces.append(len(piece))

    async def finish(self, sum64):
        return 201, UploadReply(upload="u1", bytes=self.size, sum64=sum64)

    def discard(self, reason):
        self.app.discarded.append(reason)


class App:
    """Echoes, parks, fails, takes uploads; notes what it was told."""

    def __init__(self):
        self.refusals = []
        self.answers = []
        self.seconds = []
        self.discarded = []
        self.pieces = []
        self.parked = 0
        self.cancelled = 0
        self.heards = 0
        self.bytes_sent = 0
        self.calls = []
        self.spoil = False
        self.upload_answer = None
        self.weights_path = None
        self.release = asyncio.Event()

    async def rpc(self, method, params, waiting):
        self.calls.append((method, params))
        match method:
            case "fedcore.register":
                return {"session": SESSION}
            case "fedcore.next_task":
                self.parked += 1
                try:
                    with waiting():
                        await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
                finally:
                    self.parked -= 1
                return {"kind": "wait"}
            case "fedcore.leave":
                raise RuntimeError("a bug")
            case "fedcore.weights":
                return bytes(params[1])
        if not self.authenticate(params[0]):
            raise RpcFault(FaultCode.UNKNOWN_SESSION, "register again")
        return {"params": len(params)}

    async def upload(self, session, round_number, base, length, announced):
        return self.upload_answer or Sink(self)

    async def weights(self, session, version):
        if version != 7:
            return Refusal(404, UploadReply(result="refused", reason="not kept"))
        return WeightsFile(self.weights_path, "abc")

    def authenticate(self, session):
        return session == SESSION or session in OTHERS

    def check_token(self, token):
        return hmac.compare_digest(token.encode(), TOKEN.encode())

    def heard(self, session):
        self.heards += 1

    def sent(self, size_bytes):
        self.bytes_sent += size_bytes

    def answered(self, method, code, seconds):
        self.answers.append((method, code))
        self.seconds.append(seconds)

    def refused(self, reason):
        self.refusals.append(reason)


async def healthz(headers):
    return Page("text/plain", b"ok\n")


class Running:
    """A server in a thread, and the ways to speak to it. With ``files`` of certificates it speaks TLS."""

    def __init__(self, limits, host="127.0.0.1", files=None):
        self.app = App()
        self.asking = None if files is None else files.asking()
        tls = None if files is None else Certificate(files.cert, files.key).context
        self.loop = asyncio.new_event_loop()
        self.server = Server(host, 0, self.app, limits, routes={"/healthz": healthz}, tls=tls)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(self.server.start())
        self.port = self.server.port
        self.url = self.server.url

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def release(self):
        self.loop.call_soon_threadsafe(self.app.release.set)

    def close(self, drain_seconds=0.0):
        self.run(self.server.close(drain_seconds))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def reach(self):
        """Connect, and no more."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def connect(self):
        sock = self.reach()
        return Client(sock if self.asking is None else self.asking.wrap_socket(sock, server_hostname="localhost"))

    def until(self, condition):
        """Wait for something the server does in its own time."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.005)


class Client:
    """A raw connection."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def flood(self, piece, count):
        """Send until it is over or the server has had enough."""
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            for _ in range(count):
                self.sock.sendall(piece)

    def request(self, method, path, body=b"", **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        if body and "Content_Length" not in headers:
            headers["Content_Length"] = len(body)
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def answer(self, *, head_only=False):
        """Return status, headers, body."""
        line = self.file.readline()
        if not line:
            return None
        status = int(line.split()[1])
        headers = {}
        while (line := self.file.readline().rstrip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        body = b"" if head_only or status == 100 else self.file.read(int(headers["content-length"]))
        return status, headers, body

    def reason(self):
        status, _, body = self.answer()
        return status, json.loads(body)["reason"].partition(":")[0]

    def answered(self):
        """Whether an answer has begun; over TLS that is more than that bytes have come."""
        self.sock.setblocking(False)
        try:
            return bool(self.file.peek(1))
        except ssl.SSLWantReadError:
            return False
        finally:
            self.sock.settimeout(20)

    def closed(self):
        return self.file.read(1) == b""
