"""A worker that shows its metrics, as a process of its own."""

from __future__ import annotations

import json
import re

from fedcore.worker.metrics import CATALOGUE
from support.scraped import scrape_until


def start(spawn, task, **more):
    """Start a worker and return it with the address of its metrics."""
    process = spawn(task, FEDCORE_METRICS_PORT="0", FEDCORE_JOB="demo", **more)
    line = next(line for line in process.stderr if " metrics " in line)
    port = re.search(r"port=(\d+)", line)[1]
    return process, f"http://127.0.0.1:{port}"


def test_metrics_say_what_was_trained_sent_and_called(server, spawn):
    server.give(server.train(1))
    process, url = start(spawn, "Toy")
    seen = scrape_until(url, lambda seen: seen.value("fedcore_worker_tasks_total", result="submitted"))
    seen.assert_as_catalogued(CATALOGUE)
    seen.assert_clean()
    assert seen.value("fedcore_build_info", component="worker", federatedjob="demo") == 1
    assert (seen.value("fedcore_worker_train_seconds_count"), seen.value("fedcore_worker_train_loss")) == (1, 0.5)
    assert seen.value("fedcore_worker_local_epochs_total") == 1
    assert seen.value("fedcore_worker_connected") == 1
    seen = scrape_until(url, lambda seen: seen.value("fedcore_worker_rpc_attempts_total", method="submit", result="ok"))
    assert seen.value("fedcore_worker_payload_bytes_total", direction="received") == len(server.weights)
    assert seen.value("fedcore_worker_payload_bytes_total", direction="sent") == len(server.weights)
    called = seen.by("fedcore_worker_rpc_attempts_total", "method")
    assert (called["register"], called["get_weights"], called["put_upload"], called["submit"]) == (2, 1, 1, 1)
    server.stop_worker()
    assert process.wait(30) == 0


def test_nothing_is_known_before_the_first_task(server, spawn):
    _, url = start(spawn, "Toy")
    seen = scrape_until(url, lambda seen: seen.value("fedcore_worker_connected"))
    seen.assert_as_catalogued(CATALOGUE)
    assert seen.value("fedcore_worker_train_loss") is None
    assert seen.by("fedcore_worker_tasks_total", "result") == {"submitted": 0, "superseded": 0, "failed": 0}


def test_work_that_is_given_up_counts_as_far_as_it_came(server, spawn):
    server.give(server.train(1, work={"epochs": 4.0, "deadline_seconds": 60.0}))
    _, url = start(spawn, "HalfDone")
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    server.supersede(1)
    seen = scrape_until(url, lambda seen: seen.value("fedcore_worker_tasks_total", result="superseded"))
    assert seen.value("fedcore_worker_local_epochs_total") == 2
    assert seen.value("fedcore_worker_train_seconds_count") == 0


def test_session_that_is_lost_and_answers_that_are_none_are_seen(server, spawn):
    _, url = start(spawn, "Toy")
    scrape_until(url, lambda seen: seen.value("fedcore_worker_connected"))
    server.forget_sessions()
    scrape_until(url, lambda seen: seen.value("fedcore_worker_rpc_attempts_total", method="next_task", result="failed"))
    scrape_until(url, lambda seen: seen.value("fedcore_worker_rpc_attempts_total", method="register", result="ok") == 3)
    server.stop()
    scrape_until(url, lambda seen: seen.value("fedcore_worker_rpc_attempts_total", result="retry"))


def test_port_in_use_is_said_at_once(server, spawn, tmp_path):
    _, url = start(spawn, "Toy")
    port = url.rpartition(":")[2]
    assert spawn("Toy", FEDCORE_METRICS_PORT=port).wait(30) == 2
    said = json.loads((tmp_path / "end.json").read_text())
    assert said["reason"] == "invalid"
    assert said["message"] == f"--metrics-port: {port} cannot be used: Address already in use"
