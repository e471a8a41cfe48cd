from __future__ import annotations

import json
import socket
import sys
from collections import deque
from xmlrpc.client import Fault

import numpy as np
import pytest
import safetensors.numpy

from fedcore.wire.protocol import UpdateReport
from fedcore.worker.ending import EndWord
from support.checksum import sum64


def toy():
    return sys.modules["toy_task"]


def sent(server, place=-1):
    return safetensors.numpy.load(server.of("PUT")[place][2])["w"].tolist()


def test_one_round_from_registration_to_stop(server, start, tmp_path):
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert (tmp_path / "ready").exists()
    server.stop_worker()
    ending = run.end()
    assert (ending.exit_code, ending.reason) == (0, EndWord.STOPPED)
    assert sent(server) == [1.0] * 4
    assert server.of("PUT")[0][:2] == ("/v1/uploads/1", server.base_id)
    session, number, report = server.of("fedcore.submit")[0]
    assert (session, number, report["base"], report["samples"], report["train_loss"]) == ("s2", 1, server.base_id, 10, 0.5)
    assert report["seconds"] >= 0
    assert not server.of("fedcore.leave")


def test_the_real_size_is_registered_once_the_task_is_made(server, start):
    run = start(server.url, "Measuring", name="site-a", attempt=3)
    server.wait_for(lambda: len(server.of("fedcore.register")) == 2)
    (first,), (second,) = server.of("fedcore.register")
    assert first["instance"] == second["instance"]
    assert (second["samples"], second["eval_samples"], second["name"], second["attempt"]) == (10, 5, "site-a", 3)
    assert sorted(second["tasks"]) == ["evaluate", "init", "train"]
    server.stop_worker()
    run.end()


def test_a_task_that_cannot_measure_is_not_asked_to(server, start):
    run = start(server.url)
    server.wait_for(lambda: len(server.of("fedcore.register")) == 2)
    assert sorted(server.of("fedcore.register")[1][0]["tasks"]) == ["init", "train"]
    server.stop_worker()
    run.end()


def test_first_weights_are_an_upload_for_round_0(server, start):
    server.give({"kind": "init", "round": 0, "seed": 42, "evaluate": False, "reason": "", "work": {"epochs": 0.0, "deadline_seconds": 9.0}})
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert server.of("PUT")[0][:2] == ("/v1/uploads/0", "")
    assert sent(server) == [42.0] * 4
    assert server.of("fedcore.submit")[0][1] == 0
    server.stop_worker()
    run.end()


def test_the_base_is_measured_before_it_is_trained_on(server, start):
    server.give(server.train(1, evaluate=True))
    run = start(server.url, "Measuring")
    server.wait_for(lambda: server.of("fedcore.submit"))
    report = server.of("fedcore.submit")[0][2]
    assert report["metrics"] == {"accuracy": 0.0}  # of the base, and without what is not finite
    assert report["eval_samples"] == 5
    server.stop_worker()
    run.end()


def test_an_evaluation_sends_metrics_alone(server, start):
    server.give(server.train(1, kind="evaluate", round=3, evaluate=True))
    run = start(server.url, "Measuring")
    server.wait_for(lambda: server.of("fedcore.submit"))
    _, number, report = server.of("fedcore.submit")[0]
    assert (number, report["metrics"], report["upload"]) == (3, {"accuracy": 0.0}, "")
    assert not server.of("PUT")
    server.stop_worker()
    run.end()


def test_registration_waits_for_a_coordinator_that_starts_later(late_server, start):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = start(f"http://127.0.0.1:{port}")
    late_server.stop_worker()
    late_server.start(port)
    assert run.end().exit_code == 0


def test_a_lost_session_is_renewed_and_the_held_update_delivered_without_training_again(server, start):
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    server.forget_sessions()
    server.wait_for(lambda: len(server.of("fedcore.register")) == 3)
    server.give(server.train(1))
    server.wait_for(lambda: len(server.of("fedcore.submit")) == 2)
    assert toy().TRAINED == [1]
    assert sent(server, 0) == sent(server, 1)
    assert server.of("fedcore.submit")[1][0] == "s3"
    server.stop_worker()
    run.end()


def test_a_session_lost_between_upload_and_submit_is_no_loss(server, start):
    server.faults["fedcore.submit"] = deque([Fault(1, "unknown_session: who are you?")])
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    server.give(server.train(1))
    server.wait_for(lambda: len(server.of("fedcore.submit")) == 2)
    assert toy().TRAINED == [1]
    server.stop_worker()
    run.end()


