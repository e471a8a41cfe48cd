"""Names of trackers: what is found, and what is refused in words."""

from __future__ import annotations

import pytest

from fedcore.report.trackers import UnusableTracker, find_trackers, registry, split_names


@pytest.mark.parametrize(
    ("texts", "names"),
    [([], ()), (["a"], ("a",)), (["a,b", " c , a", ""], ("a", "b", "c")), ([","], ())],
)
def test_split_names(texts, names):
    assert split_names(texts) == names


def test_shipped_ones_are_found(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    makers = find_trackers(["tensorboard", "mlflow"])
    assert [type(make()).__name__ for make in makers.values()] == ["TensorBoard", "MLflow"]


def test_own_ones_are_found(tmp_path, monkeypatch):
    (tmp_path / "own_tracker.py").write_text("class Mine:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    makers = find_trackers(["own_tracker:Mine"])
    assert type(makers["own_tracker:Mine"]()).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("wandb", '"wandb" is no tracker; allowed: tensorboard, mlflow, or MODULE:CLASS of your own', id="unknown"),
        pytest.param("mlflow", "mlflow: MLFLOW_TRACKING_URI is not set", id="no server"),
        pytest.param("nowhere:Mine", "nowhere:Mine: cannot be imported: No module named 'nowhere'", id="no module"),
        pytest.param("json:Mine", "has no attribute 'Mine'", id="no class"),
        pytest.param("string:digits", "digits is str, not a class", id="no class but something"),
    ],
)
def test_what_cannot_work_is_refused(name, said, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UnusableTracker) as refused:
        find_trackers([name])
    assert said in str(refused.value)


@pytest.mark.parametrize(("name", "needs"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_a_missing_extra_is_refused(name, needs, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda module: None if module == needs else object())
    with pytest.raises(UnusableTracker, match=rf'{name}: {needs} is not installed: pip install "fedcore\[{name}\]"'):
        find_trackers([name])
