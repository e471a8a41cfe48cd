"""The drift task at a pace that a file sets while the job runs: slow as long as a test needs it, then to its end at once."""

from __future__ import annotations

from pathlib import Path

from drift_task import Drift

PACE = Path(__file__).with_name("seconds")
"""Seconds for a round."""


class Paced(Drift):
    """As slow as the file says."""

    def train(self, weights, work):
        self.seconds = float(PACE.read_text())
        return super().train(weights, work)


def task(context):
    return Paced(context)
