"""docs/metrics.md is what the catalogues make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from charts.dashboards.reference import reference
from fedcore.coordinator.metrics import CATALOGUE as COORDINATOR
from fedcore.metrics import Kind
from fedcore.worker.metrics import CATALOGUE as WORKER
from fedcore_operator.runtime.metrics import CATALOGUE as OPERATOR

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ALL = [*COORDINATOR, *WORKER, *OPERATOR]


def test_page_is_as_the_catalogues_make_it():
    assert PAGE.read_text(encoding="utf-8") == reference(), "make metrics"


@pytest.mark.parametrize("catalogue", [COORDINATOR, WORKER, OPERATOR], ids=["coordinator", "worker", "operator"])
def test_names_follow_the_rules(catalogue):
    names = [metric.name for metric in catalogue]
    assert len(set(names)) == len(names)
    for metric in catalogue:
        assert metric.name.startswith("fedcore_")
        assert metric.help
        assert "|" not in metric.help
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert "round" not in metric.label_names
        assert not metric.name.endswith(("_count", "_sum", "_bucket"))
        assert metric.buckets == tuple(sorted(metric.buckets))
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        for label in metric.labels:
            assert set(label.from_start) <= set(label.values)


def test_one_name_means_one_thing_in_all_processes():
    kinds = {(metric.name, metric.kind, metric.label_names, metric.buckets) for metric in ALL}
    assert len(kinds) == len({metric.name for metric in ALL})
