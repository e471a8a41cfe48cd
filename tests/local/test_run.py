"""``fedcore run`` with real processes: a run that goes well, faults on purpose, and every way to stop one."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
from urllib.parse import urlsplit

import pytest


def test_a_run_ends_well_and_leaves_no_process_behind(runs):
    done = runs.run("--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == done.summary
    assert (done.summary["phase"], done.summary["rounds_completed"], done.summary["worker_restarts"]) == ("Succeeded", 3, 0)
    assert done.summary["updates"] == {"accepted": 9, "late": 0, "duplicate": 0, "rejected": 0}
    assert done.summary["metrics"]["accuracy"] == pytest.approx(0.3)
    assert [row["outcome"] for row in done.rounds] == ["full"] * 3
    assert [float(row["accuracy"]) for row in done.rounds] == pytest.approx([0.1, 0.2, 0.3])
    assert sum(int(row["bytes_received"]) for row in done.rounds) == done.summary["bytes"]["received"] > 0
    names = {path.name for path in runs.run_dir.iterdir()}
    assert {"job.yaml", "events.jsonl", "rounds.csv", "updates.csv", "summary.json", "model.safetensors", "logs"} <= names
    assert ".local" not in names
    assert runs.children() == []


def test_plain_lines_and_last_words(runs):
    done = runs.run("--rounds", "1")
    assert done.stdout.startswith("✔ Succeeded: 1 round in ")
    words = [line.split()[1] for line in done.stderr.splitlines()]
    assert words[0] == "run_started"
    assert words[-1] == "run_finished"
    assert "round=1/1" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_killed_worker_starts_again_and_the_round_waits_for_it(runs):
    done = runs.run("-q", "--kill", "worker-1@2")
    assert done.exit_code == 0, done.stderr
    assert (done.summary["worker_restarts"], done.summary["rounds_completed"]) == (1, 3)
    restarts = [(e["worker"], e["attempt"]) for e in done.events if e["event"] == "worker_registered" and e["kind"] == "restart"]
    assert restarts == [("worker-1", 2)]
    assert done.summary["updates"]["accepted"] == 9


def test_signs_of_life_are_answered_after_rounds_without_a_loss(runs):
    done = runs.run("-q", "--kill", "worker-1@2", "--set", "spec.task.entrypoint=steps_task:speechless")
    assert (done.exit_code, done.summary["worker_restarts"]) == (0, 1), done.stderr
    assert "HTTP 500" not in (runs.run_dir / "logs" / "worker-1.log").read_text()


def test_a_killed_coordinator_resumes(runs):
    done = runs.run("-q", "--kill", "coordinator@2")
    assert done.exit_code == 0, done.stderr
    assert (done.summary["coordinator_restarts"], done.summary["worker_restarts"], done.summary["rounds_completed"]) == (1, 0, 3)
    assert done.summary["metrics"]["accuracy"] == pytest.approx(0.3)
    assert [int(row["round"]) for row in done.rounds] == [1, 2, 3]
    assert {int(row["resume"]) for row in done.rounds} == {0, 1}


def test_workers_gone_for_good_end_the_job(runs):
    done = runs.run("--kill", "worker-1@2", "--set", "spec.workers.maxRestartsPerWorker=0")
    assert (done.exit_code, done.summary["reason"]) == (3, "QuorumUnreachable")
    assert [e["reason"] for e in done.events if e["event"] == "run_finished"] == ["QuorumUnreachable"]
    assert done.rounds[-1]["outcome"] == "aborted"
    assert done.stdout.startswith("✖ Failed: QuorumUnreachable")
    assert runs.children() == []


def test_a_worker_that_cannot_ever_work_ends_the_job(runs):
    done = runs.run("--json", "--set", "spec.task.entrypoint=steps_task:refusing")
    assert (done.exit_code, done.summary["reason"]) == (1, "NonRetryableExit")
    assert "worker-1 ended with exit code 2" in done.summary["message"]


def test_a_coordinator_over_budget_ends_the_job_in_the_supervisors_words(runs):
    done = runs.run("--json", "--kill", "coordinator@2", "--set", "spec.coordinator.maxRestarts=0")
    assert (done.exit_code, done.summary["reason"]) == (1, "CoordinatorFailed")
    assert (done.events[-1]["event"], done.events[-1]["reason"], done.events[-1]["exit_code"]) == ("run_finished", "CoordinatorFailed", 1)
    assert [row["outcome"] for row in done.rounds] in (["full", "aborted"], ["full", "full"])
    assert (runs.run_dir / "model.safetensors").is_file()
    assert runs.children() == []


def test_a_slow_worker_is_the_slowest_of_every_round(runs):
    done = runs.run("-q", "--slow", "worker-0=6")
    assert done.exit_code == 0, done.stderr
    assert [row["slowest_worker"] for row in done.rounds] == ["worker-0"] * 3
    assert all(float(row["round_trip_max_s"]) > 0.8 for row in done.rounds)


def test_over_tls_a_run_ends_with_the_same_model(runs):
    """A worker and the coordinator die on the way: both come back to the same certificate."""
    plain = runs.run("--json")
    model = (plain.run_dir / "model.safetensors").read_bytes()
    assert [event["url"].partition(":")[0] for event in plain.events if event["event"] == "listening"] == ["http"]
    runs.run_dir.rename(runs.folder / "plain")
    process = runs.start("--json", "-v", "--set", "spec.security.tls=true", "--kill", "worker-1@2", "--kill", "coordinator@3")
    runs.wait_for(process, "worker_registered")
    private = runs.run_dir / ".local"
    assert {path.name for path in private.iterdir()} >= {"ca.crt", "tls.crt", "tls.key"}
    authority = (private / "ca.crt").read_text()
    port = urlsplit(next(line for line in (runs.run_dir / "events.jsonl").read_text().split('"') if line.startswith("https://"))).port
    assert "-----BEGIN" in ssl.get_server_certificate(("127.0.0.1", port), ca_certs=private / "ca.crt")
    secured = runs.finish(process)
    assert secured.exit_code == 0, secured.stderr
    assert [event["url"].partition(":")[0] for event in secured.events if event["event"] == "listening"] == ["https", "https"]
    assert (secured.summary["worker_restarts"], secured.summary["coordinator_restarts"]) == (1, 1)
    assert (secured.run_dir / "model.safetensors").read_bytes() == model
    assert not private.exists()
    assert authority not in "".join(path.read_text() for path in (secured.run_dir / "logs").iterdir())


def test_an_interrupted_run_is_resumed_and_a_finished_one_refused(runs):
    process = runs.start("--rounds", "6")
    runs.wait_for(process, "round_closed")
    process.send_signal(signal.SIGINT)
    stopped = runs.finish(process)
    assert (stopped.exit_code, stopped.summary["phase"], stopped.summary["reason"]) == (130, "Interrupted", "Interrupted")
    assert "✖ Interrupted" in stopped.stdout
    assert runs.children() == []

    closed, target = stopped.summary["rounds_completed"], stopped.summary["rounds_target"]
    resumed = runs.run("--rounds", "7", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert (resumed.summary["run_id"], resumed.summary["rounds_completed"]) == (stopped.summary["run_id"], 7)
    assert (target, resumed.summary["rounds_target"]) == (6, 7)
    assert closed < 6
    assert resumed.summary["metrics"]["accuracy"] == pytest.approx(0.7)
    assert [int(row["round"]) for row in resumed.rounds] == [1, 2, 3, 4, 5, 6, 7]

    refused = runs.run("--rounds", "7", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "has ended" in refused.stderr


def test_a_second_signal_kills(runs):
    (runs.folder / "steps_task.py").write_text((runs.folder / "steps_task.py").read_text().replace("0.15", "60"))
    process = runs.start("-v")
    runs.wait_for(process, "task_sent")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    stopped = runs.finish(process)
    assert stopped.exit_code == 130
    assert runs.children() == []


def test_children_end_with_a_runner_that_is_killed(runs):
    process = runs.start("--rounds", "1000")
    runs.wait_for(process, "round_closed")
    children = runs.children()
    assert len(children) == 4
    process.kill()
    runs.wait_for_ends(children)


def test_a_run_directory_in_use_is_refused(runs):
    process = runs.start("--rounds", "1000")
    runs.wait_for(process, "round_closed")
    second = runs.run()
    assert second.exit_code == 2
    assert "locked: another run is using it" in second.stderr
    process.send_signal(signal.SIGINT)
    runs.finish(process)


def test_a_port_that_was_asked_for_and_is_in_use_is_refused(runs):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        refused = runs.run("--port", str(server.getsockname()[1]))
    assert refused.exit_code == 2
    assert "is in use" in refused.stderr
    assert not runs.run_dir.exists()


def test_an_entrypoint_that_cannot_be_imported_is_found_before_anything_starts(runs):
    runs.job.write_text(runs.job.read_text().replace("steps_task:task", "my.task:task"))
    refused = runs.run("--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith('job.yaml:7: spec.task.entrypoint: cannot import "my.task": No module named')
    assert refused.stderr.endswith("error: 1 problem in job.yaml; nothing was started\n")
    assert not runs.run_dir.exists()


def test_an_invalid_job_names_all_its_problems(runs):
    runs.job.write_text(runs.job.read_text().replace("percent: 100", "percent: 150").replace("policy: fixed", "polcy: fixed"))
    refused = runs.run()
    assert refused.exit_code == 2
    assert "job.yaml:8: spec.workload.polcy: unknown field" in refused.stderr
    assert "job.yaml:9: spec.quorum.percent: 150" in refused.stderr
    assert "error: 2 problems in job.yaml; nothing was started" in refused.stderr


def test_a_fault_that_can_never_happen_is_refused(runs):
    refused = runs.run("--kill", "worker-7@2")
    assert refused.exit_code == 2
    assert "there are 3 workers" in refused.stderr


def test_a_run_ends_with_its_report_whatever_became_of_it(runs):
    done = runs.run("--report", "--kill", "worker-1@2", "--set", "spec.workers.maxRestartsPerWorker=0")
    assert (done.exit_code, done.summary["reason"]) == (3, "QuorumUnreachable")
    told = next(line for line in done.stdout.splitlines() if line.startswith("  Report  "))
    page = runs.run_dir / "report.html"
    assert told.split()[1] == str(page.relative_to(runs.folder))
    assert "Failed: QuorumUnreachable after 1 of 3 rounds" in page.read_text()
    assert (runs.run_dir / "plots/quorum.png").is_file()


def test_an_interrupted_run_has_its_report_and_a_running_one_says_when(runs):
    process = runs.start("--report", "--json", "-v", "--rounds", "1000")
    runs.wait_for(process, "round_closed")
    refused = runs.command("report", str(runs.run_dir))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"error: {runs.run_dir} is still running; its report is written when it ends\n"
    process.send_signal(signal.SIGINT)
    stopped = runs.finish(process)
    assert stopped.exit_code == 130
    assert json.loads(stopped.stdout) == stopped.summary
    page = (runs.run_dir / "report.html").read_text()
    assert "Interrupted: Interrupted after" in page

    # Made anew from the events alone it says the same.
    (runs.run_dir / "report.html").unlink()
    (runs.run_dir / "rounds.csv").unlink()
    again = runs.command("report", str(runs.run_dir))
    assert again.exit_code == 0, again.stderr
    assert (runs.run_dir / "report.html").read_text() == page
    assert again.summary == stopped.summary
    assert again.rounds == stopped.rounds


def test_without_what_draws_all_else_is_written_and_one_line_says_how_to_get_it(runs):
    (runs.folder / "matplotlib.py").write_text("raise ImportError('there is no matplotlib here')")
    (runs.folder / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\nu.find_spec = lambda name, *_: None if name == 'matplotlib' else found(name)\n"
    )
    runs.environment["PYTHONPATH"] = f"{runs.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = runs.run("--report", "--rounds", "1", "-q")
    assert done.exit_code == 0
    assert done.stderr == f'note: for plots and report.html: pip install "fedcore[report]", then `fedcore report {runs.run_dir.name}`\n'
    assert "  Data    run/  rounds.csv  updates.csv" in done.stdout
    assert not (runs.run_dir / "report.html").exists()
    later = runs.command("report", str(runs.run_dir))
    assert later.exit_code == 1
    assert 'pip install "fedcore[report]"' in later.stderr


def test_a_report_that_cannot_be_drawn_changes_nothing_about_the_end(runs):
    (runs.folder / "sitecustomize.py").write_text("import fedcore.report.write as w\nw.read_history = None\n")
    runs.environment["PYTHONPATH"] = f"{runs.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = runs.run("--report", "--rounds", "1", "-q")
    assert done.exit_code == 0
    assert done.stderr.startswith("note: the report could not be written: 'NoneType' object is not callable; `fedcore report run` tries")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_told_to_go_while_the_report_is_drawn_leaves_the_end_as_it_was(runs, number):
    (runs.folder / "jinja2.py").write_text(
        "import sys, threading\nprint('drawing', file=sys.stderr, flush=True)\nthreading.Event().wait(60)\n"
    )
    runs.environment["PYTHONPATH"] = f"{runs.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    process = runs.start("--report", "--rounds", "1", "-q")
    runs.wait_for(process, "drawing")
    process.send_signal(number)
    done = runs.finish(process)
    assert (done.exit_code, done.summary["phase"]) == (0, "Succeeded")
    assert done.stderr == "note: the report was interrupted; `fedcore report run` writes it\n"
    assert "  Data    run/  rounds.csv" in done.stdout
