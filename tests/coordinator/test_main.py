"""The coordinator as a process: how it starts or refuses to, stops, and goes on where another has been killed."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import xmlrpc.client
from types import SimpleNamespace

import numpy as np
import pytest
import xxhash
from safetensors.numpy import load, save

from fedcore.coordinator import main
from fedcore.coordinator.ending import Ending
from fedcore.coordinator.journal import Journal
from fedcore.coordinator.main import run
from fedcore.coordinator.options import Options
from fedcore.coordinator.resume import complete_the_log
from fedcore.coordinator.versions import Stored
from fedcore.engine.effects import Finish
from fedcore.engine.reasons import EndReason, Phase
from fedcore.report.lock import lock_run_dir
from fedcore.report.rundir import EVENTS, read_events
from fedcore.report.rundir import JOB as JOB_FILE
from support.checksum import sum64
from support.coordinator import Worker, model, start_coordinator, stop_coordinator, until
from support.tls import certificate_files

JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: demo}
spec:
  rounds: ROUNDS
  task: {entrypoint: "nobody:imports_it"INITIAL}
  evaluation: {everyRounds: 0}
  quorum: {percent: PERCENT, roundTimeoutSeconds: 100, graceSeconds: 0}
  workers: {replicas: REPLICAS}
"""


def job(rounds=2, replicas=1, percent=100, initial=None, active=None):
    text = JOB.replace("ROUNDS", str(rounds)).replace("REPLICAS", str(replicas)).replace("PERCENT", str(percent))
    if active is not None:
        text += f"  activeDeadlineSeconds: {active}\n"
    return text.replace("INITIAL", "" if initial is None else f', initialWeights: "{initial}"')


@pytest.fixture
def start(tmp_path):
    """Start coordinators on one run directory, one after the other."""
    with contextlib.ExitStack() as stack:

        def start(*args, files=None, **fields):
            made = start_coordinator(tmp_path, job(**fields), *args, files=files)
            stack.callback(stop_coordinator, made)
            return made

        yield start


# -- what it refuses --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, capsys):
    """Run in this process, see that the answer is exit code 2 with one message, and return that."""

    def refused(text=None, reason="InvalidJob", **options):
        if text is None:
            text = job()
        (tmp_path / "job.yaml").write_text(text)
        given = {"job": tmp_path / "job.yaml", "run_dir": tmp_path / "run", "host": "127.0.0.1", "port": 0, "metrics_port": 0, **options}
        end = tmp_path / "end.json"
        assert run(Options(**given, termination_file=end)) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        said = json.loads(end.read_text())
        assert (said["schema"], said["final"], said["reason"]) == (1, False, reason)
        assert errors[0] == f"error: {said['message']}"
        return said["message"]

    return refused


def test_run_directory_in_use_is_refused(refused, tmp_path):
    (tmp_path / "run").mkdir()
    lock = lock_run_dir(tmp_path / "run")
    message = refused(reason="RunDirectoryLocked")
    os.close(lock)
    assert f"{tmp_path / 'run'} is locked" in message
    assert not (tmp_path / "run" / EVENTS).exists()


def test_run_directory_that_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "run").write_text("")
    assert "cannot be used as a run directory: File exists" in refused()


def test_job_that_is_wrong_is_refused_before_anything_is_written(refused, tmp_path):
    assert "job.yaml:5: spec.rounds" in refused(job(rounds=0))
    assert not (tmp_path / "run" / EVENTS).exists()


