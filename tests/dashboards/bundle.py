"""Makes the page that draws boards: packages from npm, once per machine, and a bundle of them and of viewer/src.

Both lie in the cache outside of the checkout, in folders named by a hash over all that goes in, and appear there whole or not at all.
The first time costs 450 MB and half a minute, a change of the sources a few seconds, otherwise nothing.

``python -m tests.dashboards.bundle`` prepares it where it can be.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.places import cache
from tests.cluster.pruning import mark_used, prune_programs

VIEWER = Path(__file__).with_name("viewer")
SOURCES = VIEWER / "src"
_PINS = ("package.json", "package-lock.json", ".npmrc")
_LIMIT_SECONDS = 600
_ESBUILD = (
    *("--bundle", "--minify", "--format=esm", "--jsx=automatic", "--entry-names=[name]", "--log-level=error"),
    *(f"--loader:.{kind}=dataurl" for kind in ("svg", "woff", "woff2", "ttf", "png")),
    *("--loader:.html=copy", "--define:global=window", '--define:process.env.NODE_ENV="production"'),
)


class MissingError(Exception):
    """What keeps the page from being made."""


def bundle() -> Path:
    """Return the folder of the page, which is made if it is not there.

    Raises
    ------
    MissingError
        There is no npm or no Chromium, or npm cannot install.
    """
    for program in ("npm", "chromium"):
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not installed (tests/install_{program}.sh)")
    with _locked():
        packages = _made("packages", [VIEWER / name for name in _PINS], _install)
        return _made("pages", [*(VIEWER / name for name in _PINS), *sorted(SOURCES.iterdir())], lambda folder: _build(folder, packages))


def _install(folder: Path) -> None:
    for name in _PINS:
        shutil.copy(VIEWER / name, folder)
    # Scripts of packages are not run: nothing here needs any.
    _run(["npm", "ci", "--ignore-scripts", "--no-progress", "--loglevel=error"], folder)


def _build(folder: Path, packages: Path) -> None:
    entries = [str(SOURCES / name) for name in ("main.jsx", "index.html")]
    program = packages / "node_modules/.bin/esbuild"
    _run([str(program), *entries, f"--outdir={folder}", *_ESBUILD], folder, NODE_PATH=str(packages / "node_modules"))


def _made(kind: str, inputs: Iterable[Path], make: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(repr(_ESBUILD).encode())
    folder = _cache() / kind / digest.hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        prune_programs(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as work:
            made = Path(work) / "made"
            made.mkdir()
            make(made)
            made.rename(folder)
    mark_used(folder)
    return folder


def _run(command: list[str], folder: Path, **environment: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{command[0]}: not done within {_LIMIT_SECONDS} s") from error
    if done.returncode != 0:
        raise MissingError(f"{' '.join(command[:2])}: {done.stderr.strip() or done.stdout.strip()}")


@contextmanager
def _locked():
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    return cache().with_name("viewer")


if __name__ == "__main__":
    try:
        print(bundle())
    except MissingError as missing:
        print(f"{missing}; the tests that draw dashboards will be skipped", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 0)
