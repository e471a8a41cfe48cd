"""An image registry, as users push to: on loopback of this machine, and from the same folder on loopback of every node.

So an image has one name, ``localhost:PORT/...``, for who pushes it and for who pulls it, and no program has to be told about
certificates: they all allow plain HTTP to localhost. Rejected: one registry for all, which needs an authority in buildah and in each
containerd; how they reach a registry over TLS is not ours to test.
"""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.apiserver import free_ports, guard
from tests.cluster.build import programs
from tests.cluster.cluster import LocalCluster
from tests.cluster.commands import wait_until

ACCEPTED = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Registry:
    """One that runs."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """What image names begin with."""
        return f"localhost:{self.port}"

    @property
    def command(self) -> list[str]:
        """Of its process, here or on a node."""
        return [str(programs() / "registry"), "serve", str(self.folder / "configuration.json")]

    def manifest(self, repository: str, reference: str) -> tuple[str, dict[str, Any]]:
        """What a puller is answered first: digest and manifest of a tag or a digest."""
        with self._get(f"{repository}/manifests/{reference}") as answer:
            return answer.headers["Docker-Content-Digest"], json.load(answer)

    def blob(self, repository: str, digest: str) -> bytes:
        """A layer, or an image's configuration."""
        with self._get(f"{repository}/blobs/{digest}") as answer:
            return bytes(answer.read())

    def answers(self) -> bool:
        """Whether it can be used."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def offer(self, cluster: LocalCluster) -> None:
        """Let every node pull from it."""
        for node in cluster.nodes:
            machine = cluster.machine(node)
            machine.start("registry", self.command)
            wait_until(f"registry on {node}", lambda machine=machine: machine.answers(*self._probe()), seconds=30)

    def _probe(self) -> list[str]:
        return ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{self.port}"]

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v2/{path}", headers={"Accept": ACCEPTED})
        return urllib.request.urlopen(request, timeout=60)


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """Run one on this machine's loopback, with all it holds in ``folder``. It ends with this process, however that ends."""
    (port,) = free_ports(1)
    running = Registry(folder, port)
    configuration = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "log": {"level": "warn", "accesslog": {"disabled": True}},
    }
    (folder / "configuration.json").write_text(json.dumps(configuration))
    ending, lifeline = os.pipe()
    process = guard(programs(), running.command, folder / "registry.log", ending)
    try:
        wait_until("registry", running.answers, seconds=30, log=folder / "registry.log")
        yield running
    finally:
        os.close(lifeline)
        os.close(ending)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
