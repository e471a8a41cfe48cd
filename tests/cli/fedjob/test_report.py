"""``kubectl fedjob report``: what is fetched and from where, and what a status alone still tells."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field

import pytest

from fedcore.cli.fedjob.fetch import fetch, place
from fedcore.cli.fedjob.kubectl import Kubectl, Target
from fedcore.cli.fedjob.reader import reader_pod, run_dir_of
from fedcore.cli.fedjob.report import ReportOptions, end_of, report
from fedcore.cli.fedjob.scene import set_scene
from fedcore.cli.fedjob.trouble import ApiTrouble, Trouble
from fedcore_operator.api.job import parse_job
from fedcore_operator.api.names import claim_name, run_name
from support.events import Log, begin
from support.fedjob_objects import UID, ago, ended, job, running, up

CLAIMED = {"coordinator": {"checkpoint": {"volumeClaimTemplate": {"spec": {}}}}}
IMAGES = {"images": {"coordinator": "registry/fedcore-coordinator:1", "worker": "w"}}
COMPLETE = ("Complete", "True", "Completed", "all 20 rounds are done")
FAILED = ("Failed", "True", "CoordinatorFailed", "the coordinator failed 4 times")
FAKE = """\
#!{python}
# kubectl of a cluster whose pods are this machine: exec runs the command here, all else is written down.
import os, sys
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*arguments[:5], file=log)
if "exec" in arguments:
    if os.environ.get("REFUSE"):
        sys.exit('Error from server (Forbidden): pods "p" is forbidden: cannot create resource "pods/exec"')
    os.environ["FEDCORE_RUN_DIR"] = {run_dir!r}
    os.execv(sys.executable, [sys.executable, *arguments[arguments.index("--") + 2 :]])
