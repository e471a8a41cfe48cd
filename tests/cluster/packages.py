"""Debian packages that the cluster needs beside its own programs: installed when missing and when we may."""

import os
import shutil
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, Unavailable

CLUSTER = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "ip": "iproute2",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "openssl": "openssl",
    "unshare": "util-linux",
    "mount": "mount",
    "sysctl": "procps",
}
"""Program or file, and the package that has it: what nodes run, and what builds their network."""

APISERVER = {"openssl": "openssl"}

IMAGES = {"buildah": "buildah", "runc": "runc", "mmdebstrap": "mmdebstrap"}


def missing(needed: dict[str, str]) -> list[str]:
    """Packages that have to be installed, sorted."""
    return sorted({package for program, package in needed.items() if not _there(program)})


def install(needed: dict[str, str]) -> None:
    """Install what is missing.

    Raises
    ------
    Unavailable
        Something is missing and we may not or cannot install it.
    """
    packages = missing(needed)
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"not installed, and only root can by apt: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    try:
        run([*apt, "update"], environment=environment, seconds=300)
        run([*apt, "install", "-y", "--no-install-recommends", *packages], environment=environment, seconds=900)
    except ClusterError as error:
        raise Unavailable(f"apt cannot install {' '.join(packages)}: {error}") from error


def _there(program: str) -> bool:
    # Some of them live in /usr/sbin, which an ordinary user's PATH lacks.
    return Path(program).exists() if program.startswith("/") else bool(shutil.which(program, path=search_path()))


def search_path() -> str:
    """PATH with the folders of system programs."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
