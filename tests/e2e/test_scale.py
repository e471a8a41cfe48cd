"""Many jobs at once: before an API server alone with a kubelet's part played, and on nodes."""

import json

import pytest

from tests.e2e.scale import measure

MIB_ALLOWED = 512
"""The chart's limit."""


@pytest.mark.long
@pytest.mark.apiserver
@pytest.mark.timeout(3000)
def test_two_hundred_jobs_and_ten_thousand_pods(apiserver, tmp_path, capsys):
    figures = measure(jobs=200, pods=50, restarts=3, steady_seconds=120, folder=tmp_path)
    with capsys.disabled():
        print(json.dumps(figures))
    _check(figures, 200)


@pytest.mark.apiserver
def test_a_few_jobs_with_a_restart(apiserver, tmp_path):
    """The same in small, so that the figures can be had when they are wanted."""
    _check(measure(jobs=4, pods=5, restarts=1, steady_seconds=5, folder=tmp_path), 4)


def _check(figures, jobs):
    assert figures["ended"]["complete"] == jobs
    assert figures["applied"]["refused"] == []
    restart = figures["first_passes"][-1]["calls_per_job"]
    assert not [call for call in restart if call.startswith("create") and not call.startswith("create events")], "all is there already"
    assert max(part["memory_peak_mib"] for part in (figures["applied"], figures["steady"], figures["ended"])) < MIB_ALLOWED