def test_job_file_that_is_not_there_is_refused(refused, tmp_path):
    assert "nowhere.json" in refused(job=tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        pytest.param(("{name: demo}", "{name: other}"), 'an unfinished run of "demo", not of "other"', id="another job"),
        pytest.param(("rounds: 2", "rounds: 2\n  seed: 7"), "another spec.seed", id="another seed"),
        pytest.param(("nobody:", "somebody:"), "another spec.task", id="another task"),
        pytest.param(("rounds: 2", "rounds: 1"), "spec.rounds (it may only grow, from 2)", id="fewer rounds"),
    ],
)
def test_run_directory_of_another_run_is_refused_and_left_alone(refused, start, tmp_path, other, said):
    coordinator = start()
    stop_coordinator(coordinator)
    before = {path: path.read_bytes() for path in sorted(coordinator.run_dir.rglob("*")) if path.is_file()}
    message = refused(job().replace(*other))
    assert said in message
    assert str(coordinator.run_dir) in message
    assert {path: path.read_bytes() for path in sorted(coordinator.run_dir.rglob("*")) if path.is_file()} == before


def test_run_directory_with_a_job_that_cannot_be_read_is_refused(refused, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "job.yaml").write_text("spec: [")
    assert "job.yaml cannot be read, so this run cannot be resumed" in refused()


def broken_weights():
    complex_header = b'{"w":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}'
    whole = save(model(values=10))
    return {
        "missing": (None, "No such file or directory"),
        "empty": (b"", "header"),
        "garbage": (b"these are no weights at all", "header"),
        "pickle": (b"\x80\x04\x95" + bytes(100), "header"),
        "cut short": (whole[:-1], "length"),
        "too long": (whole + b"\0", "length"),
        "complex": (len(complex_header).to_bytes(8, "little") + complex_header + bytes(8), "C64"),
        "not finite": (save({"w": np.array([np.nan], np.float32)}), "non_finite"),
    }


@pytest.mark.parametrize("name", list(broken_weights()))
def test_first_weights_that_cannot_be_used_are_refused(refused, tmp_path, name):
    content, said = broken_weights()[name]
    path = tmp_path / "first.safetensors"
    if content is not None:
        path.write_bytes(content)
    message = refused(job(initial=path))
    assert message.startswith(f"spec.task.initialWeights: {path}")
    assert said in message


def test_first_weights_that_are_a_folder_are_refused(refused, tmp_path):
    assert "Is a directory" in refused(job(initial=tmp_path))


@pytest.mark.parametrize("flag", ["port", "metrics_port"])
def test_port_in_use_is_refused(refused, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(**{flag: port})
    assert message == f"--{flag.replace('_', '-')}: 127.0.0.1:{port} is in use; choose another one, or 0 for any free port"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param("", "is empty", id="empty: would admit everybody"),
        pytest.param(" \n", "is empty", id="nothing but space"),
        pytest.param(b"\xff\xfe", "is no text", id="no text"),
    ],
)
def test_token_file_without_a_token_is_refused(refused, tmp_path, content, said):
    path = tmp_path / "token"
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        path.write_bytes(content)
    message = refused(token_file=path)
    assert message.startswith(f"--token-file: {path}")
    assert said in message


def test_certificate_that_cannot_be_used_is_refused_before_anything_is_made(refused, tmp_path):
    files = certificate_files(tmp_path / "tls")
    files.key.unlink()
    assert refused(tls_cert=files.cert, tls_key=files.key) == f"--tls-key: {files.key}: No such file or directory"
    assert not (tmp_path / "run").exists()


def test_certificate_is_renewed_while_a_job_runs(start, tmp_path):
    files = certificate_files(tmp_path / "tls")
    coordinator = start(files=files)
    worker = Worker(coordinator, 0).register()

    def serial():
        with coordinator.connect() as sock:
            return sock.getpeercert()["serialNumber"]

    first = serial()
    files.key.write_text("half-written")
    until(lambda: any("certificate_ignored" in line for line in coordinator.log))
    assert serial() == first
    files.issue()
    until(lambda: serial() != first)
    assert worker.task()["kind"] == "init"


def test_refused_start_can_be_tried_again(refused, tmp_path, start):
    refused(job(initial=tmp_path / "first.safetensors"))
    (tmp_path / "first.safetensors").write_bytes(save(model(values=10)))
    coordinator = start(initial=tmp_path / "first.safetensors", replicas=1)
    assert Worker(coordinator, 0).register().task()["round"] == 1
    assert len(coordinator.events("run_started")) == 1


