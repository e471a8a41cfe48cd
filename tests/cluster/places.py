"""Where the test cluster keeps what: built programs and images in a cache that lasts, running clusters aside from it."""

import os
from pathlib import Path

COMPONENTS = Path(__file__).resolve().parent / "components"
"""Go modules with pinned versions, one folder for each program."""

REPOSITORY = COMPONENTS.parents[2]

STATES = Path("/var/tmp/fedcore-cluster")
"""One folder per running cluster, named by its slot. A fixed place, so that any later run finds what a killed one left."""


def cache() -> Path:
    """Outside of the checkout, so that a fresh clone on the same machine finds what an earlier one has built."""
    return Path(os.environ.get("FEDCORE_CACHE") or Path.home() / ".cache" / "fedcore").absolute() / "cluster"
