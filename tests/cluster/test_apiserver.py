import subprocess
import sys

import pytest

from tests.cluster.commands import PATIENCE, wait_until
from tests.cluster.errors import ClusterError

pytestmark = pytest.mark.apiserver


def test_objects_owned_by_a_deleted_one_go_with_it(apiserver):
    with apiserver.namespace() as namespace:
        apiserver.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}, namespace=namespace)
        uid = apiserver.get("configmap/owner", f"--namespace={namespace}")["metadata"]["uid"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}
        owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [reference]}}
        apiserver.apply(owned, namespace=namespace)
        apiserver.kubectl("delete", "configmap/owner", f"--namespace={namespace}")
        names = lambda: [item["metadata"]["name"] for item in apiserver.get("configmaps", f"--namespace={namespace}")["items"]]  # noqa: E731
        wait_until("garbage collection", lambda: "owned" not in names())


def test_pod_security_is_enforced(apiserver):
    with apiserver.namespace(level="restricted") as namespace, pytest.raises(ClusterError, match="violates PodSecurity"):
        apiserver.kubectl("run", "pod", "--image=none", f"--namespace={namespace}", "--dry-run=server")


def test_unknown_fields_are_refused(apiserver):
    with pytest.raises(ClusterError, match="dta"):
        apiserver.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "typo"}, "dta": {}})


STARTER = """
import sys, pathlib
from tests.cluster.apiserver import apiserver
with apiserver(pathlib.Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ending", [pytest.param("closed", id="closed"), pytest.param("killed", id="its owner killed")])
def test_no_process_outlives_the_owner(ending, tmp_path, apiserver):
    folder = tmp_path / "apiserver"
    command = [sys.executable, "-c", STARTER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout.readline() == b"up\n"
        assert len(_using(folder)) >= 3
        if ending == "closed":
            starter.stdin.close()
        else:
            starter.kill()
        starter.wait(timeout=PATIENCE)
    wait_until("all processes to end", lambda: not _using(folder))


def _using(folder):
    found = subprocess.run(["pgrep", "--full", "--", f"={folder}/"], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found]