# -- a whole job ------------------------------------------------------------------------------------------------------------------------


def test_job_from_its_own_first_weights_to_the_last_file(start, tmp_path, refused, monkeypatch):
    """One worker that is a stock XML-RPC client; weights ride inline in round 1, and by HTTP afterwards."""
    monkeypatch.setenv("FEDCORE_TERMINATION_FILE", str(tmp_path / "end.json"))
    first = save(model(0.5, values=1000), metadata={"from": "elsewhere"})
    (tmp_path / "first.safetensors").write_bytes(first)
    coordinator = start(rounds=3, initial=tmp_path / "first.safetensors")
    worker = Worker(coordinator, 0).register()
    task = worker.task()
    assert (task["kind"], task["round"], task["base"]["version"]) == ("train", 1, 0)
    assert task["base"]["id"] == xxhash.xxh3_128_hexdigest(first)
    assert worker.rpc.fedcore.weights(worker.session, 0).data == first
    assert (coordinator.run_dir / "versions" / "000000.safetensors").read_bytes() == first
    assert (tmp_path / "first.safetensors").read_bytes() == first

    report = {"base": task["base"]["id"], "samples": 100, "metrics": {}, "seconds": 0.5}
    inline = {**report, "weights": xmlrpc.client.Binary(save(model(1.0, values=1000)))}
    assert worker.rpc.fedcore.submit(worker.session, 1, inline) == {"result": "accepted", "reason": ""}
    assert worker.rpc.fedcore.submit(worker.session, 1, inline)["result"] == "duplicate"
    again = worker.task()
    assert (again["round"], again["base"]["version"]) == (2, 1)
    mean = load(worker.rpc.fedcore.weights(worker.session, 1).data)
    assert set(mean["weight"]) == {1.0}

    # Late: the answer comes though not one byte of the body has been sent.
    head = f"PUT /v1/uploads/1 HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {worker.session}\r\n"
    assert coordinator.raw(f"{head}Fedcore-Base: {'0' * 64}\r\nContent-Length: 999\r\n\r\n".encode()) == 409
    status, answer = worker.put(2, "0" * 64, b"", length=10**6)
    assert (status, answer["result"]) == (409, "stale")
    status, answer = worker.put(1, task["base"]["id"], b"", length=10**6)
    assert (status, answer["result"]) == (409, "duplicate")

    for number in (2, 3):
        base = (again if number == 2 else worker.task())["base"]["id"]
        assert worker.deliver(number, base, save(model(float(number), values=1000))) == "accepted"
    last = worker.task()
    assert (last["kind"], last["reason"]) == ("stop", "Completed")
    assert coordinator.process.wait(20) == 0

    assert json.loads((tmp_path / "end.json").read_text()) == {
        "schema": 1, "final": True, "phase": "Succeeded", "reason": "Completed", "message": "", "rounds": 3, "metrics": {},
        "artifact": "model.safetensors", "sha256": hashlib.sha256((coordinator.run_dir / "model.safetensors").read_bytes()).hexdigest(),
    }  # fmt: skip
    assert set(load((coordinator.run_dir / "model.safetensors").read_bytes())["weight"]) == {3.0}
    assert json.loads((coordinator.run_dir / "summary.json").read_text())["rounds_completed"] == 3
    assert not list((coordinator.run_dir / "spool").iterdir())
    results = [event["result"] for event in coordinator.events("update")]
    assert sorted(results) == ["accepted"] * 3 + ["duplicate"] * 2 + ["stale"] * 2
    assert "holds a run that has ended" in refused(job(rounds=3).replace("demo", "other"))


# -- stop and go on ---------------------------------------------------------------------------------------------------------------------


def first_round(coordinator):
    """Bring a job of one worker into its second round."""
    worker = Worker(coordinator, 0).register()
    assert worker.task()["kind"] == "init"
    assert worker.deliver(0, "", save(model(values=1000))) == "accepted"
    base = worker.task()["base"]["id"]
    assert worker.deliver(1, base, save(model(1.0, values=1000))) == "accepted"
    task = worker.task()
    assert task["round"] == 2
    return worker, task


