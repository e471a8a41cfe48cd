"""An API server alone, with etcd and the controllers that keep its objects in order, on loopback: no root, no nodes."""

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.build import programs
from tests.cluster.commands import PATIENCE
from tests.cluster.controlplane import ApiServer, controllers, etcd
from tests.cluster.credentials import make_authority
from tests.cluster.kubernetes import Kubernetes

CONTROLLERS = (
    "namespace-controller",
    "serviceaccount-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
)
"""Without them namespaces never end, pods are refused for want of an account, and owned objects stay. None of them makes a
pod run: tests play kubelet themselves."""


@contextmanager
def apiserver(folder: Path, extra: Sequence[str] = ()) -> Iterator[Kubernetes]:
    """Run one, with all its files in ``folder``, a new folder. It ends with this process, however that ends.

    Parameters
    ----------
    extra : sequence of str
        More arguments of the API server.
    """
    built = programs()
    etcd_port, peer_port, port = free_ports(3)
    authority = make_authority(folder / "authority")
    server = ApiServer(built, authority, "127.0.0.1", port, etcd_port)
    kubeconfig = authority.kubeconfig(folder / "admin.kubeconfig", server.url, "/O=system:masters/CN=admin")
    ending, lifeline = os.pipe()
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(guard(built, etcd(built, folder / "etcd", etcd_port, peer_port), folder / "etcd.log", ending))
        # No endpoint of Service default/kubernetes: loopback addresses are not allowed there, and nobody asks for it.
        unadvertised = ["--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"]
        started.append(guard(built, server.arguments([*unadvertised, *extra]), folder / "apiserver.log", ending))
        server.wait(log=folder / "apiserver.log")
        loops = controllers(server, folder, [f"--controllers={','.join(CONTROLLERS)}", "--secure-port=0"])
        started.append(guard(built, loops, folder / "controllers.log", ending))
        yield Kubernetes(kubeconfig, built / "kubectl", built / "helm")
    finally:
        os.close(lifeline)
        os.close(ending)
        for process in reversed(started):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=PATIENCE)


def guard(built: Path, arguments: Sequence[str], log: Path, ending: int) -> subprocess.Popen[bytes]:
    """Start a program that ends when the pipe's other end is closed."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [built / "init", "-until-eof", *arguments], stdin=ending, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports
