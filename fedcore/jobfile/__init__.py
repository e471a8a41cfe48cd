"""Job files: read with every problem at its place, and written with every default.

A job file is the first thing that a user writes and the commonest thing that is wrong. So all problems are found in one reading, each
with file, line, field, what is wrong and what is allowed. Lines come from the YAML nodes, field paths from pydantic, and what is allowed
from the models' JSON schema.
"""

from __future__ import annotations

from fedcore.jobfile.draft import Draft
from fedcore.jobfile.load import check_draft, load_job, parse_job, read_job
from fedcore.jobfile.problems import InvalidJob, Problem
from fedcore.jobfile.write import dump_job, resolved, resolved_yaml

__all__ = [
    "Draft",
    "InvalidJob",
    "Problem",
    "check_draft",
    "dump_job",
    "load_job",
    "parse_job",
    "read_job",
    "resolved",
    "resolved_yaml",
]
