"""Trackers: other people's dashboards for training runs, told of each round. Off unless named; one that is down never hurts a run.

Own ones are any class without arguments that has the three methods of `Tracker`, named as ``MODULE:CLASS``.
"""

from fedcore.report.trackers.delivery import END_SECONDS, INTERRUPTED_SECONDS, Trackers
from fedcore.report.trackers.protocol import RoundRow, RunInfo, Summary, Tracker
from fedcore.report.trackers.registry import UnusableTracker, find_trackers, split_names

__all__ = [
    "END_SECONDS",
    "INTERRUPTED_SECONDS",
    "RoundRow",
    "RunInfo",
    "Summary",
    "Tracker",
    "Trackers",
    "UnusableTracker",
    "find_trackers",
    "split_names",
]
