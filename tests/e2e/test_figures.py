"""Figures as they are recorded, and as a page shows them."""

import json

from tests.e2e.figures import VARIABLE, record_figure, table


def test_figures_of_one_name_become_a_range(tmp_path, monkeypatch):
    file = tmp_path / "figures.jsonl"
    monkeypatch.setenv(VARIABLE, str(file))
    record_figure("pod back after", 3.14159, "s")
    record_figure("kills", 20, "kills")
    record_figure("pod back after", 2, "s")
    lines = file.read_text().splitlines()
    assert json.loads(lines[0]) == {"what": "pod back after", "value": 3.14, "unit": "s"}
    assert table(lines).splitlines()[2:] == ["| pod back after | 2 times 2 to 3.14 s |", "| kills | 20 kills |"]


def test_without_a_file_a_figure_is_only_printed(monkeypatch, capsys):
    monkeypatch.delenv(VARIABLE, raising=False)
    record_figure("kills", 20, "kills")
    assert '"value": 20' in capsys.readouterr().out
