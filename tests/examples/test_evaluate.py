"""The script that measures a model with torch and safetensors alone agrees with the task."""

import runpy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from safetensors.numpy import save_file  # noqa: E402  # after the check that there is torch

from fedcore.tasks.mnist import task  # noqa: E402
from fedcore.tasks.task import Context, Work  # noqa: E402

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).parents[2] / "examples" / "evaluate.py"


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(SCRIPT))["main"]


def test_it_measures_what_the_task_measures(main, tmp_path, capsys):
    worker = task(Context(0, 1, 0, {"images": "1000"}))
    weights = worker.train(worker.initial_weights(0), Work(epochs=1, seed=0, round=1)).weights
    save_file(weights, tmp_path / "model.safetensors")
    accuracy = worker.evaluate(weights).metrics["accuracy"]
    for argument in (tmp_path, tmp_path / "model.safetensors"):
        assert main([str(argument)]) == 0
        assert capsys.readouterr().out.startswith(f"accuracy {accuracy:.4f} ({round(accuracy * 2000)} of 2000 images)")


def test_wrong_use_is_refused(main, tmp_path, capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "there is no file" in capsys.readouterr().err
    save_file({"other": task(Context(0, 1, 0)).initial_weights(0)["conv1.bias"]}, tmp_path / "model.safetensors")
    assert main([str(tmp_path)]) == 1
    assert "is no model of the task" in capsys.readouterr().err
