"""A cluster leaves nothing behind, whether it is stopped, its owner is killed, or its start is cut short."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.commands import PATIENCE, wait_until
from tests.cluster.slots import leftovers, reap

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STARTER = """
import sys
from tests.cluster.cluster import start
from tests.cluster.sandbox import SANDBOX_IMAGE
cluster = start(nodes=2)
with cluster.namespace(level="privileged") as namespace:
    for node in cluster.nodes:
        spec = {"nodeName": node, "containers": [{"name": "sandbox", "image": SANDBOX_IMAGE}]}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": spec}, namespace=namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "pods", "--all", f"--namespace={namespace}")
    print(cluster.slot.number, flush=True)
    sys.stdin.read()
cluster.stop()
"""

UNFINISHED = """
import sys
from tests.cluster import cluster, slots
slot = slots.take_free()
print(slot.number, flush=True)
cluster._start(slot, 1, None)
sys.stdin.read()
"""


@pytest.fixture
def starter(local_cluster):
    """Start a second cluster, beside that of the session, in a process of its own."""
    started = []

    def start(script):
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    reap()


@pytest.fixture
def host():
    """What of this machine no cluster may change."""

    def look():
        rules = [subprocess.run([tool], capture_output=True, text=True).stdout for tool in ("iptables-save", "ip6tables-save")]
        return {
            "rules": [[line for line in text.splitlines() if line.startswith(("-", ":"))] for text in rules],
            "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "fedcore" in line or "containerd" in line],
            "settings": [Path(f"/proc/sys/{name}").read_text() for name in ("kernel/panic", "vm/overcommit_memory", "net/ipv4/ip_forward")],
            "folders": {str(path) for top in ("/run", "/var/lib", "/var/log", "/etc/cni") for path in Path(top).glob("*")},
            "namespaces": subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout,
        }

    return look


def test_nothing_is_left_after_a_stop(starter, host):
    before = host()
    process = starter(STARTER)
    number = int(process.stdout.readline())
    kinds = {line.split()[0] for line in leftovers(number)}
    assert {"process", "device", "control", "folder"} <= kinds
    assert host() == before
    process.stdin.close()
    assert process.wait(timeout=PATIENCE) == 0
    assert leftovers(number) == []
    assert host() == before


def test_a_killed_owner_takes_its_machines_along_and_the_rest_is_reaped(starter, host):
    before = host()
    process = starter(STARTER)
    number = int(process.stdout.readline())
    process.kill()
    process.wait(timeout=PATIENCE)
    gone = ("process", "device", "mount")
    wait_until("the kernel to clean up", lambda: not [line for line in leftovers(number) if line.startswith(gone)])
    assert number in reap()
    assert leftovers(number) == []
    assert host() == before


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_start_cut_short_is_cleaned_up_by_the_next_one(starter, sign):
    """Even one of a cluster that shall run without an owner, and so has nobody whose death would end it."""
    process = starter(UNFINISHED)
    number = int(process.stdout.readline())
    wait_until("a machine to run", lambda: any("etcd" in line for line in leftovers(number)))
    os.kill(process.pid, sign)
    process.wait(timeout=PATIENCE)
    assert [line for line in leftovers(number) if line.startswith("process")], "killed too late"
    assert number in reap()
    assert leftovers(number) == []


def test_a_living_owner_is_left_alone(local_cluster):
    assert local_cluster.slot.number not in reap()
    assert local_cluster.get("nodes")["items"]