def test_a_session_lost_while_training_is_renewed_meanwhile_and_the_round_asked_for(server, start):
    server.give(server.train(1))
    run = start(server.url, "Patient")
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    server.forget_sessions()
    server.wait_for(lambda: len(server.of("fedcore.register")) == 3)
    server.wait_for(lambda: server.of("fedcore.heartbeat")[-1][0] == "s3")
    server.supersede(1)
    server.stop_worker()
    run.end()


def test_the_same_round_from_another_base_is_trained_anew(server, start):
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    server.weights = safetensors.numpy.save({"w": np.full(4, 5, np.float32)})
    server.give(server.train(1))
    server.wait_for(lambda: len(server.of("fedcore.submit")) == 2)
    assert sent(server) == [6.0] * 4
    assert toy().TRAINED == [1, 1]
    server.stop_worker()
    run.end()


def test_superseded_work_stops_within_a_batch_and_is_acknowledged(server, start):
    server.give(server.train(1))
    run = start(server.url, "Patient")
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    server.supersede(1)
    server.wait_for(lambda: any(params[3] == 0.0 for params in server.of("fedcore.heartbeat")))
    polls = len(server.of("fedcore.next_task"))
    server.wait_for(lambda: len(server.of("fedcore.next_task")) > polls)
    assert not server.of("PUT")
    assert server.of("fedcore.heartbeat")[-1][1:3] == (1, 0.5)
    server.stop_worker()
    run.end()


def test_a_late_upload_is_no_failure(server, start):
    server.uploads.append((409, {"result": "stale", "reason": "round 2 is open"}, {}))
    server.give(server.train(1), server.train(2))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert [params[1] for params in server.of("fedcore.submit")] == [2]
    server.stop_worker()
    assert run.end().exit_code == 0


def test_an_upload_refused_before_its_body_is_not_sent_to_the_end(server, start):
    server.weights = safetensors.numpy.save({"w": np.zeros(8_000_000, np.float32)})
    server.early_answer = (409, {"result": "stale", "reason": "round 2 is open"})
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("PUT"))
    server.stop_worker()
    assert run.end().exit_code == 0
    assert not server.of("fedcore.submit")


