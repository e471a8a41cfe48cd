"""A node: containerd, kubelet, kube-proxy, and kube-router for network policies, on a machine of its own."""

import json
import textwrap
import urllib.request
from pathlib import Path

from tests.cluster.commands import wait_until
from tests.cluster.controlplane import ApiServer
from tests.cluster.machine import Machine
from tests.cluster.network import FIRST_SERVICE, PODS, SERVICES, Addresses
from tests.cluster.sandbox import SANDBOX_IMAGE, sandbox_archive
from tests.cluster.slots import Slot, control_groups

POLICIES_HEALTH_PORT = 20244

VOLUMES = 2
"""Local volumes that each node offers; test jobs need one at a time, and one to replace it."""


def start_node(machine: Machine, number: int, slot: Slot, server: ApiServer) -> None:
    """Start containerd, kubelet and kube-proxy of node ``number``. It is ready when the API says so."""
    addresses = Addresses(slot.number)
    home = machine.home
    _start_containerd(machine, number, addresses)
    kubeconfig = server.authority.kubeconfig(home / "kubelet.kubeconfig", server.url, f"/O=system:nodes/CN=system:node:{machine.name}")
    proxy = server.authority.kubeconfig(home / "proxy.kubeconfig", server.url, "/CN=system:kube-proxy")
    machine.start(
        "kubelet",
        [
            f"{server.programs}/kubelet",
            f"--config={_kubelet_configuration(machine, slot, server, addresses)}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={machine.name}",
            f"--node-ip={addresses.node(number)}",
        ],
    )
    machine.start(
        "proxy",
        [
            f"{server.programs}/kube-proxy",
            f"--kubeconfig={proxy}",
            f"--hostname-override={machine.name}",
            f"--cluster-cidr={PODS}",
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",  # the limit is the whole kernel's, not this machine's
        ],
    )


def start_policies(machine: Machine, number: int, server: ApiServer, addresses: Addresses) -> None:
    """Start what enforces network policies on a node that is known to the API, and wait until it does.

    kube-router looks for its node once and gives up. Unnoticed, that would leave every policy without effect. It comes after kube-proxy's
    first pass: if both change the packet filter at once, that pass fails, and may not be repeated for minutes.
    """
    wait_until(f"services of {machine.name}", lambda: f"{FIRST_SERVICE}/32" in machine.run("iptables-save", "--table=nat"), seconds=60)
    kubeconfig = server.authority.kubeconfig(machine.home / "router.kubeconfig", server.url, "/O=system:masters/CN=kube-router")
    machine.start(
        "router",
        [
            f"{server.programs}/kube-router",
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={machine.name}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--health-port={POLICIES_HEALTH_PORT}",
            "--iptables-sync-period=5s",
        ],
    )
    url = f"http://{addresses.node(number)}:{POLICIES_HEALTH_PORT}/healthz"

    def enforces() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_until(f"network policies of {machine.name}", enforces, log=machine.home / "router.log")


def volumes(machine: Machine) -> list[dict[str, object]]:
    """Make the folders of a node's local volumes and return the PersistentVolumes."""
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [machine.name]}]}
    made: list[dict[str, object]] = []
    for index in range(1, VOLUMES + 1):
        folder = machine.home / f"volume-{index}"
        folder.mkdir()
        spec = {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        }
        made.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{machine.name}-{index}"}, "spec": spec})
    return made


def import_image(machine: Machine, archive: Path) -> None:
    """Give a node the images of an archive, as if it had pulled them.

    They are unpacked when a pod needs them: most nodes never see a pod with torch, of which a copy takes ten seconds and 1.3 GB.
    """
    machine.run("ctr", "--namespace=k8s.io", "images", "import", "--no-unpack", archive, seconds=600)


def _start_containerd(machine: Machine, number: int, addresses: Addresses) -> None:
    home = machine.home
    (home / "cni-configuration").mkdir()
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": addresses.pods(number)}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    (home / "cni-configuration/10-pods.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}))
    configuration = home / "containerd.toml"
    configuration.write_text(
        textwrap.dedent(f"""\
        version = 2
        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = "{SANDBOX_IMAGE}"
          restrict_oom_score_adj = true
          netns_mounts_under_state_dir = true
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "/usr/lib/cni"
            conf_dir = "{home}/cni-configuration"
        [plugins."io.containerd.internal.v1.opt"]
          path = "/var/lib/containerd/opt"
        """)
    )
    machine.start("containerd", ["containerd", "--config", configuration])
    wait_until(f"containerd of {machine.name}", lambda: machine.answers("ctr", "version"), log=home / "containerd.log")
    import_image(machine, sandbox_archive())


def _kubelet_configuration(machine: Machine, slot: Slot, server: ApiServer, addresses: Addresses) -> Path:
    (machine.home / "resolv.conf").write_text("")
    group = control_groups(slot, machine.name)
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(server.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [addresses.control_plane],
        "clusterDomain": "cluster.local",
        "resolvConf": str(machine.home / "resolv.conf"),
        # All nodes share one disk and memory; a full disk of the host is no reason to evict the pods of a test.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    }
    path = machine.home / "kubelet.json"
    path.write_text(json.dumps(configuration))
    return path