def test_sigterm_ends_with_143_and_the_next_start_goes_on(start):
    coordinator = start()
    worker, task = first_round(coordinator)
    status, held = worker.put(2, task["base"]["id"], save(model(2.0, values=1000)))
    assert status == 201
    coordinator.process.send_signal(signal.SIGTERM)
    assert coordinator.process.wait(20) == 143
    until(lambda: any(" terminated " in line for line in coordinator.log))
    assert not (coordinator.run_dir / "summary.json").exists()

    resumed = start()
    events = list(read_events(resumed.run_dir / EVENTS))
    assert [event["run_id"] for event in events if event["event"] == "run_started"] == [resumed.progress()["run_id"]]
    assert [(event["resume"], event["round"]) for event in events if event["event"] == "coordinator_resumed"] == [(1, 2)]
    worker = Worker(resumed, 0, worker.session)
    with pytest.raises(xmlrpc.client.Fault, match="unknown_session"):
        worker.task()
    again = worker.register().task()
    assert (again["round"], again["base"]) == (2, task["base"])
    refused = worker.submit(2, task["base"]["id"], held["upload"])
    assert (refused["result"], refused["reason"][:6]) == ("rejected", "length")
    assert worker.deliver(2, task["base"]["id"], save(model(2.0, values=1000))) == "accepted"
    assert worker.task()["kind"] == "stop"
    assert resumed.process.wait(20) == 0


def reported(base, sum64="", samples=100, **more):
    """Headers of an upload that brings its report along."""
    said = {"base": base, "samples": samples, "seconds": 0.5, **more}
    return [("Fedcore-Report", json.dumps(said)), *([("Fedcore-Sum64", sum64)] if sum64 else [])]


def test_upload_that_brings_its_report_is_counted_once(start):
    coordinator = start()
    worker, task = first_round(coordinator)
    base, body = task["base"]["id"], save(model(2.0, values=1000))
    status, answer = worker.put(2, base, body, headers=reported(base, sum64(body)))
    assert (status, answer["result"], answer["upload"], answer["bytes"]) == (201, "accepted", "", len(body))
    assert worker.put(2, base, body, headers=reported(base, sum64(body)))[1]["result"] == "duplicate"
    assert worker.task()["kind"] == "stop"
    assert coordinator.process.wait(20) == 0
    counted = [event for event in coordinator.events("update") if event["result"] == "accepted" and event["round"] == 2]
    assert [(event["samples"], event["train_s"]) for event in counted] == [(100, 0.5)]


def test_status_can_be_told_whatever_the_rounds_were(start):
    coordinator = start(rounds=2, replicas=5)
    most = 2**29 - 1
    workers = [Worker(coordinator, index).register(samples=most) for index in range(5)]
    assert workers[0].task()["kind"] == "init"
    assert workers[0].deliver(0, "", save(model(values=1000))) == "accepted"
    for worker in workers:  # without a loss, and together with more samples than XML-RPC's integers hold
        base = worker.task()["base"]["id"]
        upload = worker.put(1, base, save(model(values=1000)))[1]["upload"]
        assert worker.submit(1, base, upload, samples=most)["result"] == "accepted"
    assert workers[0].task()["round"] == 2
    status = workers[0].rpc.fedcore.status(workers[0].session)
    [closed] = status["recent_rounds"]
    assert (status["round"], closed["outcome"], closed["samples"]) == (2, "full", str(5 * most))
    assert "train_loss" not in closed


