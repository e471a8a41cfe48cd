from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedcore.wire.protocol import MAX_SAMPLES, MAX_TRAIN_SECONDS, UpdateReport


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param({"eval_samples": "1" + "0" * 400}, id="held-out samples beyond a double"),
        pytest.param({"eval_samples": MAX_SAMPLES + 1}, id="held-out samples beyond any data set"),
        pytest.param({"eval_samples": -1}, id="fewer held-out samples than none"),
        pytest.param({"samples": "1" + "0" * 400}, id="samples beyond 64 bits"),
        pytest.param({"seconds": 1.7e308}, id="longer training than the universe is old"),
        pytest.param({"seconds": -1.0}, id="training that ended before it began"),
        pytest.param({"seconds": float("inf")}, id="endless training"),
        pytest.param({"train_loss": float("nan")}, id="a loss that is no number"),
        pytest.param({"metrics": {"accuracy": float("inf")}}, id="a metric that is not finite"),
    ],
)
def test_reports_beyond_all_measure_are_no_reports(claim):
    with pytest.raises(ValidationError):
        UpdateReport.model_validate({"base": "b", **claim})


def test_reports_at_the_bounds_are_reports():
    report = UpdateReport.model_validate(
        {"base": "b", "samples": str(2**63 - 1), "eval_samples": MAX_SAMPLES, "seconds": MAX_TRAIN_SECONDS}
    )
    assert (report.samples, report.eval_samples) == (2**63 - 1, MAX_SAMPLES)
