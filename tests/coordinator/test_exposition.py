"""``/metrics`` of a real coordinator, with workers that are lines of a test."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import signal

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from safetensors.numpy import save

from fedcore.coordinator.metrics import CATALOGUE, METHOD_LABELS
from fedcore.engine.reasons import EXIT_CODE, EndReason, Rejection
from support.coordinator import Worker, model, start_coordinator, stop_coordinator, until
from support.scraped import scrape, scrape_until

JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {{name: demo}}
spec:
  rounds: 3
  task: {{entrypoint: "nobody:imports_it"}}
  workload: {{policy: fixed}}
  quorum: {{percent: 60, roundTimeoutSeconds: 100, graceSeconds: 0}}
  workers: {{replicas: 3}}
  metrics: {{lingerSeconds: {linger}, perWorker: {per_worker}}}
"""


@pytest.fixture
def start(tmp_path):
    """Start coordinators on one run directory, one after the other."""
    with contextlib.ExitStack() as stack:

        def start(linger=30, per_worker="auto"):
            made = start_coordinator(tmp_path, JOB.format(linger=linger, per_worker=per_worker))
            stack.callback(stop_coordinator, made)
            return made

        yield start


def url(coordinator):
    return f"http://127.0.0.1:{coordinator.metrics_port}"


def begin(coordinator):
    """Register three workers and have the first weights made; return them with the round's task."""
    workers = [Worker(coordinator, index).register() for index in range(3)]
    assert workers[0].task()["kind"] == "init"
    assert workers[0].deliver(0, "", save(model(values=1000))) == "accepted"
    return workers, workers[0].task()["base"]["id"]


def update(value=1.0):
    return save(model(value, values=1000))


def test_exposition_is_the_catalogue_from_the_first_moment_on(start):
    seen = scrape(url(start()))
    seen.assert_as_catalogued(CATALOGUE)
    seen.assert_clean()
    for name in ("fedcore_eval_accuracy_ratio", "fedcore_train_loss", "fedcore_last_round_accepted_updates", "fedcore_worker_up"):
        assert seen.value(name) is None  # what is not known is absent, not 0
    assert set(seen.by("fedcore_updates_rejected_total", "reason")) == set(Rejection)
    assert set(seen.by("fedcore_rpc_requests_total", "method")) == set(METHOD_LABELS)
    assert set(seen.by("fedcore_rpc_requests_total", "code")) == {"ok"}
    assert set(seen.by("fedcore_finished", "reason").values()) == {0}
    assert set(seen.by("fedcore_finished", "reason")) == set(EndReason) - {EndReason.COORDINATOR_FAILED, EndReason.INTERRUPTED}
    assert seen.one("fedcore_phase", "phase") == "Starting"
    assert seen.value("fedcore_build_info", component="coordinator", federatedjob="demo") == 1
    assert seen.value("fedcore_run_info", task="nobody:imports_it", workload="fixed", aggregation="fedavg", tls="false") == 1
    assert seen.value("process_resident_memory_bytes", federatedjob="demo") > 0


