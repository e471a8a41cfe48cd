"""Start a whole cluster, use it, stop it."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build import programs
from tests.cluster.commands import PATIENCE, wait_until
from tests.cluster.controlplane import start_control_plane
from tests.cluster.credentials import make_authority
from tests.cluster.errors import ClusterError
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.machine import Machine, start_machine
from tests.cluster.network import Addresses, build_switch, plug_in
from tests.cluster.nodes import import_image, start_node, start_policies, volumes
from tests.cluster.sandbox import sandbox_archive
from tests.cluster.slots import KEPT_SLOT, Slot, clear, reap, take, take_free

CONTROL_PLANE = "control-plane"


@dataclass(frozen=True)
class LocalCluster(Kubernetes):
    """A cluster of this machine, with what a foreign one does not allow: its machines can be reached and its cables cut."""

    slot: Slot
    machines: tuple[Machine, ...]
    lifeline: int | None

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes."""
        return tuple(machine.name for machine in self.machines if machine.name != CONTROL_PLANE)

    def load(self, archive: Path) -> None:
        """Give every node the images of an archive, in the format of docker or of OCI."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: import_image(self.machine(name), archive), self.nodes))

    def cut(self, node: str) -> None:
        """Take a node off the network; its pods run on."""
        self.machine(CONTROL_PLANE).network("ip", "link", "set", node, "down")

    def heal(self, node: str) -> None:
        """Put it back."""
        self.machine(CONTROL_PLANE).network("ip", "link", "set", node, "up")

    def machine(self, name: str) -> Machine:
        """The machine of that name: ``control-plane``, ``node-1``, ..."""
        return next(machine for machine in self.machines if machine.name == name)

    def stop(self) -> None:
        """Remove everything."""
        clear(self.slot)
        if self.lifeline is not None:
            os.close(self.lifeline)
        for machine in self.machines:
            for process in machine.processes:
                process.wait(timeout=PATIENCE)
        self.slot.release()


def start(nodes: int) -> LocalCluster:
    """Start a cluster that ends with this process, however that ends."""
    sandbox_archive()
    reap()
    slot = take_free()
    ending, lifeline = os.pipe()
    try:
        return _start(slot, nodes, (ending, lifeline))
    except BaseException:
        clear(slot)
        os.close(lifeline)
        slot.release()
        raise
    finally:
        os.close(ending)


def start_kept(nodes: int) -> LocalCluster:
    """Start the cluster that runs on after this process, until ``stop_kept``.

    Raises
    ------
    ClusterError
        There is one already.
    """
    sandbox_archive()
    reap()
    slot = take(KEPT_SLOT)
    if slot is None or slot.kept.exists():
        raise ClusterError("a cluster runs already, or is being started; `python -m tests.cluster down` removes it")
    try:
        cluster = _start(slot, nodes, None)
    except BaseException:
        clear(slot)
        raise
    slot.kept.write_text(json.dumps({machine.name: machine.pid for machine in cluster.machines}))
    return cluster


def find_kept() -> LocalCluster:
    """The cluster that was started to be kept.

    Raises
    ------
    ClusterError
        There is none.
    """
    slot = take(KEPT_SLOT)
    if slot is None or not slot.kept.exists():
        raise ClusterError("no cluster runs; `python -m tests.cluster up` starts one")
    machines = tuple(Machine(name, slot.state / name, pid) for name, pid in json.loads(slot.kept.read_text()).items())
    return _handle(slot, machines, None)


def stop_kept() -> None:
    """Remove the kept cluster, and what killed owners left of theirs."""
    slot = take(KEPT_SLOT)
    if slot is None:
        raise ClusterError("the cluster is being started or used by another process")
    clear(slot)
    slot.release()
    reap()


def _start(slot: Slot, nodes: int, pipe: tuple[int, int] | None) -> LocalCluster:
    slot.state.mkdir(parents=True)
    folder, addresses = programs(), Addresses(slot.number)
    names = [CONTROL_PLANE, *(f"node-{number}" for number in range(1, nodes + 1))]
    with ThreadPoolExecutor() as pool:
        ending = pipe[0] if pipe else None
        machines = list(pool.map(lambda name: start_machine(name, slot.state, folder / "init", ending), names))
        control_plane, *workers = machines
        build_switch(control_plane, addresses)
        for number, machine in enumerate(workers, 1):
            plug_in(control_plane, machine, number, addresses)
        authority = make_authority(slot.state / "authority")
        server = start_control_plane(control_plane, folder, authority, addresses)
        authority.kubeconfig(slot.state / "admin.kubeconfig", server.url, "/O=system:masters/CN=admin")
        numbered = list(enumerate(workers, 1))
        list(pool.map(lambda node: start_node(node[1], node[0], slot, server), numbered))
        cluster = _handle(slot, tuple(machines), pipe[1] if pipe else None)
        wait_until("nodes", lambda: _are_ready(cluster, nodes), log=slot.state / "node-1/kubelet.log")
        list(pool.map(lambda node: start_policies(node[1], node[0], server, addresses), numbered))
    _offer_storage(cluster, workers)
    return cluster


def _handle(slot: Slot, machines: tuple[Machine, ...], lifeline: int | None) -> LocalCluster:
    folder = programs()
    return LocalCluster(slot.state / "admin.kubeconfig", folder / "kubectl", folder / "helm", slot, machines, lifeline)


def _are_ready(cluster: Kubernetes, nodes: int) -> bool:
    conditions = [condition for node in cluster.get("nodes")["items"] for condition in node["status"].get("conditions", [])]
    ready = [condition for condition in conditions if condition["type"] == "Ready" and condition["status"] == "True"]
    return len(ready) == nodes


def _offer_storage(cluster: Kubernetes, nodes: Sequence[Machine]) -> None:
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    cluster.apply(storage_class, *(volume for node in nodes for volume in volumes(node)))
