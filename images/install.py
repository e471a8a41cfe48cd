"""Install FedCore into /opt/fedcore while an image is built.

Two steps, so that the slow first one is cached as long as only code changes:

    install.py dependencies [--extra NAME] [--from-base PACKAGE ...]
    install.py package

Neither pip nor the build backend ends up in /opt/fedcore. Versions are those of requirements.lock, but for what comes from the
base image. Where packages come from is the matter of /etc/pip.conf, which the build may mount as a secret.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

TARGET = Path("/opt/fedcore")
TOOLS = Path("/opt/build-tools")


def dependencies(extra: str, from_base: list[str]) -> None:
    """Make the environment and install what the package needs."""
    see_base = ["--system-site-packages"] if from_base else []
    _run(sys.executable, "-m", "venv", "--without-pip", *see_base, TARGET)
    _run(sys.executable, "-m", "venv", TOOLS)
    described = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    project = described["project"]
    _pip("install", *described["build-system"]["requires"])
    wanted = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(_locked(Path("requirements.lock").read_text(encoding="utf-8"), from_base)))
        constraints.flush()
        needed = [requirement for requirement in wanted if _name(requirement) not in from_base]
        _pip("--python", TARGET / "bin/python", "install", "--constraint", constraints.name, *needed)
    # A fifth of numpy is its own tests.
    for tests in [path for path in TARGET.glob("lib/python*/site-packages/numpy/**/tests") if path.is_dir()]:
        shutil.rmtree(tests)


def package() -> None:
    """Build the package and install it beside its dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ".")
        _pip("--python", TARGET / "bin/python", "install", "--no-deps", *Path(folder).glob("*.whl"))
    # A base image may lack a library that wheels expect, libstdc++ for instance: better known now than in a pod.
    _run(TARGET / "bin/python", "-c", "import fedcore, numpy")


def _locked(lock: str, left_out: list[str]) -> list[str]:
    # pip takes hashes only if every requirement names a version, so they are dropped here.
    pinned = re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+?)\s*\\?$", lock, re.MULTILINE)
    return [line for line in pinned if _name(line) not in left_out]


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found[0].lower().replace("_", "-") if found else ""


def _pip(*arguments: str | Path) -> None:
    _run(TOOLS / "bin/python", "-m", "pip", "--no-cache-dir", "--disable-pip-version-check", "--quiet", *arguments)


def _run(*arguments: str | Path) -> None:
    subprocess.run([str(word) for word in arguments], check=True)


def main() -> None:
    """Do one of the two steps."""
    parser = argparse.ArgumentParser()
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("dependencies")
    step.add_argument("--extra", default="")
    step.add_argument("--from-base", nargs="*", default=[])
    steps.add_parser("package")
    arguments = parser.parse_args()
    if arguments.step == "dependencies":
        dependencies(arguments.extra, arguments.from_base)
    else:
        package()


if __name__ == "__main__":
    main()