def ask(coordinator, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", coordinator.metrics_port, timeout=20)
    connection.request(method, "/metrics", headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_client_gets_the_format_that_it_asks_for(start):
    coordinator = start()
    plain, text = ask(coordinator)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"# TYPE fedcore_rounds_total counter" in text
    packed, body = ask(coordinator, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).splitlines()[:3] == text.splitlines()[:3]
    assert len(body) < len(text) / 4
    open_metrics, body = ask(coordinator, Accept="application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert open_metrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in parse_openmetrics(body.decode())} >= {"fedcore_rounds", "fedcore_phase"}
    assert ask(coordinator, "HEAD")[1] == b""
    odd, text = ask(coordinator, Accept="text/plain;version=new")
    assert (odd.status, odd.headers["Content-Type"]) == (200, plain.headers["Content-Type"])
    assert b"# TYPE fedcore_rounds_total counter" in text


def test_counters_say_what_the_workers_did(start):
    coordinator = start(linger=0)
    (first, second, third), base = begin(coordinator)
    for worker in (second, third):
        assert worker.task()["round"] == 1
    seen = scrape(url(coordinator))
    assert (seen.one("fedcore_phase", "phase"), seen.value("fedcore_current_round"), seen.value("fedcore_quorum_met")) == ("Running", 1, 1)
    assert seen.by("fedcore_workers", "state") == {"training": 3, "idle": 0, "lost": 0}
    status, _ = second.put(1, base, save(model(np.nan, values=1000)))
    assert status == 422
    assert second.deliver(1, base, update()) == "accepted"
    seen = scrape(url(coordinator))
    assert seen.by("fedcore_updates_rejected_total", "reason")["non_finite"] == 1
    assert (seen.value("fedcore_quorum_accepted_updates"), seen.value("fedcore_quorum_required_updates")) == (1, 2)
    assert first.deliver(1, base, update()) == "accepted"  # the quorum: the round closes without the third
    seen = scrape_until(url(coordinator), lambda seen: seen.value("fedcore_rounds_total", outcome="quorum"))
    assert third.put(1, base, update())[0] == 409
    seen = scrape_until(url(coordinator), lambda seen: seen.value("fedcore_updates_total", result="stale"))
    assert seen.by("fedcore_updates_total", "result") == {"accepted": 2, "duplicate": 0, "stale": 1, "rejected": 1}
    assert seen.by("fedcore_worker_round_trip_seconds_count", "result") == {"accepted": 2, "stale": 1, "superseded": 0}
    assert seen.by("fedcore_rounds_total", "outcome") == {"full": 0, "quorum": 1, "aborted": 0}
    assert seen.value("fedcore_quorum_wait_seconds_count") == 1
    assert seen.value("fedcore_update_staleness_rounds_sum") in {0, 1}
    assert (seen.value("fedcore_last_round_accepted_updates"), seen.value("fedcore_last_round_stragglers")) == (2, 1)
    assert seen.by("fedcore_worker_last_accepted_round", "worker") == {"worker-0": 1, "worker-1": 1}
    assert seen.value("fedcore_samples_total") == 200
    sent = 3 * len(update())  # the first weights and two updates
    assert sent < seen.value("fedcore_payload_bytes_total", direction="received") <= sent + len(update())  # and what was read of the NaN
    assert seen.value("fedcore_uploads_in_flight") == 0
    assert seen.value("fedcore_rpc_requests_total", method="put_upload", code="ok") == 5
    assert seen.value("fedcore_rpc_requests_total", method="register", code="ok") == 3
    seen.assert_as_catalogued(CATALOGUE)
    seen.assert_clean()


def test_body_that_is_refused_at_its_end_counts_with_its_bytes(start):
    coordinator = start()
    (first, *_), base = begin(coordinator)
    before = scrape(url(coordinator)).value("fedcore_payload_bytes_total", direction="received")
    cut = update()[:20]
    assert first.put(1, base, cut)[0] == 422
    seen = scrape(url(coordinator))
    assert seen.by("fedcore_updates_rejected_total", "reason")["length"] == 1
    assert seen.value("fedcore_payload_bytes_total", direction="received") == before + len(cut)


def test_refusals_are_counted_by_reason(start):
    coordinator = start()
    assert coordinator.raw(b"PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n") == 401
    assert coordinator.raw(b"POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", b"<no>") == 200
    unknown = Worker(coordinator, 0)
    with pytest.raises(Exception, match="register again"):
        unknown.rpc.fedcore.status("no such session")
    seen = scrape_until(url(coordinator), lambda seen: seen.value("fedcore_rpc_requests_total", code="unknown_session"))
    refused = seen.by("fedcore_requests_refused_total", "reason")
    assert {reason: count for reason, count in refused.items() if count} == {"unauthorized": 1, "bad_xml": 1}
    assert seen.value("fedcore_rpc_requests_total", method="status", code="unknown_session") == 1


def test_resumed_coordinator_shows_what_is_restored_and_counts_anew(start):
    coordinator = start()
    (first, second, _), base = begin(coordinator)
    assert second.task()["round"] == 1
    assert first.deliver(1, base, update()) == "accepted"
    assert second.deliver(1, base, update(2.0)) == "accepted"
    before = scrape_until(url(coordinator), lambda seen: seen.value("fedcore_current_round") == 2)
    stop_coordinator(coordinator)
    after = scrape(url(start()))
    restored = [
        "run_start_timestamp_seconds",
        "checkpoint_timestamp_seconds",
        "model_bytes",
        "last_round_accepted_updates",
        "current_round",
    ]
    for name in restored:
        assert after.value(f"fedcore_{name}") == before.value(f"fedcore_{name}"), name
    assert (before.value("fedcore_coordinator_restarts"), after.value("fedcore_coordinator_restarts")) == (0, 1)
    assert (before.value("fedcore_updates_total"), after.value("fedcore_updates_total")) == (2, 0)
    assert after.value("fedcore_rounds_total") == 0


@pytest.mark.parametrize(("per_worker", "shown"), [("auto", 3), ("always", 3), ("never", 0)])
def test_workers_have_series_as_the_job_wants_it(start, per_worker, shown):
    coordinator = start(per_worker=per_worker)
    begin(coordinator)
    seen = scrape(url(coordinator))
    assert len(seen.by("fedcore_worker_up", "worker")) == shown
    assert seen.value("fedcore_worker_series_dropped") == 3 - shown


# -- the last scrape ----------------------------------------------------------------------------------------------------------------------


def finish(coordinator):
    """Pass three rounds with two workers, and let both be told to stop."""
    workers, _ = begin(coordinator)
    workers[2].rpc.fedcore.leave(workers[2].session, "not needed")
    for _ in range(3):
        for worker in workers[:2]:
            task = worker.task()
            assert worker.deliver(task["round"], task["base"]["id"], update()) == "accepted"
    for worker in workers[:2]:
        while worker.task()["kind"] != "stop":
            pass


def test_finished_coordinator_ends_at_once_when_nobody_scrapes(start):
    coordinator = start(linger=600)
    finish(coordinator)
    assert coordinator.process.wait(20) == 0
    assert coordinator.events("run_finished")[0]["linger_s"] == 0


def test_finished_coordinator_waits_for_one_scrape_that_sees_the_end(start):
    coordinator = start(linger=600)
    scrape(url(coordinator))
    finish(coordinator)
    seen = scrape_until(url(coordinator), lambda seen: seen.one("fedcore_finished", "reason"))
    assert (seen.one("fedcore_finished", "reason"), seen.one("fedcore_phase", "phase")) == ("Completed", "Succeeded")
    assert seen.value("fedcore_rounds_total") == 3
    assert coordinator.process.wait(20) == 0
    assert coordinator.events("run_finished")[0]["linger_s"] == 600
    assert (coordinator.run_dir / "summary.json").is_file()


def test_finished_coordinator_waits_on_when_the_last_scrape_came_too_late(start):
    coordinator = start(linger=600)
    scrape(url(coordinator))
    finish(coordinator)
    until(lambda: any(" lingering " in line for line in coordinator.log))
    for _ in range(5):  # Prometheus has given each of them up
        assert scrape(url(coordinator), patience=1e-6).one("fedcore_finished", "reason") == "Completed"
    assert coordinator.process.poll() is None
    scrape(url(coordinator), patience=60)
    assert coordinator.process.wait(20) == 0


def test_signal_ends_the_wait_and_the_exit_code_stays(start):
    coordinator = start(linger=600)
    scrape(url(coordinator))
    finish(coordinator)
    until(lambda: any(" lingering " in line for line in coordinator.log))
    assert coordinator.process.poll() is None
    coordinator.process.send_signal(signal.SIGTERM)
    assert coordinator.process.wait(20) == 0


def test_wait_without_a_scrape_ends_after_its_seconds(start):
    coordinator = start(linger=1)
    scrape(url(coordinator))
    finish(coordinator)
    assert coordinator.process.wait(20) == 0


# -- ends ---------------------------------------------------------------------------------------------------------------------------------


def wait_for_it(coordinator):
    return []


def answer_nothing(coordinator):
    return begin(coordinator)[0]


def send_bad_weights(coordinator):
    workers = [Worker(coordinator, index).register() for index in range(3)]
    workers[0].task()
    assert workers[0].put(0, "", save(model(np.nan, values=10)))[0] == 422
    return workers


@pytest.mark.parametrize(
    ("reason", "fields", "happening"),
    [
        pytest.param(EndReason.STARTUP_DEADLINE_EXCEEDED, "startupDeadlineSeconds: 1", wait_for_it, id="nobody comes"),
        pytest.param(EndReason.DEADLINE_EXCEEDED, "activeDeadlineSeconds: 1", wait_for_it, id="out of time"),
        pytest.param(
            EndReason.QUORUM_LOST, "quorum: {percent: 60, roundTimeoutSeconds: 1, lossGracePeriodSeconds: 1}", answer_nothing,
            id="nobody answers",
        ),
        pytest.param(EndReason.NON_RETRYABLE_EXIT, "seed: 1", send_bad_weights, id="weights that are none"),
    ],
)  # fmt: skip
def test_failed_coordinator_says_why_to_the_last_scrape(tmp_path, monkeypatch, reason, fields, happening):
    monkeypatch.setenv("FEDCORE_METRICS_MONITORED", "1")
    text = JOB.format(linger=600, per_worker="auto") + f"  {fields}\n"
    if fields.startswith("quorum"):
        text = text.replace("  quorum: {percent: 60, roundTimeoutSeconds: 100, graceSeconds: 0}\n", "")
    coordinator = start_coordinator(tmp_path, text)
    try:
        workers = happening(coordinator)
        seen = scrape_until(url(coordinator), lambda seen: seen.one("fedcore_finished", "reason"))
        for worker in workers:
            assert worker.task()["reason"] == reason
        code = coordinator.process.wait(20)
        summary = json.loads((coordinator.run_dir / "summary.json").read_text())
    finally:
        stop_coordinator(coordinator)
    assert (seen.one("fedcore_finished", "reason"), seen.one("fedcore_phase", "phase")) == (reason, "Failed")
    assert (code, summary["reason"], summary["exit_code"]) == (EXIT_CODE[reason], reason, EXIT_CODE[reason])