def test_upload_whose_report_is_refused_is_not_counted(start):
    coordinator = start()
    worker, task = first_round(coordinator)
    base, body = task["base"]["id"], save(model(2.0, values=1000))
    refusals = [
        worker.put(2, base, body, headers=[("Fedcore-Report", "{")]),
        worker.put(2, base, body, headers=[("Fedcore-Report", '{"base": "x", "seconds": -1}')]),
        worker.put(2, base, body, headers=reported(base, "0" * 15)),
        worker.put(2, base, body, headers=reported(base, "0" * 16)),
        worker.put(2, base, body, headers=reported("another")),
        worker.put(2, base, body, headers=reported(base, samples=10**6)),
    ]
    assert [(status, answer["result"]) for status, answer in refusals] == [
        (400, "bad_request"),
        (400, "bad_request"),
        (400, "bad_request"),
        (503, "busy"),
        (409, "stale"),
        (422, "rejected"),
    ]
    assert [answer["reason"].partition(":")[0] for _, answer in refusals[:3]] == ["Fedcore-Report", "Fedcore-Report", "Fedcore-Sum64"]
    assert "send it again" in refusals[3][1]["reason"]
    metric = "Gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e"
    said = json.dumps({"base": base, "samples": 100, "metrics": {metric: 0.5}}, ensure_ascii=False).encode()
    headers = [("Fedcore-Report", said), ("Fedcore-Sum64", sum64(body).upper())]
    assert worker.put(2, base, body, headers=headers)[1]["result"] == "accepted"
    until(lambda: any(event["metrics"] == {metric: 0.5} for event in coordinator.events("update")))


def test_deadline_of_the_run_does_not_count_the_time_that_it_lay_interrupted(start):
    coordinator = start(active=60)
    _, task = first_round(coordinator)
    stop_coordinator(coordinator)
    events = list(read_events(coordinator.run_dir / EVENTS))
    long_ago = [{**event, "time": event["time"].replace(event["time"][:4], "2001", 1)} for event in events]
    (coordinator.run_dir / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in long_ago))
    resumed = start(active=60)
    assert (resumed.progress()["phase"], resumed.progress()["reason"]) == ("Running", "")
    assert Worker(resumed, 0).register().task()["round"] == task["round"]
    assert not resumed.events("run_finished")


def closed(coordinator):
    return [(event["round"], event["resume"], event["outcome"]) for event in coordinator.events("round_closed")]


def test_log_that_a_crash_cut_behind_a_durable_version_is_completed_once(start):
    coordinator = start()
    first_round(coordinator)
    stop_coordinator(coordinator)
    assert closed(coordinator) == [(1, 0, "full")]
    lines = (coordinator.run_dir / EVENTS).read_bytes().splitlines(keepends=True)
    before = [line for line in lines if json.loads(line)["event"] == "round_closed"]
    (coordinator.run_dir / EVENTS).write_bytes(b"".join(lines[: lines.index(before[0])]) + b'{"time":"2026-11-')
    for _ in range(2):
        resumed = start()
        assert closed(resumed) == [(1, 0, "full")]
        assert resumed.progress()["checkpoint_version"] == 1
        stop_coordinator(resumed)
    completed, original = resumed.events("round_closed")[0], json.loads(before[0])
    assert {**completed, "time": ""} == {**original, "time": ""}


@pytest.mark.parametrize("written", range(3))
def test_log_is_completed_from_where_it_ends(tmp_path, written):
    """A crash may come between any two of the lines, also of a start that was completing them."""
    lines = [["evaluated", {"version": 6, "metrics": {}}], ["round_closed", {"round": 7, "outcome": "quorum", "opened_at": "2026-11-25"}]]
    stored = Stored(7, tmp_path, "", 0, None, {"closed": [[event, dict(fields)] for event, fields in lines], "resume": 0})
    journal = Journal(tmp_path)
    journal.append("round_opened", {"round": 7, "version": 6, "participants": 1, "required": 1})
    for event, fields in lines[:written]:
        journal.append(event, fields)
    journal.close()
    for _ in range(2):
        journal = Journal(tmp_path)
        complete_the_log(journal, stored)
        journal.close()
    events = [(event["event"], event["resume"]) for event in read_events(tmp_path / EVENTS)]
    assert events == [("round_opened", 0), ("evaluated", 0), ("round_closed", 0)]


