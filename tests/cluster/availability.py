"""Whether this machine can run what a test asks for, and making it so: packages, programs."""

import os
import sys

from tests.cluster import packages
from tests.cluster.build import programs
from tests.cluster.errors import Unavailable


def prepare_apiserver() -> None:
    """Install and build what an API server alone needs.

    Raises
    ------
    Unavailable
        This machine cannot run one; the message says why.
    """
    if sys.platform != "linux":
        raise Unavailable(f"a test cluster needs Linux, this is {sys.platform}")
    packages.install(packages.APISERVER)
    programs()


def prepare_cluster() -> None:
    """Likewise for a whole cluster."""
    if sys.platform != "linux":
        raise Unavailable(f"a test cluster needs Linux, this is {sys.platform}")
    if os.geteuid() != 0:
        raise Unavailable("a test cluster needs root, for namespaces and control groups")
    packages.install(packages.CLUSTER)
    programs()
