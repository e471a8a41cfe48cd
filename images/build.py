"""Build FedCore's images with buildah, and push them if asked: what `make images` calls.

    python3 images/build.py [--registry REGISTRY [--push]] [options] [IMAGE ...]

IMAGE is one of operator, coordinator, worker, worker-numpy; default: all. They are for the kind of machine that builds them.
pip inside the build is configured as pip outside. What is pushed is printed with its digest, and `--values FILE` writes the
digests as values of the chart:

    helm install fedcore charts/fedcore --namespace fedcore --create-namespace --values FILE

`buildah login REGISTRY` comes before the first push. Base images: each Dockerfile has a public default; another one needs Python
3.11 or newer with its venv module, and libstdc++.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_FROM = ("pypi", "base", "none")


@dataclass(frozen=True)
class Image:
    """One image: its Dockerfile's folder, the variant in its tag, and the build arguments that make the variant."""

    folder: str
    variant: str = ""
    arguments: dict[str, str] = field(default_factory=dict)

    def repository(self, registry: str) -> str:
        """Name without tag, ``REGISTRY/fedcore-FOLDER``."""
        return f"{registry}/fedcore-{self.folder}"

    def reference(self, registry: str, tag: str) -> str:
        """Full name, ``REGISTRY/fedcore-FOLDER:TAG[-VARIANT]``."""
        return f"{self.repository(registry)}:{tag}{f'-{self.variant}' if self.variant else ''}"


IMAGES = {
    "operator": Image("operator"),
    "coordinator": Image("coordinator"),
    "worker": Image("worker"),
    "worker-numpy": Image("worker", "numpy", {"TORCH_FROM": "none"}),
}

CHART_VALUES = {"operator": ("image",), "coordinator": ("jobs", "coordinatorImage"), "worker": ("jobs", "workerImage")}
"""Where the chart's values name an image. Without a worker with torch, the small one is the chart's."""


def version() -> str:
    """Version of the distribution, which is the images' default tag."""
    described = (ROOT / "fedcore/__init__.py").read_text(encoding="utf-8")
    return next(str(ast.literal_eval(line.partition("=")[2].strip())) for line in described.splitlines() if line.startswith("__version__"))


def labels(image: Image, tag: str) -> dict[str, str]:
    """Return what registries and scanners show of an image, by the names that the OCI has settled."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = {"title": f"fedcore-{image.folder}", "description": project["description"], "version": tag, "licenses": project["license"]}
    return {f"org.opencontainers.image.{name}": value for name, value in told.items()}


def build(image: Image, reference: str, arguments: dict[str, str], buildah: list[str]) -> None:
    """Build one image. ``buildah`` is the program with its global options, ``arguments`` go before those of the variant."""
    given = {**arguments, **image.arguments}
    # chroot: works in containers and without a service manager. host: pip needs the network as we have it.
    command = [*buildah, "build", "--isolation=chroot", "--network=host", "--layers", f"--tag={reference}"]
    command += [f"--build-arg={name}={value}" for name, value in given.items()]
    command += [f"--label={name}={value}" for name, value in labels(image, reference.rpartition(":")[2]).items()]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as pip:
        settings = pip_settings()
        pip.write("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        pip.flush()
        command += [f"--secret=id=pip,src={pip.name}"]
        command += [f"--volume={certificates}:{certificates}:ro" for certificates in [settings.get("cert")] if certificates]
        subprocess.run([*command, f"--file={ROOT}/images/{image.folder}/Dockerfile", str(ROOT)], check=True)


def push(reference: str, buildah: list[str], *, plain_http: bool = False) -> str:
    """Push one image and return the digest of its manifest, by which a cluster gets exactly this one."""
    with tempfile.TemporaryDirectory() as folder:
        digest = Path(folder) / "digest"
        tls = ["--tls-verify=false"] if plain_http else []
        subprocess.run([*buildah, "push", *tls, f"--digestfile={digest}", reference], check=True)
        return digest.read_text(encoding="utf-8").strip()


def chart_values(digests: dict[str, str], registry: str) -> dict[str, object]:
    """Return the chart's values that name what was pushed, by digest."""
    values: dict[str, object] = {}
    for name, (*way, last) in CHART_VALUES.items():
        pushed = next((one for one in (name, f"{name}-numpy") if one in digests), None)
        if pushed is None:
            continue
        around = values
        for step in way:
            around = around.setdefault(step, {})  # type: ignore[assignment]
        around[last] = {"repository": IMAGES[pushed].repository(registry), "digest": digests[pushed]}
    return values


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


def _is_loopback(registry: str) -> bool:
    return registry.partition("/")[0].rpartition(":")[0] in {"localhost", "127.0.0.1", "[::1]"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=", ".join(IMAGES))
    parser.add_argument(
        "--registry", default="localhost", help="comes before /fedcore-...; ACCOUNT.dkr.ecr.REGION.amazonaws.com for instance"
    )
    parser.add_argument("--tag", default=version(), help="default: the version, %(default)s")
    parser.add_argument("--base-image", default="", help="instead of the Dockerfiles' default")
    parser.add_argument("--torch-from", choices=TORCH_FROM, default="", help="the worker's torch; default: pypi, about 6 GB with CUDA")
    parser.add_argument("--push", action="store_true", help="push what was built to the registry")
    parser.add_argument("--plain-http", action="store_true", help="push without TLS; to a registry on this machine only")
    parser.add_argument("--values", type=Path, metavar="FILE", help="write the digests of what was pushed as values of the chart")
    arguments = parser.parse_args()
    if unknown := set(arguments.images) - set(IMAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    if arguments.push and arguments.registry == "localhost":
        parser.error("--push needs --registry")
    if arguments.values and not arguments.push:
        parser.error("--values needs --push: a digest is known when a registry has the image")
    if arguments.plain_http and not _is_loopback(arguments.registry):
        parser.error(f"--plain-http is for registries on this machine, and {arguments.registry} is not on localhost:PORT")
    return arguments


def main() -> int:
    """Build what the command line names."""
    arguments = _arguments()
    if not shutil.which("buildah"):
        print("buildah is not installed; on Debian and Ubuntu: apt-get install buildah", file=sys.stderr)
        return 1
    given = {"BASE_IMAGE": arguments.base_image, "TORCH_FROM": arguments.torch_from}
    digests: dict[str, str] = {}
    for name in arguments.images or IMAGES:
        image = IMAGES[name]
        reference = image.reference(arguments.registry, arguments.tag)
        used = {key: value for key, value in given.items() if value and (key != "TORCH_FROM" or image.folder == "worker")}
        try:
            build(image, reference, used, ["buildah"])
            if arguments.push:
                digests[name] = push(reference, ["buildah"], plain_http=arguments.plain_http)
        except subprocess.CalledProcessError as error:
            print(f"{reference}: `buildah {error.cmd[1]}` ended with {error.returncode}", file=sys.stderr)
            return 1
        print(f"{reference}@{digests[name]}" if name in digests else reference)
    if arguments.values:
        arguments.values.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, and this script needs nothing but Python.
        arguments.values.write_text(json.dumps(chart_values(digests, arguments.registry), indent=2) + "\n", encoding="utf-8")
        print(f"{arguments.values}: the digests, for helm install --values")
    return 0


if __name__ == "__main__":
    sys.exit(main())
