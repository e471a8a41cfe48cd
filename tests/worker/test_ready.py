from __future__ import annotations

from fedcore.worker.ready import ReadyFile


def test_the_file_outlives_the_session_by_the_grace(tmp_path):
    path = tmp_path / "ready"
    ready = ReadyFile(path, 3600.0)
    ready.check()
    assert not path.exists()
    ready.seen()
    ready.check()
    assert path.exists()


def test_the_file_goes_when_the_grace_has_passed_and_comes_back_with_the_session(tmp_path):
    path = tmp_path / "ready"
    ready = ReadyFile(path, -1.0)
    ready.seen()
    ready.check()
    assert not path.exists()
    ready.seen()
    assert path.exists()
    ready.remove()
    assert not path.exists()
