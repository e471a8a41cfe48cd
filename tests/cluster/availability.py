"""Whether this machine can run what a test asks for, and making it so: packages, kernel modules, programs.

What a cluster does with the kernel is tried here first, one thing after the other, since a container or a hardened machine may
allow some of it and not the rest. The answer names what is missing; found out later, it would be a kubelet that does not start.
"""

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.cluster import packages
from tests.cluster.build import programs
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, Unavailable
from tests.cluster.machine import NAMESPACES
from tests.cluster.packages import search_path
from tests.cluster.places import STATES
from tests.cluster.slots import probe_control_groups

MODULES = ("overlay", "br_netfilter", "veth", "bridge", "ip_tables", "ip_set", "nf_conntrack")

# What is tried inside of new namespaces, in which nothing of it is seen outside, and how it is called when it fails. $1: a folder
# on the disk that clusters use.
TRIALS = {
    "make namespaces of mounts, networks and processes": ":",
    "mount file systems": "mount --make-rshared / && mount -t tmpfs tmpfs /run && mount --bind /run /var/lib",
    f"mount an overlay file system below {STATES.parent}": (
        'cd "$1" && mkdir -p lower upper work top && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay top'
    ),
    "make bridges and pairs of network devices": "ip link add b0 type bridge && ip link add v0 type veth peer name v1",
    "forward packets": "sysctl -qw net.ipv4.ip_forward=1",
    "filter what crosses a bridge (kernel module br_netfilter)": "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
    "filter and translate packets (iptables, conntrack)": (
        "iptables -w -A INPUT -m conntrack --ctstate NEW -m comment --comment probe -j ACCEPT"
        " && iptables -w -t nat -A POSTROUTING -m statistic --mode random --probability 0.5 -j MASQUERADE"
    ),
    "keep sets of addresses (ipset)": "ipset create probe hash:ip",
}


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
    _load_modules()
    if refused := refusals():
        raise Unavailable("this machine does not let root " + "; nor ".join(refused))
    programs()


def refusals() -> list[str]:
    """What of all that a cluster does cannot be done here, each with what the kernel said; the rest is not tried without namespaces."""
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fedcore-probe-", dir=STATES.parent) as folder:
        for what, script in TRIALS.items():
            try:
                run([*NAMESPACES, "sh", "-ec", script, "sh", Path(folder)], environment={**os.environ, "PATH": search_path()})
            except ClusterError as error:
                found.append(f"{what} ({str(error).strip().splitlines()[-1]})")
                if script == ":":
                    break
    try:
        probe_control_groups()
    except OSError as error:
        found.append(f"make control groups for pods ({error})")
    return found


def _load_modules() -> None:
    # Most kernels load them on demand or have them built in; a failure shows in what is tried afterwards.
    if shutil.which("modprobe", path=search_path()):
        for module in MODULES:
            with suppress(ClusterError):
                run(["modprobe", "--quiet", module], environment={**os.environ, "PATH": search_path()})
