"""Files of other projects' Go modules: CRDs and schemas that examples are checked against.

They come through Go's module cache, by version and checksum, and are not copied into this repository. Karpenter, Kueue, eksctl and the
Prometheus operator are under the Apache License 2.0.
"""

import json
import shutil
import zipfile
from dataclasses import dataclass

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, Unavailable


@dataclass(frozen=True)
class Module:
    """One version of a Go module, with the checksum that go.sum would hold."""

    path: str
    version: str
    checksum: str

    def files(self, folder: str) -> dict[str, str]:
        """Text of the files of a folder of it, by name.

        Raises
        ------
        Unavailable
            There is no Go.
        ClusterError
            It cannot be had, or is another one than before.
        """
        if not shutil.which("go"):
            raise Unavailable(f"Go is not installed, which fetches {self.path}")
        had = json.loads(run(["go", "mod", "download", "-json", f"{self.path}@{self.version}"], seconds=300))
        if had["Sum"] != self.checksum:
            raise ClusterError(f"{self.path} {self.version} has checksum {had['Sum']}, not {self.checksum}")
        start = f"{self.path}@{self.version}/{folder}/"
        with zipfile.ZipFile(had["Zip"]) as archive:
            names = [name for name in archive.namelist() if name.startswith(start) and "/" not in name.removeprefix(start)]
            return {name.removeprefix(start): archive.read(name).decode() for name in names}


KARPENTER = Module("github.com/aws/karpenter-provider-aws", "v1.14.1", "h1:WGtIQTQcxpElYMdWfWuPwaF2+9muR+hYhPZsTtoY8Gs=")
KUEUE = Module("sigs.k8s.io/kueue", "v0.17.0", "h1:7hzb38M4eKGzYW+CFv2s1L+swzzacUCHOCXxZmAV90I=")
EKSCTL = Module("github.com/weaveworks/eksctl", "v0.215.0", "h1:oCPoubT3UsW4Y2J43Y4dNRvXHEIsgg03Y3e6wv6bKG4=")
PROMETHEUS_OPERATOR = Module(
    "github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
)
