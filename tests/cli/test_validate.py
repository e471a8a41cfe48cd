"""`fedcore validate`: what it prints where, and the exit code."""

import os
from pathlib import Path

import pytest

from fedcore.cli.validate import validate
from fedcore.jobfile import load_job

JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: mine}
spec:
  rounds: 3
  task:
    entrypoint: my_validated_task:make
  workers: {replicas: 4}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a task in it."""
    monkeypatch.chdir(tmp_path)
    Path("my_validated_task.py").write_text("def make(context): ...\n")
    return tmp_path


def check(text, *, name="job.yaml", **options):
    Path(name).write_text(text)
    return validate([Path(name)], **{"resolved": False, **options})


def test_a_valid_job(folder, capsys):
    assert check(JOB) == 0
    assert capsys.readouterr() == ("job.yaml: valid\n", "")


def test_all_problems_are_told_at_once_the_entrypoint_among_them(folder, capsys):
    text = JOB.replace("my_validated_task", "my_other.task") + "  workload:\n    polcy: aimd\n  quorum: {percent: 150}\n"
    assert check(text) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "job.yaml:7: spec.task.entrypoint: cannot import \"my_other.task\": No module named 'my_other'"
        f" (looked in {folder} and the Python path)",
        'job.yaml:10: spec.workload.polcy: unknown field, did you mean "policy"?'
        " allowed: policy, epochs, minEpochs, maxEpochs, increment, quantile",
        "job.yaml:11: spec.quorum.percent: 150 is out of range; allowed: a whole number from 1 to 100",
        "error: 3 problems in job.yaml",
    ]


def test_an_entrypoint_that_is_none_is_told_once(folder, capsys):
    assert check(JOB.replace("my_validated_task:make", "my_validated_task")) == 2
    assert capsys.readouterr().err.count("spec.task.entrypoint") == 1


def test_an_entrypoint_without_a_task_is_a_problem_of_a_job_that_is_fine_otherwise(folder, capsys):
    assert check(JOB.replace(":make", ":mke")) == 2
    problem, end = capsys.readouterr().err.splitlines()
    assert problem.startswith("job.yaml:7: spec.task.entrypoint: ")
    assert problem.endswith('did you mean "make"?')
    assert end == "error: 1 problem in job.yaml"


def test_the_entrypoint_is_looked_for_beside_the_job_file(folder, capsys, monkeypatch):
    Path("job.yaml").write_text(JOB)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert validate([Path(os.pardir) / "job.yaml"], resolved=False) == 0


def test_an_override_is_checked_in_its_place(folder, capsys):
    assert check(JOB, overrides=[("spec.task.entrypoint", "my_validated_task:mke"), ("spec.rounds", "0")]) == 2
    *problems, _ = sorted(capsys.readouterr().err.splitlines())
    assert [problem.split(": ")[0] for problem in problems] == ["--set spec.rounds", "--set spec.task.entrypoint"]


def test_another_kind_of_file_is_one_problem(folder, capsys):
    assert check(JOB.replace("FederatedJob", "Deployment")) == 2
    assert capsys.readouterr().err.splitlines()[1:] == ["error: 1 problem in job.yaml"]


def test_a_misspelt_name_below_metadata_is_refused_and_what_a_cluster_writes_is_not(folder, capsys):
    assert check(JOB.replace("name: mine", "name: mine, lables: {a: b}, resourceVersion: '1', managedFields: []")) == 2
    problem, _ = capsys.readouterr().err.splitlines()
    assert problem.startswith('job.yaml:3: metadata.lables: unknown field, did you mean "labels"? allowed: name, ')


def test_each_file_has_its_own_lines_whatever_is_wrong_with_others(folder, capsys):
    Path("a.yaml").write_text(JOB)
    Path("b.yaml").write_text(JOB.replace("rounds: 3", "rounds: 0"))
    assert validate([Path("none.yaml"), Path("b.yaml"), Path("a.yaml")], resolved=False) == 2
    out, err = capsys.readouterr()
    assert out == "a.yaml: valid\n"
    assert [line.split(": ")[0] for line in err.splitlines()] == ["none.yaml", "error", "b.yaml:5", "error"]


def test_resolved_prints_yaml_alone_with_the_origin_of_each_value(folder, capsys):
    assert check(JOB, resolved=True, overrides=[("spec.quorum.percent", "50")]) == 0
    out, err = capsys.readouterr()
    assert err == "job.yaml: valid\n"
    lines = [line.strip() for line in out.splitlines()]
    assert "replicas: 4  # job.yaml:8" in lines
    assert "epochs: 1.0  # default" in lines
    assert any(line.startswith("percent: 50  # --set") for line in lines)
    Path("resolved.yaml").write_text(out)
    assert load_job(Path("resolved.yaml")).spec == load_job(Path("job.yaml"), [("spec.quorum.percent", "50")]).spec


def test_several_resolved_jobs_are_documents_of_one_stream(folder, capsys):
    Path("a.yaml").write_text(JOB)
    Path("b.yaml").write_text(JOB)
    assert validate([Path("a.yaml"), Path("b.yaml")], resolved=True) == 0
    assert capsys.readouterr().out.splitlines().count("---") == 2
