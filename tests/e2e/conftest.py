"""A real API server, for what no imitation can say."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def apiserver():
    """Return the kubeconfig of an API server that tests may write to; only where one is named."""
    path = os.environ.get("FEDCORE_E2E_KUBECONFIG")
    if not path:
        pytest.skip("FEDCORE_E2E_KUBECONFIG names no API server")
    return Path(path)
