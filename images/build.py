"""Build FedCore's images with buildah, and push them if asked: what `make images` calls.

    python3 images/build.py [--registry REGISTRY] [--push] [--base-image IMAGE] [--tag TAG] [IMAGE ...]

IMAGE is one of operator, coordinator, worker, worker-numpy; default: all. pip inside the build is configured as pip outside.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Image:
    """One image: its Dockerfile's folder, the variant in its tag, and the build arguments that make the variant."""

    folder: str
    variant: str = ""
    arguments: dict[str, str] = field(default_factory=dict)

    def reference(self, registry: str, tag: str) -> str:
        """Full name, ``REGISTRY/fedcore-FOLDER:TAG[-VARIANT]``."""
        return f"{registry}/fedcore-{self.folder}:{tag}{f'-{self.variant}' if self.variant else ''}"


IMAGES = {
    "operator": Image("operator"),
    "coordinator": Image("coordinator"),
    "worker": Image("worker"),
    "worker-numpy": Image("worker", "numpy", {"TORCH_FROM": "none"}),
}


def version() -> str:
    """Version of the distribution, which is the images' default tag."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def build(image: Image, reference: str, arguments: dict[str, str], buildah: list[str]) -> None:
    """Build one image. ``buildah`` is the program with its global options, ``arguments`` go before those of the variant."""
    given = {**arguments, **image.arguments}
    # chroot: works in containers and without a service manager. host: pip needs the network as we have it.
    command = [*buildah, "build", "--isolation=chroot", "--network=host", "--layers", f"--tag={reference}"]
    command += [f"--build-arg={name}={value}" for name, value in given.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as pip:
        settings = pip_settings()
        pip.write("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        pip.flush()
        command += [f"--secret=id=pip,src={pip.name}"]
        command += [f"--volume={certificates}:{certificates}:ro" for certificates in [settings.get("cert")] if certificates]
        subprocess.run([*command, f"--file={ROOT}/images/{image.folder}/Dockerfile", str(ROOT)], check=True)


def pip_settings() -> dict[str, str]:
    """How pip is configured here, by its files and by variables, as far as it says where packages come from."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    wanted = {"cert", "extra-index-url", "index-url", "proxy", "timeout", "default-timeout", "trusted-host"}
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.removeprefix(":env:").rpartition(".")[2]
        if key in wanted:
            settings[key] = str(ast.literal_eval(value))
    return settings


def main() -> int:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--registry", default="localhost")
    parser.add_argument("--tag", default=version())
    parser.add_argument("--base-image", default="", help="instead of the Dockerfiles' default")
    parser.add_argument("--push", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.images) - set(IMAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    if arguments.push and arguments.registry == "localhost":
        parser.error("--push needs --registry")
    if not shutil.which("buildah"):
        print("buildah is not installed; on Debian and Ubuntu: apt-get install buildah", file=sys.stderr)
        return 1
    base = {"BASE_IMAGE": arguments.base_image} if arguments.base_image else {}
    for name in arguments.images or IMAGES:
        reference = IMAGES[name].reference(arguments.registry, arguments.tag)
        build(IMAGES[name], reference, base, ["buildah"])
        if arguments.push:
            subprocess.run(["buildah", "push", reference], check=True)
        print(reference)
    return 0


if __name__ == "__main__":
    sys.exit(main())
