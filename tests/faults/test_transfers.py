"""Transfers that break: cut at any byte, stalled, not read. Nothing is counted, nothing leaks, the round goes on."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from fedcore.coordinator.limits import Limits
from support.coordinator import Worker, model, start_coordinator, stop_coordinator

pytestmark = pytest.mark.timeout(100)
PIECE = 256 * 1024
LARGE_VALUES = 8_000_000
"""32 MB: more than both ends' socket buffers hold."""


@pytest.fixture
def opened(tmp_path):
    """A coordinator whose first round is open, its two workers, and the base."""
    coordinator = start_coordinator(tmp_path)
    workers = [Worker(coordinator, index).register() for index in range(2)]

    def open_round(values):
        first = workers[0].task()
        assert first["kind"] == "init"
        body = safetensors.numpy.save(model(values=values))
        assert workers[0].deliver(0, "", body) == "accepted"
        task = workers[0].task()
        assert (task["kind"], task["round"], workers[1].task()["round"]) == ("train", 1, 1)
        return coordinator, workers, task["base"], body

    yield open_round
    stop_coordinator(coordinator)


def upload_head(worker, base, length):
    lines = ["PUT /v1/uploads/1 HTTP/1.1", "Host: a", f"Authorization: Bearer {worker.session}", f"Fedcore-Base: {base['id']}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def sockets(coordinator):
    """Count the connections of the process."""
    places = []
    for place in Path(f"/proc/{coordinator.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            places.append(str(place.readlink()))
    return sum(place.startswith("socket:") for place in places)


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)  # between two looks


def finish(coordinator, workers, base, body):
    """Deliver the round as if nothing had been, and require that it closes with exactly these updates."""
    assert [worker.deliver(1, base["id"], body) for worker in workers] == ["accepted"] * 2
    wait_until(lambda: coordinator.events("round_closed"))
    assert coordinator.events("round_closed")[0]["accepted"] == 2
    assert {event["result"] for event in coordinator.events("update")} == {"accepted"}
    assert "Traceback" not in "".join(coordinator.log), "".join(coordinator.log)[-3000:]


def test_an_upload_cut_at_any_byte_counts_for_nothing(opened):
    coordinator, workers, base, body = opened(200_000)
    header = 8 + struct.unpack("<Q", body[:8])[0]
    edges = [0, 1, 7, 8, 9, header - 1, header, header + 1, header + 2, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5, len(body) - 1]
    random = np.random.default_rng(0).integers(0, len(body), 26).tolist()
    before = sockets(coordinator)
    for ending in (socket.SHUT_WR, None):  # an orderly end of the stream, and a reset
        for cut in (*edges, *random):
            with coordinator.connect() as sock:
                if ending is None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(upload_head(workers[0], base, len(body)) + body[:cut])
                if ending is not None:
                    sock.shutdown(ending)
                    with contextlib.suppress(ConnectionError):
                        assert b"201" not in sock.recv(1024)
    wait_until(lambda: sockets(coordinator) <= before)
    assert len(list((coordinator.run_dir / "spool").iterdir())) <= Limits().upload_slots + 1
    assert coordinator.progress()["accepted"] == 0
    finish(coordinator, workers, base, body)


def test_who_sends_a_byte_a_second_or_stops_reading_is_cut_off(opened):
    coordinator, workers, base, body = opened(LARGE_VALUES)
    before = sockets(coordinator)
    with coordinator.connect() as slow, coordinator.connect() as deaf:
        slow.sendall(upload_head(workers[0], base, len(body)) + body[:100])
        head = f"GET {base['href']} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {workers[1].session}\r\n\r\n"
        deaf.sendall(head.encode())
        assert deaf.recv(100).startswith(b"HTTP/1.1 200")
        slow.settimeout(1.0)
        told = b""
        for _ in range(40):
            with contextlib.suppress(TimeoutError):
                told = slow.recv(100)
                break
            slow.send(b"x")
        assert told.startswith(b"HTTP/1.1 408")
        wait_until(lambda: sockets(coordinator) <= before)
        deaf.settimeout(30)
        # The deaf one finds what the buffers held, and then the end in the middle of the weights.
        received = 0
        with contextlib.suppress(ConnectionError):
            while data := deaf.recv(PIECE):
                received += len(data)
        assert received < len(body)
    finish(coordinator, workers, base, body)
