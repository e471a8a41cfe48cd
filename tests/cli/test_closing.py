"""The last words of a run."""

from __future__ import annotations

from fedcore.cli.closing import closing

SUMMARY = {
    "phase": "Succeeded",
    "reason": "Completed",
    "message": "",
    "rounds_completed": 10,
    "metrics": {"accuracy": 0.974, "loss": 0.081},
    "duration_s": 19.8,
    "quorum": {"required": 4, "rounds_with_quorum": 10},
    "updates": {"accepted": 46, "late": 3, "duplicate": 0, "rejected": 0},
    "worker_restarts": 1,
    "coordinator_restarts": 0,
}


def test_a_run_that_succeeded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "runs" / "a"
    run_dir.mkdir(parents=True)
    (run_dir / "rounds.csv").touch()
    (run_dir / "model.safetensors").touch()
    assert closing({**SUMMARY, "run_dir": str(run_dir)}, ["fedcore init my-project"]) == [
        "✔ Succeeded: 10 rounds in 19.8 s · accuracy 0.974 · loss 0.081 · quorum in 10 of 10 rounds · 3 late updates · 1 worker restart",
        "  Data    runs/a/  rounds.csv  model.safetensors",
        "  Next    fedcore init my-project",
    ]


def test_a_run_that_failed(tmp_path):
    failed = {"phase": "Failed", "reason": "QuorumUnreachable", "message": "5 of 16 workers are gone for good", "metrics": None}
    lines = closing({**SUMMARY, **failed, "rounds_completed": 1, "quorum": {"rounds_with_quorum": 1}, "run_dir": str(tmp_path)}, ["again"])
    assert lines[0].startswith("✖ Failed: QuorumUnreachable after 1 round in 19.8 s · quorum in 1 of 1 round")
    assert lines[1] == "  5 of 16 workers are gone for good"
    assert lines[3] == f"  Logs    {tmp_path}/logs/"


def test_a_run_with_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rounds.csv").touch()
    lines = closing({**SUMMARY, "run_dir": str(tmp_path)}, [], tmp_path / "report.html")
    assert lines[1:] == ["  Report  report.html      Data  rounds.csv"]
