from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fedcore.coordinator.resume import active_seconds, lost_seconds
from fedcore.report.rundir import format_time

BEGAN = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
DAY = 86_400.0


def log(*lines):
    """Lines of (resume, seconds since the beginning, event)."""
    return [
        {"time": format_time(BEGAN + timedelta(seconds=seconds)), "resume": resume, "event": event, "seq": seq}
        for seq, (resume, seconds, event) in enumerate(lines)
    ]


@pytest.mark.parametrize(
    ("lines", "active"),
    [
        pytest.param([], 0.0, id="nothing has happened"),
        pytest.param([(0, 0, "run_started")], 0.0, id="one line"),
        pytest.param([(0, 0, "run_started"), (0, 3, "listening"), (0, 40.5, "update")], 40.5, id="one coordinator"),
        pytest.param(
            [(0, 0, "run_started"), (0, 40, "update"), (1, DAY, "coordinator_resumed"), (1, DAY + 7, "update")],
            47.0,
            id="the day between two does not count",
        ),
        pytest.param(
            [(0, 0, "run_started"), (0, 40, "update"), (1, DAY, "coordinator_resumed"), (2, 2 * DAY, "coordinator_resumed")],
            40.0,
            id="coordinators that died at once",
        ),
        pytest.param(
            [(0, 0, "run_started"), (0, 40, "update"), (0, 40, "round_closed"), (1, DAY, "coordinator_resumed")],
            40.0,
            id="a line that was completed later",
        ),
        pytest.param([(0, 0, "run_started"), (0, -50, "update")], 0.0, id="a clock that was set back"),
    ],
)
def test_only_the_time_of_running_coordinators_counts(lines, active):
    assert active_seconds(log(*lines)) == pytest.approx(active)


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        pytest.param([(0, 0, "run_started"), (0, 40, "update")], 0.0, id="never lost"),
        pytest.param([(0, 0, "quorum_lost"), (0, 40, "quorum_regained"), (0, 50, "update")], 0.0, id="regained"),
        pytest.param([(0, 0, "run_started"), (0, 40, "quorum_lost")], 0.001, id="lost in the last line"),
        pytest.param([(0, 0, "run_started"), (0, 40, "quorum_lost"), (0, 52, "round_deadline_missed")], 12.0, id="lost for a while"),
        pytest.param(
            [(0, 0, "quorum_lost"), (0, 9, "quorum_regained"), (0, 40, "quorum_lost"), (0, 52, "update")], 12.0, id="lost once more"
        ),
        pytest.param(
            [(0, 40, "quorum_lost"), (0, 52, "update"), (1, DAY, "coordinator_resumed"), (1, DAY + 5, "round_deadline_missed")],
            17.0,
            id="lost over a restart, the day between does not count",
        ),
    ],
)
def test_loss_clock_stands_while_nobody_runs_the_job(lines, lost):
    assert lost_seconds(log(*lines)) == pytest.approx(lost)
