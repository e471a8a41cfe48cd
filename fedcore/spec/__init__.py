"""The FederatedJob as typed models: the one definition that the command line, the coordinator and the operator parse with.

Field names are camelCase in files and in the API, snake_case here. Unknown fields are refused, and so is a value of another type, as the
API server does: "5" is no number. A field's docstring is its documentation: unit, and the reason for its default. A rule over several
fields names the one to look at, so that its line in the job file can be shown (`fedcore.jobfile`). `fedcore.crd` makes the CRD of it.
"""

from __future__ import annotations

from fedcore.spec.job import API_VERSION, KIND, FederatedJob, Metadata, Spec, local_tls
from fedcore.spec.placement import DataEntry, format_indexes, parse_indexes
from fedcore.spec.processes import Checkpoint, Coordinator, FailurePolicy, Metrics, Security, Workers
from fedcore.spec.status import Condition, Status
from fedcore.spec.training import Aggregation, Evaluation, Quorum, Task, Workload

__all__ = [
    "API_VERSION",
    "KIND",
    "Aggregation",
    "Checkpoint",
    "Condition",
    "Coordinator",
    "DataEntry",
    "Evaluation",
    "FailurePolicy",
    "FederatedJob",
    "Metadata",
    "Metrics",
    "Quorum",
    "Security",
    "Spec",
    "Status",
    "Task",
    "Workers",
    "Workload",
    "format_indexes",
    "local_tls",
    "parse_indexes",
]