def test_a_rejected_update_is_trained_again_when_asked(server, start):
    server.uploads.append((422, {"result": "rejected", "reason": "non_finite"}, {}))
    server.give(server.train(1), server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert toy().TRAINED == [1, 1]
    server.stop_worker()
    run.end()


def test_a_busy_coordinator_is_tried_again_after_the_time_it_asks_for(server, start):
    server.uploads.append((503, {}, {"Retry-After": "1"}))
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert len(server.of("PUT")) == 2
    assert toy().TRAINED == [1]
    server.stop_worker()
    run.end()


def test_an_upload_with_another_checksum_is_sent_again(server, start):
    server.uploads.append((201, {"upload": "u", "bytes": 1, "sum64": "1"}, {}))
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert len(server.of("PUT")) == 2
    server.stop_worker()
    run.end()


def test_an_update_counted_with_its_upload_is_not_submitted(server, start):
    server.uploads.append((201, {"result": "accepted", "bytes": 1}, {}))
    server.give(server.train(1), server.train(2))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert [params[1] for params in server.of("fedcore.submit")] == [2]
    first, _ = server.of("PUT")
    assert first[3]["Fedcore-Sum64"] == sum64(first[2])
    report = json.loads(first[3]["Fedcore-Report"])
    submitted = server.of("fedcore.submit")[0][2]
    assert (report["base"], report["samples"]) == (submitted["base"], submitted["samples"])
    server.stop_worker()
    run.end()


def test_a_report_that_is_too_long_for_a_header_follows_the_upload():
    report = UpdateReport(base="x", samples=1, metrics={f"m\N{LATIN SMALL LETTER O WITH DIAERESIS}{n}": 0.5 for n in range(32)})
    assert UpdateReport.model_validate_json(report.to_header()) == report
    assert report.to_header().isascii()
    assert UpdateReport(base="x", metrics={"m" * 9000: 1.0}).to_header() == ""


def test_a_broken_download_goes_on_where_it_broke(server, start):
    server.downloads.append(40)
    server.give(server.train(1))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert [params[:2] for params in server.of("GET")] == [("/v1/weights/0", None), ("/v1/weights/0", "bytes=40-")]
    assert sent(server) == [1.0] * 4
    server.stop_worker()
    run.end()


def test_weights_that_are_gone_send_it_back_to_the_poll(server, start):
    server.downloads.append(None)
    server.give(server.train(1), server.train(2))
    run = start(server.url)
    server.wait_for(lambda: server.of("fedcore.submit"))
    assert toy().TRAINED == [2]
    server.stop_worker()
    run.end()


@pytest.mark.parametrize(
    ("fault", "exit_code", "reason"),
    [
        pytest.param(Fault(2, "replaced: attempt 2 has registered"), 0, EndWord.REPLACED, id="replaced"),
        pytest.param(Fault(3, "name_in_use: a live process holds it"), 2, EndWord.NAME_IN_USE, id="name in use"),
        pytest.param(Fault(4, "unauthorized: wrong token"), 2, EndWord.UNAUTHORIZED, id="wrong token"),
        pytest.param(Fault(5, "bad_request: protocol 2"), 2, EndWord.INVALID, id="bad request"),
        pytest.param(Fault(8, "finished: Completed"), 0, EndWord.STOPPED, id="over, and well"),
        pytest.param(Fault(8, "finished: QuorumLost"), 3, EndWord.STOPPED, id="over for want of a quorum"),
    ],
)
@pytest.mark.parametrize("method", ["fedcore.register", "fedcore.next_task"])
def test_a_fault_that_does_not_heal_ends_the_worker(server, start, fault, exit_code, reason, method):
    server.faults[method] = deque([fault])
    ending = start(server.url).end()
    assert (ending.exit_code, ending.reason) == (exit_code, reason)


def test_a_busy_fault_heals(server, start):
    server.faults["fedcore.register"] = deque([Fault(7, "busy: all are here"), Fault(7, "busy: all are here")])
    server.stop_worker()
    assert start(server.url).end().exit_code == 0


def test_being_replaced_while_training_ends_the_training(server, start):
    server.give(server.train(1))
    replaced = Fault(2, "replaced: attempt 2 has registered")
    server.faults["fedcore.heartbeat"] = deque([replaced, replaced])
    ending = start(server.url, "Patient").end()
    assert (ending.exit_code, ending.reason) == (0, EndWord.REPLACED)


@pytest.mark.parametrize(
    ("reason", "exit_code", "word"),
    [
        ("Completed", 0, EndWord.STOPPED),
        ("QuorumLost", 3, EndWord.STOPPED),
        ("QuorumUnreachable", 3, EndWord.STOPPED),
        ("DeadlineExceeded", 0, EndWord.STOPPED),
        ("Retired", 0, EndWord.RETIRED),
    ],
)
def test_a_stop_gives_its_reason(server, start, reason, exit_code, word):
    server.stop_worker(reason)
    ending = start(server.url).end()
    assert (ending.exit_code, ending.reason) == (exit_code, word)


def test_a_coordinator_that_stays_away_ends_the_worker_with_4(server, start):
    run = start(server.url, unreachable_seconds=0.5)
    server.wait_for(lambda: server.of("fedcore.next_task"))
    server.stop()
    server.server = None
    ending = run.end()
    assert (ending.exit_code, ending.reason) == (4, EndWord.UNREACHABLE)


def test_a_stop_from_outside_drains_at_once(server, start):
    run = start(server.url)
    server.heartbeat_seconds = 30.0
    server.wait_for(lambda: server.of("fedcore.next_task"))
    run.stop()
    ending = run.end(timeout=5.0)
    assert (ending.exit_code, ending.reason) == (0, EndWord.LEFT)
    assert server.of("fedcore.leave") == [("s2", "left")]


@pytest.mark.parametrize(
    ("task", "said", "logged"),
    [
        pytest.param("Crashing", "ZeroDivisionError: too small a batch", "Traceback", id="it raises"),
        pytest.param("Casting", 'train returned "w" as float64', "", id="it returns another dtype"),
    ],
)
def test_a_crash_in_the_task_ends_the_worker_with_1(server, start, task, said, logged, capsys):
    server.give(server.train(1))
    ending = start(server.url, task).end()
    assert (ending.exit_code, ending.reason) == (1, EndWord.CRASHED)
    assert said in ending.message
    assert server.of("fedcore.leave") == [("s2", "crashed")]
    assert logged in capsys.readouterr().err


def test_an_entrypoint_that_is_not_there_ends_it_before_it_registers(server, start):
    ending = start(server.url, "Nowhere").end()
    assert (ending.exit_code, ending.reason) == (2, EndWord.INVALID)
    assert "Nowhere" in ending.message
    assert not server.calls


def test_a_slow_worker_takes_longer_by_its_factor_but_stops_as_quickly(server, start):
    server.give(server.train(1))
    run = start(server.url, "Patient", slow=10_000.0)
    server.wait_for(lambda: server.of("fedcore.heartbeat"))
    server.supersede(1)
    server.stop_worker()
    run.end()
    assert len(toy().BATCHES) <= 2  # each would last almost a minute


def test_a_parameter_that_the_task_does_not_know_is_an_invalid_job(server, start):
    server.parameters = {"learningRat": "0.1"}
    ending = start(server.url, "Picky").end()
    assert (ending.exit_code, ending.reason) == (2, EndWord.INVALID)
    assert "learningRat" in ending.message
