"""The project that `fedcore init` makes works as it is."""

import os
import subprocess
import sys

import pytest
import yaml

from fedcore.cli.init import init
from fedcore.tasks.entrypoint import check_entrypoint

FILES = {"task.py", "job.yaml", "Dockerfile", "README.md", "test_task.py"}


@pytest.fixture
def project(tmp_path):
    assert init("my-project", tmp_path) == 0
    return tmp_path / "my-project"


def test_init_makes_all_files_and_names_the_next_command(tmp_path, capsys):
    assert init("my-project", tmp_path) == 0
    folder = tmp_path / "my-project"
    assert {path.name for path in folder.iterdir()} == FILES
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == f"next: fedcore run {folder / 'job.yaml'}"
    assert output.err == ""


def test_no_placeholder_is_left(project):
    for name in FILES:
        text = (project / name).read_text()
        assert "$name" not in text
        assert "$version" not in text
        assert "$" not in text.replace("${BASE_IMAGE}", "")


def test_the_job_is_named_after_the_project_and_its_entrypoint_can_be_imported(project):
    job = yaml.safe_load((project / "job.yaml").read_text())
    assert job["metadata"]["name"] == "my-project"
    assert check_entrypoint(job["spec"]["task"]["entrypoint"], project) is None


def test_the_task_is_short(project):
    assert len((project / "task.py").read_text().splitlines()) <= 60


def test_the_projects_own_tests_pass(project):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."]
    done = subprocess.run(
        command, cwd=project, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    assert init("empty", tmp_path) == 0
    assert {path.name for path in (tmp_path / "empty").iterdir()} == FILES


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "task.py").write_text("mine")
    assert init("taken", tmp_path) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 'taken'} exists and is not empty; nothing was written. Choose another name, or empty it first\n"
    )
    assert (tmp_path / "taken" / "task.py").read_text() == "mine"
    assert len(list((tmp_path / "taken").iterdir())) == 1


def test_a_file_in_the_way_is_left_alone(tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    assert init("taken", tmp_path) == 2
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "My-Project", "2nd", "a_b", "-a", "a-", "../up", "a/b", "a" * 46, "projekt\n"])
def test_a_name_that_no_job_can_have_is_refused(tmp_path, capsys, name):
    assert init(name, tmp_path) == 2
    assert "cannot name a job" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a1", "a" * 45])
def test_the_shortest_and_the_longest_name_do(tmp_path, name):
    assert init(name, tmp_path) == 0


def test_a_place_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert init("project", tmp_path / "file") == 1
    assert "cannot write the project" in capsys.readouterr().err
