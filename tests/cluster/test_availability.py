import subprocess
import sys

import pytest

from tests.cluster.availability import refusals

pytestmark = pytest.mark.e2e

ASK = "from tests.cluster.availability import refusals; print('\\n'.join(refusals()))"


def test_where_a_cluster_runs_nothing_is_refused(local_cluster):
    assert refusals() == []


@pytest.mark.parametrize(
    ("capability", "refused"),
    [
        pytest.param("sys_admin", ["make namespaces of mounts, networks and processes"], id="as in an ordinary container"),
        pytest.param("net_admin", ["make bridges", "forward packets", "filter and translate", "keep sets"], id="no network"),
    ],
)
def test_what_the_kernel_refuses_is_named(local_cluster, capability, refused):
    without = ["setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]
    lines = subprocess.run([*without, sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(refused)
    for line, start in zip(lines, refused, strict=True):
        assert line.startswith(start)
        assert "not permitted" in line.lower() or "denied" in line.lower()
