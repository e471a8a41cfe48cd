"""What is counted of a job's way, and the series that are there from the start."""

import pytest
from prometheus_client import CollectorRegistry

from fedcore.engine.reasons import EndReason
from fedcore_operator.decide.answers import error_class
from fedcore_operator.runtime import metrics
from fedcore_operator.runtime.meters import Meters
from support.operator_objects import make_job, make_status, running

COMPLETE = ("Complete", "True", "Completed")
LOST = ("Failed", "True", "QuorumLost")
ENDED = {"completionTime": "2026-11-25T12:00:30Z"}
STARTING = make_status(startTime="2026-11-25T11:59:00Z")


def changed(before, after):
    """What one written status adds, as a function (metric's series, labels) -> value."""
    registry = CollectorRegistry()
    Meters(registry).changed(make_job(status=before), after)
    return lambda name, **labels: registry.get_sample_value(f"fedcore_operator_{name}", labels)


@pytest.mark.parametrize(
    ("before", "after", "result", "reason", "seconds"),
    [
        pytest.param(running(), running(COMPLETE, **ENDED), "succeeded", "Completed", 90, id="completed"),
        pytest.param(running(), running(LOST, **ENDED), "failed", "QuorumLost", 90, id="failed"),
        pytest.param(make_status(), make_status(LOST, **ENDED), "failed", "QuorumLost", None, id="never started"),
    ],
)
def test_an_end_counts_once(before, after, result, reason, seconds):
    value = changed(before, after)
    assert value("jobs_finished_total", result=result, reason=reason) == 1
    assert value("job_duration_seconds_count", result=result) == (seconds is not None)
    assert value("job_duration_seconds_sum", result=result) == (seconds or 0)
    again = changed(after, after)
    assert again("jobs_finished_total", result=result, reason=reason) == 0


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        pytest.param(STARTING, running(), 1, id="the quorum is there for the first time"),
        pytest.param(running(), running(), 0, id="it was there before"),
        pytest.param(STARTING, running(("Suspended", "False", "Resumed")), 0, id="it was made to wait"),
        pytest.param(STARTING, STARTING, 0, id="not yet"),
    ],
)
def test_the_time_to_the_first_round_is_that_of_jobs_that_nobody_held_up(before, after, count):
    value = changed(before, after)
    assert value("job_time_to_first_round_seconds_count") == count
    assert value("job_time_to_first_round_seconds_sum") == 50 * count


def test_every_end_that_can_be_has_its_series_from_the_start():
    registry = CollectorRegistry()
    Meters(registry)
    (family,) = [one for one in registry.collect() if f"{one.name}_total" == metrics.JOBS_FINISHED.name]
    pairs = {(sample.labels["result"], sample.labels["reason"]) for sample in family.samples}
    assert pairs == {("succeeded", "Completed")} | {
        ("failed", str(reason)) for reason in EndReason if reason not in {EndReason.COMPLETED, EndReason.INTERRUPTED}
    }


@pytest.mark.parametrize(("code", "word"), [(0, "timeout"), (429, "throttled"), (500, "api"), (403, "api")])
def test_what_keeps_a_pass_from_its_work_has_a_class(code, word):
    assert error_class(code) == word
