"""What FedCore's images cost: `python -m tests.cluster images`."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.build import Image
from tests.cluster.commands import run
from tests.cluster.images import PYTHON, TAG, TEST_IMAGES, build_one, ensure_base, storage

ALL_IMAGES = {**TEST_IMAGES, "worker-pypi": (Image("worker", "pypi"), PYTHON)}
"""With the worker as users get it by default, which takes minutes and, while it is built, 20 GB of disk."""


@dataclass(frozen=True)
class Size:
    """What one image costs."""

    name: str
    disk: str
    """Of a node's disk, in buildah's words."""
    pull: int
    """Bytes that a node without any of it downloads: the compressed layers."""
    seconds: float
    """To build it, here and now, with what the cache had of its layers."""


def sizes(names: Sequence[str] = ()) -> Iterator[Size]:
    """Build images on the tests' bases and measure them; those of the tests unless others are named."""
    for name in names or TEST_IMAGES:
        image, base = ALL_IMAGES[name]
        reference = image.reference("localhost", TAG)
        with storage() as buildah, tempfile.TemporaryDirectory() as folder:
            ensure_base(base, buildah)
            started = time.monotonic()
            build_one(image, base, buildah)
            seconds = time.monotonic() - started
            disk = json.loads(run([*buildah, "images", "--json", reference]))[0]["size"]
            run([*buildah, "push", "--quiet", reference, f"oci:{folder}/image"], seconds=1800)
            pull = sum(path.stat().st_size for path in (Path(folder) / "image/blobs/sha256").iterdir())
        yield Size(name, disk, pull, seconds)