"""


@dataclass
class Cluster:
    """Answers GET requests with objects, as `Http` does."""

    job: dict
    pods: list = field(default_factory=list)
    context: str = "test"

    def get(self, path, **_):
        if path.endswith("/federatedjobs/mnist"):
            return self.job
        if path.endswith(("/pods", "/events")):
            return {"items": self.pods if path.endswith("/pods") else []}
        found = [pod for pod in self.pods if path.endswith(f"/pods/{pod['metadata']['name']}")]
        if not found:
            raise ApiTrouble("not found", code=404)
        return found[0]


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "volume").mkdir()
    program = tmp_path / "bin/kubectl"
    program.write_text(FAKE.format(python=sys.executable, log=str(tmp_path / "log"), run_dir=str(tmp_path / "volume")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return Kubectl(Target(), "ns")


@pytest.fixture
def first_round():
    log = begin(Log())
    log.update(1.75, 1, "worker-0", round_trip_s=0.75, train_s=0.5)
    log.update(2, 1, "worker-1", round_trip_s=1.0, train_s=0.875)
    return log.closed(2, 1)


def write_run(folder, events):
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (folder / "job.yaml").write_text("metadata: {name: mnist}\n")
    (folder / "model.safetensors").write_bytes(b"weights")


def asked(tmp_path):
    log = tmp_path / "log"
    return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []


def test_a_running_coordinator_is_asked_and_no_pod_is_made(tmp_path, kubectl, first_round, capsys):
    write_run(tmp_path / "volume", first_round)
    cluster = Cluster(running(spec=CLAIMED), [up()])
    assert report(cluster, kubectl, "mnist", ReportOptions()) == 0
    out = capsys.readouterr().out.splitlines()
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert run_dir.name == "20261125-115900-mnist"
    assert out[0] == "Running: 1 round of 2 closed"
    assert out[1].startswith(f"  Report  runs/{run_dir.name}/report.html      Data  rounds.csv")
    assert "The job was Running when this was fetched" in (run_dir / "report.html").read_text()
    assert json.loads((run_dir / "summary.json").read_text())["phase"] == "Interrupted", "it may go on"
    assert not (run_dir / "model.safetensors").exists()
    assert asked(tmp_path) == ["exec"]

    # Later on the same run replaces what was fetched before; another one does not.
    first_round.add(3, "round_opened", round=2, version=1, participants=2, required=2, deadline_s=600)
    write_run(tmp_path / "volume", first_round)
    assert report(cluster, kubectl, "mnist", ReportOptions(model=True)) == 0
    assert (run_dir / "events.jsonl").read_text().count("round_opened") == 2
    assert (run_dir / "model.safetensors").read_bytes() == b"weights"
    first_round[0]["run_id"] = "another"
    write_run(tmp_path / "volume", first_round)
    with pytest.raises(Trouble, match="holds something else"):
        report(cluster, kubectl, "mnist", ReportOptions())
    assert [entry.name for entry in (tmp_path / "runs").iterdir()] == [run_dir.name], "nothing half-fetched stays"


def test_after_the_end_a_pod_reads_the_claim_and_is_taken_away(tmp_path, kubectl, first_round, capsys):
    write_run(tmp_path / "volume", first_round)
    cluster = Cluster(running(FAILED, spec=CLAIMED, phase="Failed", **IMAGES), [ended()])
    assert report(cluster, kubectl, "mnist", ReportOptions(run_dir=tmp_path / "here")) == 0
    assert capsys.readouterr().out.startswith("✖ Failed: CoordinatorFailed after 1 round in ")
    assert "the coordinator failed 4 times" in (tmp_path / "here/report.html").read_text()
    assert asked(tmp_path) == ["create", "wait", "exec", "delete"]


def test_what_cannot_be_fetched_is_said_and_the_pod_is_taken_away_all_the_same(tmp_path, kubectl, monkeypatch):
    monkeypatch.setenv("REFUSE", "1")
    cluster = Cluster(running(COMPLETE, spec=CLAIMED, **IMAGES), [ended(code=0)])
    with pytest.raises(Trouble, match=r'cannot be fetched from pod mnist-report-\w+: .*cannot create resource "pods/exec"') as caught:
        report(cluster, kubectl, "mnist", ReportOptions())
    assert caught.value.exit_code == 4
    assert asked(tmp_path)[-1] == "delete"
    monkeypatch.delenv("REFUSE")
    with pytest.raises(Trouble, match=r"has no events\.jsonl yet"):
        report(cluster, kubectl, "mnist", ReportOptions())


def test_a_coordinator_that_restarts_is_waited_for_by_its_user(kubectl):
    cluster = Cluster(running(spec=CLAIMED, **IMAGES), [ended()])
    with pytest.raises(Trouble, match="does not run at the moment; try again when it does") as caught:
        report(cluster, kubectl, "mnist", ReportOptions())
    assert caught.value.exit_code == 2


def test_without_a_claim_the_report_has_what_the_status_holds(tmp_path, kubectl, capsys):
    rounds = [{"round": number, "seconds": "1.5", "accepted": 3, "required": 3, "late": number % 2} for number in range(16, 21)]
    metrics = [{"name": "accuracy", "value": "0.91"}]
    result = {"reason": "Completed", "rounds": 20, "metrics": metrics}
    shown = running(COMPLETE, result=result, progress={"round": 20, "recentRounds": rounds, "late": 4}, completionTime=ago(10))
    assert report(Cluster(shown, [ended(code=0)]), kubectl, "mnist", ReportOptions()) == 0
    said = capsys.readouterr()
    assert said.out.startswith("✔ Succeeded: 20 rounds in 50.0 s · accuracy 0.910 · quorum in 20 of 20 rounds · 4 late updates")
    assert "kept its run directory in its coordinator's pod, and it is gone with that" in said.err
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert {path.stem for path in (run_dir / "plots").iterdir()} == {"accuracy", "quorum", "round_duration"}
    html = (run_dir / "report.html").read_text()
    assert "the last five rounds at most" in html
    assert "None" not in html
    assert asked(tmp_path) == []


def test_the_pod_that_reads_goes_where_the_coordinator_could_and_changes_nothing():
    scene = set_scene(running(COMPLETE, spec={"coordinator": {"checkpoint": {"claimName": "mine"}}}))
    like = {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "gpu"}], "nodeName": "node-1", "containers": ["others"]}
    manifest = reader_pod(scene, "mnist-report-1", "image", like)
    spec = manifest["spec"]
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"a": "b"}, [{"key": "gpu"}])
    assert "nodeName" not in spec
    assert spec["volumes"] == [{"name": "run", "persistentVolumeClaim": {"claimName": "mine"}}]
    assert spec["containers"][0]["volumeMounts"][0]["readOnly"] is True
    assert spec["containers"][0]["env"] == [{"name": "FEDCORE_RUN_DIR", "value": run_dir_of(scene)}]
    assert run_dir_of(scene) == f"/var/lib/fedcore/mnist-{UID[:8]}"
    assert not any(key.startswith("fedcore.dev/") for key in manifest["metadata"]["labels"])
    assert spec["activeDeadlineSeconds"] > 0


def test_the_claim_of_a_template_has_the_operators_name_for_it():
    whole = {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", **job(spec=CLAIMED)}
    scene, parsed = set_scene(whole), parse_job(whole)
    assert scene.claim == claim_name(parsed)
    assert run_dir_of(scene).endswith(run_name(parsed))


def test_a_reason_that_this_version_does_not_know_is_a_failure():
    assert end_of(set_scene(running(("Failed", "True", "OfALaterVersion", "m")))).exit_code == 1
    assert end_of(set_scene(running())) is None


def test_a_stream_that_breaks_off_is_an_error(tmp_path, kubectl):
    (tmp_path / "bin/kubectl").write_text("#!/bin/sh\nprintf nonsense\n")
    with pytest.raises(Trouble, match="cannot be fetched from pod p"):
        fetch(kubectl, "p", "c", ["events.jsonl"], tmp_path)


def test_a_place_is_none_only_when_the_directory_is_gone(kubectl):
    with place(Cluster({}), kubectl, set_scene(running(COMPLETE), [ended(code=0)])) as found:
        assert found is None
    with place(Cluster({}), kubectl, set_scene(running(), [up()])) as found:
        assert found == ("mnist-coordinator-1", "coordinator")
