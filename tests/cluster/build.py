"""Compile the cluster's programs from Go modules, once per machine.

The result lies in a folder of the cache named by a hash over all that goes in, so that it can neither be stale nor half
done: it is built under another name and renamed at the end. A file lock keeps two runs from building at once. Rejected:
one cache entry per program; Go's own build cache already makes the second build of an unchanged program take seconds.
"""

import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import Unavailable
from tests.cluster.places import COMPONENTS, cache
from tests.cluster.pruning import mark_used, prune_programs

BUILD_SECONDS = 3600
"""Cold, on two shared cores at low priority, it takes 8 to 20 minutes."""

ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly"}


@dataclass(frozen=True)
class Program:
    """One binary: its module folder, the package to build there, and the further names it goes by."""

    folder: str
    package: str = "."
    names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the binary."""
        return self.folder


PROGRAMS = (
    Program("init"),
    Program("helm", "helm.sh/helm/v4/cmd/helm"),
    Program("kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),
    Program("coredns"),
    Program("registry"),
    Program(
        "kubernetes",
        names=("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    ),
)


def kubernetes_version() -> str:
    """As pinned in go.mod, ``v1.35.4`` for instance."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (COMPONENTS / "kubernetes/go.mod").read_text(), re.MULTILINE)
    assert found, "components/kubernetes/go.mod requires no k8s.io/kubernetes"
    return found[1]


def linker_flags(program: Program) -> str:
    """No symbol tables; the Kubernetes binary has to know its version, since clients and the API compare it."""
    if program.name != "kubernetes":
        return "-s -w"
    version = kubernetes_version()
    major, minor = version.removeprefix("v").split(".")[:2]
    package = "k8s.io/component-base/version"
    return f"-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"


def fingerprint() -> str:
    """Hash over the modules, their sources, and how they are built."""
    digest = hashlib.sha256(repr((ENVIRONMENT, [(program, linker_flags(program)) for program in PROGRAMS])).encode())
    for path in sorted(path for path in COMPONENTS.rglob("*") if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(f"{path.relative_to(COMPONENTS)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def target() -> Path:
    """The folder with the programs, whether built or not."""
    return cache() / fingerprint()


def is_built() -> bool:
    """Whether this machine has them already."""
    return target().is_dir()


def programs() -> Path:
    """Return the folder with the programs, after building them if need be.

    Raises
    ------
    Unavailable
        They are not built and there is no Go.
    ClusterError
        The build failed.
    """
    folder = target()
    if folder.is_dir():
        mark_used(folder)
        return folder
    if not shutil.which("go"):
        raise Unavailable("Go is not installed, and the cluster's programs are not built")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    environment = {**os.environ, **ENVIRONMENT}
    for program in PROGRAMS:
        started = time.monotonic()
        print(f"building {program.name} from Go modules ... ", end="", file=sys.stderr, flush=True)
        run(
            ["go", "build", "-ldflags", linker_flags(program), "-o", partial / program.name, program.package],
            directory=COMPONENTS / program.folder,
            environment=environment,
            seconds=BUILD_SECONDS,
        )
        for name in program.names:
            (partial / name).symlink_to(program.name)
        print(f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    partial.rename(folder)
    prune_programs(folder.parent)
