"""The image of every pod's sandbox, written by hand: it has one file."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from tests.cluster.build import programs

SANDBOX_IMAGE = "localhost/fedcore-sandbox:1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def sandbox_archive() -> Path:
    """Archive of the image in which nothing but init runs: it holds a pod's network while its containers come and go."""
    folder = programs()
    path = folder / "sandbox.tar"
    if not path.exists():
        partial = path.with_suffix(".partial")
        _write_archive(partial, SANDBOX_IMAGE, "init", (folder / "init").read_bytes())
        partial.rename(path)
    return path


def _write_archive(path: Path, name: str, program: str, content: bytes) -> None:
    layer = _tar({program: content})
    layer_name = f"{_digest(layer)}.tar"
    config = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": [f"/{program}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": f"{_digest(config)}.json", "RepoTags": [name], "Layers": [layer_name]}]).encode()
    path.write_bytes(_tar({f"{_digest(config)}.json": config, layer_name: layer, "manifest.json": manifest}))


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
