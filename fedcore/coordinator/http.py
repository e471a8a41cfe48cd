"""The server: listens, gives every connection a coroutine, and routes what comes.

One thread's loop holds all connections, so a thousand parked polls are a thousand suspended coroutines; bodies of the data plane go to a
small pool with their socket. The reasons, measured, stand in docs/decisions/server-model.md. The server knows nothing of rounds: that is
the application's part (`App`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fedcore.coordinator.app import App, BodyRefused, Page, Refusal, Route, Routes, UploadSink, WeightsFile
from fedcore.coordinator.bodies import Incomplete, SlowReader, Stalled
from fedcore.coordinator.connection import Connection, NotTls
from fedcore.coordinator.head import HeadReader, HttpRefusal, json_refusal
from fedcore.coordinator.limits import Limits, Pace
from fedcore.coordinator.listening import ANY_IPV4, listen
from fedcore.coordinator.rpc import RpcEndpoint
from fedcore.coordinator.transfers import TransferEndpoint
from fedcore.wire.protocol import RPC_PATH, uploads_path, weights_path

if TYPE_CHECKING:
    from fedcore.coordinator.head import Head

__all__ = ["App", "BodyRefused", "Limits", "Pace", "Page", "Refusal", "Route", "Routes", "Server", "UploadSink", "WeightsFile"]

UPLOADS = re.compile(re.escape(uploads_path(0))[:-1] + "([0-9]{1,9})")
WEIGHTS = re.compile(re.escape(weights_path(0))[:-1] + "([0-9]{1,9})")
ACCEPT_AT_ONCE = 64
NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
RETRY_ACCEPT_SECONDS = 0.1

logger = logging.getLogger(__name__)


class Server:
    """One listening address. Made and used in the loop's thread.

    Parameters
    ----------
    host : str
        Name or address, IPv4 or IPv6; empty for all interfaces.
    port : int
        0 takes a free one, which `port` then tells.
    app : App, optional
        Answers ``/RPC2`` and the data plane; None for a server of routes alone.
    limits : Limits, optional
        What clients may cost.
    routes : mapping, optional
        Further paths for GET.
    tls : ssl.SSLContext, optional
        What to serve under; None for plain text.

    Attributes
    ----------
    tls : ssl.SSLContext or None
        Taken by each connection at its start, so that another certificate may be put here while the server runs.
    """

    def __init__(
        self,
        host: str,
        port: int,
        app: App | None = None,
        limits: Limits | None = None,
        routes: Routes | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self._app = app
        self._limits = limits or Limits()
        self._routes = dict(routes or {})
        self._most = self._limits.connections
        self._listeners: list[socket.socket] = []
        self._tasks: dict[asyncio.Task[None], Connection] = {}
        self._busy: set[Connection] = set()
        self._resting: dict[Connection, asyncio.Task[None]] = {}
        self._closing = False
        self._paused = False
        if app is not None:
            self._pool = ThreadPoolExecutor(self._limits.upload_slots + self._limits.download_slots, thread_name_prefix="body")
            self._rpc = RpcEndpoint(app, self._limits)
            self._transfers = TransferEndpoint(app, self._limits, self._pool)

    @property
    def url(self) -> str:
        """Where clients on this machine find the server."""
        host = self.host or "127.0.0.1"
        host = {ANY_IPV4: "127.0.0.1", "::": "::1"}.get(host, host)
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._tasks)

    async def start(self) -> None:
        """Listen, from now on.

        Raises
        ------
        OSError
            The address cannot be used; its text says which and why.
        """
        self._listeners = listen(self.host, self.port, self._limits.backlog)
        self.port = self._listeners[0].getsockname()[1]
        self._accepting(on=True)

    async def close(self, drain_seconds: float = 0.0) -> None:
        """Stop listening, let requests in progress end within ``drain_seconds``, then cut all connections."""
        self._closing = True
        self._accepting(on=False)
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        for connection in set(self._tasks.values()) - self._busy:
            connection.abort()
        if self._tasks and drain_seconds > 0:
            await asyncio.wait(self._tasks, timeout=drain_seconds)
        for connection in self._tasks.values():
            connection.abort()
        while self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=1.0)
            for task in stuck:
                task.cancel("the server closes")
        if self._app is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    def _accepting(self, *, on: bool) -> None:
        self._paused = not on
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if on:
                loop.add_reader(listener, self._accept, listener)
            else:
                loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPT_AT_ONCE):
            if len(self._tasks) >= self._most and not self._evict():
                # The backlog holds the others until a connection ends.
                self._accepting(on=False)
                return
            try:
                sock, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in NO_DESCRIPTORS:
                    raise
                self._evict()
                self._accepting(on=False)
                loop.call_later(RETRY_ACCEPT_SECONDS, self._resume)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, f"{address[0]}:{address[1]}", loop)
            task = loop.create_task(self._converse(connection))
            self._tasks[task] = connection
            self._resting[connection] = task
            task.add_done_callback(self._ended)
            if len(self._resting) > self._limits.idle_strangers:
                self._evict()

    def _evict(self) -> bool:
        """Drop the connection that has rested longest among those without a credential."""
        victim = next(iter(self._resting), None)
        if victim is None:
            return False
        self._resting.pop(victim).cancel("made room")
        return True

    def _resume(self) -> None:
        if self._paused and not self._closing:
            self._accepting(on=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        connection = self._tasks.pop(task)
        self._resting.pop(connection, None)
        self._busy.discard(connection)
        connection.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("connection_failed peer=%s", connection.peer, exc_info=error)
        self._resume()

    async def _converse(self, connection: Connection) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.head_seconds
        with contextlib.suppress(Stalled, Incomplete):
            if self.tls is not None and not await self._secured(connection, self.tls, deadline):
                return
            while not self._closing and await self._request(connection, deadline):
                deadline = clock() + (self._limits.idle_seconds if connection.known else self._limits.head_seconds)

    async def _secured(self, connection: Connection, tls: ssl.SSLContext, deadline: float) -> bool:
        """Shake hands; the connection stays one that may be dropped. Return whether requests may follow."""
        try:
            return await connection.secure(tls, deadline)
        except NotTls:
            refusal = HttpRefusal(400, "this port speaks TLS only, ask with https://", reason="certificate")
            await self._refuse(connection, None, refusal)
        except ssl.SSLError:
            self._count("certificate")
        except Stalled:
            self._count("stalled")
        except Incomplete:
            self._count("incomplete")
        return False

    async def _request(self, connection: Connection, deadline: float) -> bool:
        """Take one request, whose head begins by ``deadline``. Return whether another may follow."""
        head: Head | None = None
        try:
            head = await self._head(connection, deadline)
            if head is None:
                return False
            self._busy.add(connection)
            await self._route(connection, head)
        except HttpRefusal as refusal:
            await self._refuse(connection, head, refusal)
            return not refusal.close and head is not None and head.keep_alive
        except SlowReader:
            self._count("stalled")
            raise
        except Stalled as stalled:
            await self._refuse(connection, head, HttpRefusal(408, f"too slow: {stalled}", reason="stalled"))
            return False
        except Incomplete:
            self._count("incomplete")
            raise
        except Exception:
            logger.exception("request_failed peer=%s", connection.peer)
            await self._refuse(connection, head, HttpRefusal(500, "the server failed, see its log"))
            return False
        finally:
            self._busy.discard(connection)
        return head.keep_alive

    async def _head(self, connection: Connection, deadline: float) -> Head | None:
        """Wait for the next request. Return None when there is none: the client has gone, or has been silent for too long."""
        loop = asyncio.get_running_loop()
        self._rest(connection)
        reader: HeadReader | None = None
        try:
            while data := await connection.read(self._limits.head_bytes, deadline):
                if reader is None:
                    reader = HeadReader(self._limits.head_bytes)
                    deadline = min(deadline, loop.time() + self._limits.head_seconds)
                if (head := reader.feed(data)) is not None:
                    connection.put_back(reader.rest)
                    return head
        except Stalled:
            if reader is not None:
                raise
        finally:
            self._resting.pop(connection, None)
        return None

    def _rest(self, connection: Connection) -> None:
        """Let a stranger's connection be dropped when room is needed: it waits for a head, a call's body, or the end of a refused one."""
        if not connection.known and (task := asyncio.current_task()) is not None:
            self._resting.setdefault(connection, task)

    async def _route(self, connection: Connection, head: Head) -> None:
        path, method = head.path, head.method
        if self._app is not None:
            if path == RPC_PATH:
                _require(head, "POST")
                self._rest(connection)
                return await self._rpc.serve(connection, head, lambda: self._resting.pop(connection, None))
            if found := UPLOADS.fullmatch(path):
                _require(head, "PUT")
                return await self._transfers.put(connection, head, int(found[1]))
            if found := WEIGHTS.fullmatch(path):
                _require(head, "GET", "HEAD")
                return await self._transfers.get(connection, head, int(found[1]))
        unread = bool(head.length)
        route = self._routes.get(path)
        if route is None:
            raise HttpRefusal(404, f"nothing at {path[:80]}", close=unread, body=json_refusal("not_found", f"nothing at {path[:80]}"))
        _require(head, "GET", "HEAD")
        if unread:
            raise HttpRefusal(400, "a GET has no body")
        page = await route(head.headers)
        body = page.body if method == "GET" else b""
        pace = self._limits.pace
        await connection.answer(page.status, page.content_type, body, keep_alive=head.keep_alive, pace=pace, headers=page.headers)
        if page.answered is not None and method == "GET":
            page.answered()
        return None

    async def _refuse(self, connection: Connection, head: Head | None, refusal: HttpRefusal) -> None:
        self._count(refusal.reason)
        body = b"" if head is not None and head.method == "HEAD" else refusal.body
        keep_alive = not refusal.close and head is not None and head.keep_alive
        pace = self._limits.pace
        await connection.answer(refusal.status, refusal.content_type, body, keep_alive=keep_alive, pace=pace, headers=refusal.headers)
        if refusal.close:
            self._rest(connection)
            await connection.linger(self._limits)

    def _count(self, reason: str) -> None:
        if reason and self._app is not None:
            self._app.refused(reason)


def _require(head: Head, *methods: str) -> None:
    if head.method not in methods:
        raise HttpRefusal(405, f"{head.method[:20]} is not allowed here", close=bool(head.length), headers={"Allow": ", ".join(methods)})
