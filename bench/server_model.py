"""Which server model carries a thousand parked polls and large bodies at once? Run as ``python -m bench.server_model``.

Three servers answer the same clients: a thread per connection (`http.server`), asyncio streams alone, and FedCore's own (one loop, bodies
in a small pool). The first two are sketches without limits. All do with each piece of an upload what the coordinator does: checksum, a look
at every value, a write to a spool file. In each round four client processes fetch the model and send as many bytes back, while a thousand
polls stay parked and a prober makes small calls. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import platform
import resource
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.server_sketches import SERVERS, SESSION
from fedcore.wire.xmlrpc import encode_call, parse_response

PIECE = 256 * 1024
WORKERS, POLLS = 4, 1000
POLL = encode_call("fedcore.next_task", [SESSION, 60.0])
POLL_HEAD = b"POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(POLL)
STATUS = encode_call("fedcore.status", [SESSION])
HEADERS = {"Authorization": f"Bearer {SESSION}", "Fedcore-Base": "b"}
SPAWN, FORK = multiprocessing.get_context("spawn"), multiprocessing.get_context("fork")


def work(port: int, size: int, rounds: int, barrier: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body, buffer = memoryview(bytes(size)), memoryview(bytearray(PIECE))
    for _ in range(rounds):
        barrier.wait()
        connection.request("GET", "/v1/weights/1", headers=HEADERS)
        answer = connection.getresponse()
        got = 0
        while count := answer.readinto(buffer):
            got += count
        assert got == size
        connection.request("PUT", "/v1/uploads/1", body=body, headers=HEADERS)
        assert connection.getresponse().read()
        barrier.wait()


def call(connection: http.client.HTTPConnection) -> dict[str, Any]:
    connection.request("POST", "/RPC2", body=STATUS)
    return dict(parse_response(connection.getresponse().read()))


def probe(port: int, polls: int, probing: Any, report: Any) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(polls):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(POLL_HEAD + POLL)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        call(connection)
        report.send("parked")
        probing.wait()
        delays = []
        while probing.is_set():
            started = time.perf_counter()
            call(connection)
            delays.append(time.perf_counter() - started)
            time.sleep(0.005)
        report.send(sorted(delays))


def measure(mode: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Start one server with its clients, and time rounds."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(1000) * (size // 1000))
        file.flush()
        ready, ready_end = SPAWN.Pipe()
        report, report_end = SPAWN.Pipe()
        probing, barrier = SPAWN.Event(), SPAWN.Barrier(WORKERS + 1)
        server = SPAWN.Process(target=SERVERS[mode], args=(Path(file.name), ready_end))
        server.start()
        port = ready.recv()
        prober = FORK.Process(target=probe, args=(port, POLLS, probing, report_end))
        workers = [FORK.Process(target=work, args=(port, size, options.rounds + 1, barrier)) for _ in range(WORKERS)]
        for process in (prober, *workers):
            process.start()
        report.recv()
        meter = http.client.HTTPConnection("127.0.0.1", port)
        seconds: list[float] = []
        before: dict[str, Any] = {}
        for number in range(options.rounds + 1):
            if number == 1:  # the first one warms up
                before = call(meter)
                probing.set()
            barrier.wait()
            started = time.perf_counter()
            barrier.wait()
            seconds.append(time.perf_counter() - started)
        after = call(meter)
        probing.clear()
        delays = report.recv()
        server.terminate()
        for process in (server, prober, *workers):
            process.join()
    return {
        "round_s": statistics.median(seconds[1:]),
        "server_cpu_s_per_round": (after["cpu_s"] - before["cpu_s"]) / options.rounds,
        "server_peak_mb": after["peak_mb"],
        "threads": after["threads"],
        "call_ms": statistics.median(delays) * 1e3,
        "call_p99_ms": delays[int(len(delays) * 0.99)] * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    results: dict[str, dict[str, list[float]]] = {}
    for mb in options.mb:
        for _ in range(options.repeats):
            for mode in SERVERS:
                found = measure(mode, mb * 10**6, options)
                for key, value in found.items():
                    results.setdefault(f"{mode} {mb} MB", {}).setdefault(key, []).append(round(value, 4))
                print(f"{mode:8} {mb:4} MB", {key: round(value, 3) for key, value in found.items()}, file=sys.stderr)
    medians = {name: {key: statistics.median(values) for key, values in row.items()} for name, row in results.items()}
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}
    print(json.dumps({"medians": medians, "repeats": results, "options": vars(options), **machine}))


if __name__ == "__main__":
    main()
