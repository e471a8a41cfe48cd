"""A handle on a Kubernetes API for tests: kubectl and helm with the right cluster, and little more."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.commands import PATIENCE, run, wait_until
from tests.cluster.errors import ClusterError

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Kubernetes:
    """One API server, by its kubeconfig file, which has one context."""

    kubeconfig: Path
    kubectl_program: Path
    helm_program: Path

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, seconds: float = PATIENCE) -> str:
        """Run kubectl and return what it printed, or raise ClusterError with what it said."""
        return run([self.kubectl_program, *arguments], stdin=stdin, environment=self.environment(), seconds=seconds)

    def helm(self, *arguments: str | Path, seconds: float = 2 * PATIENCE) -> str:
        """Run helm likewise."""
        return run([self.helm_program, *arguments], environment=self.environment(), seconds=seconds)

    def get(self, *arguments: str) -> Any:
        """``kubectl get ... -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, *objects: Manifest, namespace: str = "default") -> None:
        """Apply objects on the server's side; unknown fields are errors."""
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--validate=strict", f"--namespace={namespace}", "--filename=-", stdin=items)

    @contextmanager
    def namespace(self, *, level: str = "restricted") -> Iterator[str]:
        """A namespace of its own, which enforces a level of pod security; deleted at the end, without waiting for it."""
        name = f"test-{secrets.token_hex(4)}"
        labels = {"pod-security.kubernetes.io/enforce": level}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        # Until a controller has made the account, the API server refuses pods.
        wait_until(f"service account of {name}", lambda: self._exists("serviceaccount/default", name))
        try:
            yield name
        finally:
            self.kubectl("delete", f"namespace/{name}", "--wait=false")

    def environment(self) -> Mapping[str, str]:
        """Environment for any program that shall use this cluster."""
        folder = self.kubectl_program.parent
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}

    def _exists(self, name: str, namespace: str) -> bool:
        try:
            self.kubectl("get", name, f"--namespace={namespace}")
        except ClusterError:
            return False
        return True


def minified(kubeconfig: Path, context: str, kubectl: Path, target: Path) -> Path:
    """Write a kubeconfig with nothing but ``context`` in it, so that no test can meet another cluster by mistake.

    Raises
    ------
    ClusterError
        The file cannot be read or has no such context.
    """
    config = run(
        [kubectl, f"--kubeconfig={kubeconfig}", "config", "view", f"--context={context}", "--minify", "--flatten"], environment=os.environ
    )
    target.touch(mode=0o600)
    target.write_text(config)
    return target