@contextlib.contextmanager
def late_first_weights(coordinator, maker, body):
    """Send a body for round 0 that ends only after others have become the first weights; yields a call that ends it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", coordinator.port, timeout=20)) as slow:
        slow.putrequest("PUT", "/v1/uploads/0")
        headers = {"Authorization": f"Bearer {maker.session}", "Fedcore-Base": "", "Content-Length": len(body), "Expect": "100-continue"}
        for name, value in headers.items():
            slow.putheader(name, str(value))
        slow.endheaders()
        assert slow.sock.recv(1000).startswith(b"HTTP/1.1 100")  # the body is expected from now on
        slow.send(body[:-1])
        weights = xmlrpc.client.Binary(save(model(values=1000)))
        assert maker.rpc.fedcore.submit(maker.session, 0, {"base": "", "samples": 100, "weights": weights})["result"] == "accepted"

        def end():
            slow.send(body[-1:])
            answer = slow.getresponse()
            return answer.status, json.loads(answer.read())

        yield end


def test_body_of_the_first_weights_counts_for_no_round(start):
    """Round 0 takes any layout: what was checked for it must not come into a sum by another name."""
    coordinator = start(replicas=2, percent=50)
    maker, other = Worker(coordinator, 0).register(), Worker(coordinator, 1)
    assert maker.task()["kind"] == "init"
    with late_first_weights(coordinator, maker, save({"other": np.ones(3, np.float32)})) as end:
        task = maker.task()
        assert task["round"] == 1
        status, answer = end()
        assert status == 201
    refused = maker.submit(1, task["base"]["id"], answer["upload"])
    assert refused["result"] == "rejected"
    assert other.register().deliver(1, task["base"]["id"], save(model(1.0, values=1000))) == "accepted"
    assert maker.task()["round"] == 2


def test_refused_body_of_first_weights_that_nobody_wants_any_more_ends_nothing(start):
    coordinator = start(replicas=1)
    maker = Worker(coordinator, 0).register()
    assert maker.task()["kind"] == "init"
    with late_first_weights(coordinator, maker, save({"w": np.full(3, np.nan, np.float32)})) as end:
        task = maker.task()
        status, answer = end()
        assert (status, answer["reason"][:10]) == (422, "non_finite")
    assert coordinator.progress()["phase"] == "Running"
    assert maker.deliver(1, task["base"]["id"], save(model(1.0, values=1000))) == "accepted"


# -- the job file while it runs ---------------------------------------------------------------------------------------------------------


def test_changes_of_the_job_file_take_effect_and_broken_ones_do_not(start, tmp_path):
    coordinator = start(rounds=2, replicas=2)
    worker = Worker(coordinator, 0).register()
    assert coordinator.progress()["required"] == 2

    for number, broken in enumerate(["spec: {rounds: [", job(rounds=-1), ""], 1):
        (tmp_path / "job.yaml").write_text(broken)
        until(lambda number=number: sum("job_file_ignored" in line for line in coordinator.log) == number)
    assert coordinator.progress()["required"] == 2

    (tmp_path / "job.yaml").write_text(job(rounds=5, replicas=2, percent=50))
    assert worker.task()["kind"] == "init"  # one of two is enough now
    assert coordinator.progress()["rounds"] == 5
    assert worker.deliver(0, "", save(model(values=1000))) == "accepted"
    assert worker.task()["round"] == 1

    (tmp_path / "job.yaml").write_text(job(rounds=5, replicas=8, percent=50))
    until(lambda: coordinator.progress()["required"] == 4)
    (tmp_path / "job.yaml").unlink()
    (tmp_path / "job.yaml").write_text(job(rounds=5, replicas=1))
    until(lambda: coordinator.progress()["required"] == 1)
    assert coordinator.process.poll() is None


def test_change_while_the_coordinator_starts_is_not_missed(tmp_path):
    """The file is read first, and before it is watched a large model may be read, which takes seconds."""
    path = tmp_path / "job.yaml"
    path.write_text(job(rounds=2))
    coordinator = main._Coordinator(Options(job=path, run_dir=tmp_path / "run"))
    path.write_text(job(rounds=30))
    handled = []
    coordinator._service = SimpleNamespace(generation=0, handle=handled.append)
    coordinator._look_at_job_file()
    assert [event.spec.rounds for event in handled] == [30]


# -- the termination file ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "metrics"),
    [
        pytest.param("", {"accuracy": 0.5}, id="short"),
        pytest.param("\N{SMILING FACE WITH SUNGLASSES}" * 600, {"accuracy": 0.5}, id="message of many bytes"),
        pytest.param("enough", {"m" * 200 + str(number): 0.1 for number in range(32)}, id="long names of metrics"),
    ],
)
def test_termination_file_is_json_of_4_kib_at_most(tmp_path, message, metrics):
    journal = Journal(tmp_path)
    journal.append("run_started", {"run_id": "r", "job": "demo", "rounds": 1, "workers": 1, "required": 1, "seed": 0})
    journal.append("evaluated", {"version": 1, "samples": 1, "workers": 1, "metrics": metrics})
    end = Finish(Phase.FAILED, EndReason.QUORUM_LOST, message, 3)
    journal.append("run_finished", {"phase": "Failed", "reason": "QuorumLost", "message": message, "exit_code": 3})
    Ending(tmp_path, journal, tmp_path / "end.json").write(end)
    journal.close()
    assert (tmp_path / "end.json").stat().st_size <= 4096
    said = json.loads((tmp_path / "end.json").read_text())
    assert (said["final"], said["phase"], said["reason"]) == (True, "Failed", "QuorumLost")
    assert said["message"] == message[: len(said["message"])]
    assert len(said["message"]) >= min(len(message), 256)


@pytest.mark.parametrize("model", [pytest.param(b"weights", id="after rounds"), pytest.param(None, id="before the first")])
def test_termination_file_names_the_model_by_its_digest(tmp_path, model):
    journal = Journal(tmp_path)
    journal.append("run_started", {"run_id": "r", "job": "demo", "rounds": 1, "workers": 1, "required": 1, "seed": 0})
    if model is not None:
        (tmp_path / "model.safetensors").write_bytes(model)
    Ending(tmp_path, journal, tmp_path / "end.json").write(Finish(Phase.FAILED, EndReason.QUORUM_LOST, "", 3))
    journal.close()
    said = json.loads((tmp_path / "end.json").read_text())
    assert said.get("sha256") == (hashlib.sha256(model).hexdigest() if model else None)


@pytest.mark.parametrize("told", ["event", "summary"])
def test_an_end_that_was_not_told_is_told_by_the_next_attempt(tmp_path, told):
    """The first one was killed after it had decided the end and before its last words."""
    run_dir, end_file = tmp_path / "run", tmp_path / "end.json"
    run_dir.mkdir()
    for path in (tmp_path / "job.yaml", run_dir / JOB_FILE):
        path.write_text(job())
    journal = Journal(run_dir)
    journal.append("run_started", {"run_id": "r", "job": "demo", "rounds": 2, "workers": 1, "required": 1, "seed": 0})
    said = {"phase": "Failed", "reason": "QuorumLost", "message": "nobody is left", "exit_code": 3}
    if told == "event":
        journal.append("run_finished", said)
    else:
        (run_dir / "summary.json").write_text(json.dumps(said))
    journal.close()
    options = Options(job=tmp_path / "job.yaml", run_dir=run_dir, host="127.0.0.1", port=0, metrics_port=0, termination_file=end_file)
    for _ in range(2):
        assert run(options) == 3
        message = json.loads(end_file.read_text())
        assert (message["final"], message["phase"], message["reason"]) == (True, "Failed", "QuorumLost")
        assert message["message"] == "nobody is left"
        assert json.loads((run_dir / "summary.json").read_text())["reason"] == "QuorumLost"
