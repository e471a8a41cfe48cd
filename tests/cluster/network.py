"""Addresses of a cluster, and the cables between its machines."""

from dataclasses import dataclass

from tests.cluster.commands import run
from tests.cluster.machine import Machine

SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
FIRST_SERVICE = "10.96.0.1"


@dataclass(frozen=True)
class Addresses:
    """Addresses of the cluster in one slot; those of pods and services repeat in each, as they cannot be seen from outside."""

    slot: int

    @property
    def control_plane(self) -> str:
        """API server, DNS, and the router between nodes."""
        return f"10.123.{self.slot}.1"

    @property
    def host(self) -> str:
        """This machine, from which the API is used."""
        return f"10.123.{self.slot}.254"

    @property
    def host_device(self) -> str:
        """The only network device outside of the machines."""
        return f"fedcore{self.slot}"

    def node(self, number: int) -> str:
        """Address of node ``number``, counted from 1."""
        return f"10.123.{self.slot}.{10 + number}"

    def pods(self, number: int) -> str:
        """Network of the pods of node ``number``."""
        return f"10.244.{number}.0/24"


def build_switch(control_plane: Machine, addresses: Addresses) -> None:
    """Make the switch in the control plane and plug this host into it."""
    control_plane.network("ip", "link", "add", "switch", "type", "bridge")
    control_plane.network("ip", "addr", "add", f"{addresses.control_plane}/24", "dev", "switch")
    control_plane.network("ip", "link", "set", "switch", "up")
    run(["ip", "link", "add", addresses.host_device, "type", "veth", "peer", "name", "host", "netns", str(control_plane.pid)])
    control_plane.network("ip", "link", "set", "host", "master", "switch", "up")
    run(["ip", "addr", "add", f"{addresses.host}/24", "dev", addresses.host_device])
    run(["ip", "link", "set", addresses.host_device, "up"])


def plug_in(control_plane: Machine, node: Machine, number: int, addresses: Addresses) -> None:
    """Connect a node to the switch; the control plane routes to its pods."""
    control_plane.network("ip", "link", "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
    control_plane.network("ip", "link", "set", node.name, "master", "switch", "up")
    node.network("ip", "addr", "add", f"{addresses.node(number)}/24", "dev", "eth0")
    node.network("ip", "link", "set", "eth0", "up")
    node.network("ip", "route", "add", "default", "via", addresses.control_plane)
    # Traffic between pods of one node crosses its bridge; policies have to see it too.
    node.network("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    control_plane.network("ip", "route", "add", addresses.pods(number), "via", addresses.node(number))
