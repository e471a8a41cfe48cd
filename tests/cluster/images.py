"""FedCore's images for tests: built as users build them, on a Debian base made here, since no registry may be in reach.

Base images, layers and archives are kept in the cache; only what changed is built again. An archive is named by a hash over all
that goes into its image, so that nothing at all is done for one that is there.
"""

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from images.build import IMAGES, ROOT, Image, build
from tests.cluster import packages
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.places import cache
from tests.cluster.pruning import mark_used, prune_archives, prune_layers

TAG = "test"
BASE_SECONDS = 1800
PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation=private")
"""Before what calls buildah, since it leaves its storage mounted on itself."""
UNUSED_FILES = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")


@dataclass(frozen=True)
class Base:
    """A Debian root file system with Python, and what it has beyond that."""

    packages: tuple[str, ...]

    def recipe(self) -> list[str]:
        """Options of mmdebstrap."""
        left_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNUSED_FILES]
        return ["--mode=root", "--variant=essential", f"--include={','.join(self.packages)}", *left_out, _suite()]

    @property
    def reference(self) -> str:
        """Name of the image, which changes with the recipe."""
        return f"localhost/fedcore-test-base:{hashlib.sha256(repr(self.recipe()).encode()).hexdigest()[:12]}"


PYTHON = Base(("python3", "python3-venv", "libstdc++6", "ca-certificates"))
PROMETHEUS = Base(("prometheus",))
"""What scrapes jobs in tests; Debian's package is all of the image."""
TORCH = Base((*PYTHON.packages, "python3-torch", "python3-torchvision"))

TEST_IMAGES: dict[str, tuple[Image, Base]] = {
    "operator": (IMAGES["operator"], PYTHON),
    "coordinator": (IMAGES["coordinator"], PYTHON),
    "worker-numpy": (IMAGES["worker-numpy"], PYTHON),
    # PyPI's torch is 6 GB with CUDA; Debian's is for the CPU and a tenth of that.
    "worker": (Image("worker", arguments={"TORCH_FROM": "base"}), TORCH),
}


def reference(name: str) -> str:
    """Name of a test image as pods say it."""
    return TEST_IMAGES[name][0].reference("localhost", TAG)


def archive(name: str) -> Path:
    """Build an image, or find it built already, and return an archive of it.

    Raises
    ------
    Unavailable
        What building needs cannot be installed.
    ClusterError
        The build failed.
    """
    path = _path(name)
    with suppress(FileNotFoundError):
        mark_used(path)
        return path
    with storage() as buildah:
        if not path.exists():
            image, base = TEST_IMAGES[name]
            build_one(image, base, buildah)
            _push(reference(name), path, buildah)
            prune_layers(buildah, {reference(one) for one in TEST_IMAGES} | {one.reference for _, one in TEST_IMAGES.values()})
        prune_archives(_folder(), name)
    return path


def base_archive(base: Base) -> Path:
    """Make a base image that is used as it is, or find it, and return an archive of it; raises as `archive`."""
    name, _, recipe = base.reference.rpartition("/")[2].partition(":")
    path = _folder() / f"{name}-{recipe}.tar"
    with suppress(FileNotFoundError):
        mark_used(path)
        return path
    with storage() as buildah:
        if not path.exists():
            ensure_base(base, buildah)
            _push(base.reference, path, buildah)
        prune_archives(_folder(), name)
    return path


def is_archived(name: str) -> bool:
    """Whether that image of this checkout is there already."""
    return _path(name).exists()


def fingerprint(name: str) -> str:
    """Hash over all that goes into an image: how it is made, its base, and every file of the build context."""
    image, base = TEST_IMAGES[name]
    digest = hashlib.sha256(repr((image, base.recipe(), reference(name))).encode())
    for path in [ROOT / "images/build.py", ROOT / "images" / image.folder / "Dockerfile", *context()]:
        digest.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def context() -> list[Path]:
    """Files that builds see, as .dockerignore says: it leaves out all but what it names."""
    tops = [ROOT / line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file()]
    return sorted(file for file in files if "__pycache__" not in file.parts)


def build_one(image: Image, base: Base, buildah: list[str]) -> None:
    """Build an image on its base, as ``localhost/...:test``."""
    ensure_base(base, buildah)
    try:
        build(image, image.reference("localhost", TAG), {"BASE_IMAGE": base.reference}, buildah)
    except subprocess.CalledProcessError as error:
        raise ClusterError(f"image {image.reference('localhost', TAG)} cannot be built") from error


def _path(name: str) -> Path:
    return _folder() / f"{name}-{fingerprint(name)}.tar"


def _folder() -> Path:
    return cache() / "images"


@contextmanager
def storage() -> Iterator[list[str]]:
    """Buildah with storage of our own, for one process at a time.

    Raises
    ------
    Unavailable
        What building needs cannot be installed.
    """
    packages.install(packages.IMAGES)
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield [*PRIVATE_MOUNTS, "buildah", f"--root={folder}/storage", f"--runroot={folder}/run"]


def storage_environment(folder: Path) -> dict[str, str]:
    """The same storage for a program that calls buildah itself; its configuration is written into ``folder``."""
    configuration = folder / "storage.conf"
    configuration.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{_folder()}/storage"\nrunroot = "{_folder()}/run"\n')
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration)}


def _push(image: str, path: Path, buildah: list[str]) -> None:
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    run([*buildah, "push", "--quiet", image, f"docker-archive:{partial}:{image}"], seconds=600)
    partial.rename(path)


def ensure_base(base: Base, buildah: list[str]) -> None:
    """Make a base image unless it is there."""
    if run([*buildah, "images", "--quiet", "--filter", f"reference={base.reference}"]).strip():
        return
    tree = _folder() / "base.tar"
    run(["mmdebstrap", *base.recipe(), tree, *_sources()], seconds=BASE_SECONDS)
    recipe = f"FROM scratch\nADD {tree.name} /\n"
    run([*buildah, "build", f"--tag={base.reference}", "--isolation=chroot", "--file=-", tree.parent], stdin=recipe, seconds=600)
    tree.unlink()


def _suite() -> str:
    """This machine's own release if it is Debian, so that its package sources fit; else the one that tests know."""
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    codename = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    return codename[1] if codename and re.search(r"^ID=debian$", release, re.MULTILINE) else "bookworm"


def _sources() -> list[Path]:
    """Where this Debian gets packages from; elsewhere mmdebstrap's default is right."""
    if not re.search(r"^ID=debian$", Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE):
        return []
    return [path for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")) if path.exists()][:1]
