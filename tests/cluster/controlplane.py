"""The control plane: etcd, API server, controllers, scheduler, DNS. How each is called, and when it is ready."""

import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import wait_until
from tests.cluster.credentials import Authority
from tests.cluster.machine import Machine
from tests.cluster.network import FIRST_SERVICE, PODS, SERVICES, Addresses

NODE_GRACE = "16s"
"""A node that was cut off is marked after this long, the least that controllers accept beside a report each 5 s."""

TOLERATION_SECONDS = 10
"""Pods of a lost node are replaced after this long unless they say otherwise; the default, 300, is too long for a test."""


def etcd(programs: Path, data: Path, client_port: int = 2379, peer_port: int = 2380) -> list[str]:
    """Arguments of etcd. Nothing in it outlives the cluster, so it need not wait for the disk."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        f"{programs}/etcd",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        # A test with 10,000 pods writes more than the 2 GiB that etcd allows by default before it compacts.
        "--quota-backend-bytes=6442450944",
    ]


@dataclass(frozen=True)
class ApiServer:
    """Where an API server listens and what it uses."""

    programs: Path
    authority: Authority
    address: str
    port: int = 6443
    etcd_port: int = 2379

    @property
    def url(self) -> str:
        """As written into kubeconfig files."""
        return f"https://{self.address}:{self.port}"

    def arguments(self, extra: Sequence[str]) -> list[str]:
        """Arguments of kube-apiserver."""
        names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
        certificate, key = self.authority.issue("apiserver", "/CN=kube-apiserver", f"{names},IP:{FIRST_SERVICE},IP:{self.address}")
        return [
            f"{self.programs}/kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--secure-port={self.port}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.certificate}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.authority.token_public_key}",
            f"--service-account-signing-key-file={self.authority.token_key}",
            "--profiling=false",
            *extra,
        ]

    def wait(self, log: Path) -> None:
        """Until ``/readyz`` says ok, or raise."""
        certificate, key = self.authority.issue("probe", "/O=system:masters/CN=probe")
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(certificate, key)

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2, context=context) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        wait_until("API server", ready, log=log)


def controllers(server: ApiServer, folder: Path, extra: Sequence[str]) -> list[str]:
    """Arguments of kube-controller-manager; its kubeconfig is written into ``folder``."""
    kubeconfig = server.authority.kubeconfig(folder / "controllers.kubeconfig", server.url, "/CN=system:kube-controller-manager")
    return [
        f"{server.programs}/kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={server.authority.token_key}",
        f"--root-ca-file={server.authority.certificate}",
        *extra,
    ]


def start_control_plane(machine: Machine, programs: Path, authority: Authority, addresses: Addresses) -> ApiServer:
    """Start everything on the machine and return when the API server is ready."""
    server = ApiServer(programs, authority, addresses.control_plane)
    kubelet_certificate, kubelet_key = authority.issue("apiserver-kubelet", "/O=system:masters/CN=apiserver")
    machine.start("etcd", etcd(programs, machine.home / "etcd"))
    machine.start(
        "apiserver",
        server.arguments(
            [
                f"--advertise-address={addresses.control_plane}",
                f"--kubelet-client-certificate={kubelet_certificate}",
                f"--kubelet-client-key={kubelet_key}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--default-not-ready-toleration-seconds={TOLERATION_SECONDS}",
                f"--default-unreachable-toleration-seconds={TOLERATION_SECONDS}",
            ]
        ),
    )
    server.wait(log=machine.home / "apiserver.log")
    signing = [f"--cluster-signing-cert-file={authority.certificate}", f"--cluster-signing-key-file={authority.key}"]
    machine.start(
        "controllers",
        controllers(server, machine.home, [f"--cluster-cidr={PODS}", f"--node-monitor-grace-period={NODE_GRACE}", *signing]),
    )
    scheduler = authority.kubeconfig(machine.home / "scheduler.kubeconfig", server.url, "/CN=system:kube-scheduler")
    machine.start("scheduler", [f"{programs}/kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false"])
    _start_dns(machine, server, addresses)
    return server


def _start_dns(machine: Machine, server: ApiServer, addresses: Addresses) -> None:
    kubeconfig = server.authority.kubeconfig(machine.home / "dns.kubeconfig", server.url, "/O=system:masters/CN=dns")
    corefile = machine.home / "Corefile"
    # Records and answers are kept for a second: pods come and go all the time here.
    corefile.write_text(
        f".:53 {{\n"
        f"    bind {addresses.control_plane}\n"
        f"    errors\n"
        f"    kubernetes cluster.local in-addr.arpa {{\n"
        f"        kubeconfig {kubeconfig}\n"
        f"        ttl 1\n"
        f"    }}\n"
        f"    cache 1\n"
        f"}}\n"
    )
    machine.start("dns", [f"{server.programs}/coredns", "-conf", corefile])
