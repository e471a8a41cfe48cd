"""MLflow: one run for each run of a job, in the experiment that ``MLFLOW_EXPERIMENT_NAME`` says, else in one with the job's name."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Phase
from fedcore.report.trackers.protocol import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.tracking import MlflowClient

    from fedcore.report.trackers.protocol import RoundRow, RunInfo, Summary

__all__ = ["MLflow"]

_RUN_ID = "fedcore.run_id"
_MOST_PARAMETERS = 100
"""What MLflow takes in one call."""
_LONGEST_PARAMETER = 500


class MLflow:
    """Figures of rounds.csv as metrics by round, fields of the spec as parameters, the end as tags and status. A resumed run goes on."""

    def __init__(self) -> None:
        self._client: MlflowClient | None = None
        self._run_id = ""

    def on_run_start(self, run: RunInfo) -> None:
        """Find the run if it has been here before, else make it."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a job's coordinator calls nobody whom its user has not named
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        client = self._client = MlflowClient()
        experiment = _experiment(client, run.job)
        found = client.search_runs([experiment], filter_string=f"tags.`{_RUN_ID}` = '{run.run_id}'", max_results=1)
        if found:
            self._run_id = found[0].info.run_id
            client.update_run(self._run_id, status="RUNNING")
            return
        made = client.create_run(experiment, run_name=run.run_dir.name, tags={_RUN_ID: run.run_id, "fedcore.job": run.job})
        self._run_id = made.info.run_id
        parameters = [Param(name, str(value)[:_LONGEST_PARAMETER]) for name, value in _flat(run.spec)]
        client.log_batch(self._run_id, params=parameters[:_MOST_PARAMETERS])

    def log_round(self, row: RoundRow) -> None:
        """Send the figures of a round in one call."""
        from mlflow.entities import Metric

        assert self._client is not None
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, row["round"]) for name, value in numbers(row).items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def on_run_end(self, summary: Summary) -> None:
        """Say how it ended."""
        assert self._client is not None
        for name in ("phase", "reason", "message"):
            self._client.set_tag(self._run_id, f"fedcore.{name}", summary[name])
        self._client.set_terminated(self._run_id, "FINISHED" if summary["phase"] == Phase.SUCCEEDED else "FAILED")


def _experiment(client: MlflowClient, job: str) -> str:
    asked = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if asked:
        return asked
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or job
    known = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if known is None else known.experiment_id)


def _flat(fields: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
