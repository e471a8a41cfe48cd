"""Keep the cache from growing for ever: what was not used for long goes, and so do images of code that is no more.

Whoever uses an entry marks it with the time. Runs beside each other, of other checkouts too, share the cache: an entry that was
used within the hour stays, since somebody may be reading it.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

UNUSED_DAYS = 30
"""Programs and archives of images that nobody used for so long go."""

BUSY_SECONDS = 3600
"""What was used within this time stays whatever else."""

ARCHIVES = 3
"""So many of each image stay: as many versions of the code as are worked on at a time."""

LAYERS = 500
"""Beyond so many intermediate images, about 20 GB, all go: the next build makes those that it needs in two minutes."""


def mark_used(entry: Path) -> None:
    """Say that an entry is in use; it may be a file or a folder."""
    os.utime(entry)


def prune_programs(folder: Path) -> None:
    """Remove programs that nobody used for long."""
    for entry in folder.iterdir():
        if entry.is_dir() and re.fullmatch("[0-9a-f]{16}", entry.name) and _unused_seconds(entry) > UNUSED_DAYS * 86400:
            shutil.rmtree(entry)
            entry.with_suffix(".lock").unlink(missing_ok=True)


def prune_archives(folder: Path, name: str) -> None:
    """Remove archives of an image but for the newest."""
    newest = sorted(folder.glob(f"{name}-{'[0-9a-f]' * 12}.tar"), key=_unused_seconds)
    for rank, archive in enumerate(newest):
        unused = _unused_seconds(archive)
        if unused > UNUSED_DAYS * 86400 or (rank >= ARCHIVES and unused > BUSY_SECONDS):
            archive.unlink()


def prune_layers(buildah: Sequence[str], kept: set[str]) -> None:
    """Remove all intermediate images once there are too many, and images with names that are not ``kept``."""
    images = json.loads(run([*buildah, "images", "--all", "--json"]))
    if sum(not image.get("names") for image in images) <= LAYERS:
        return
    for image in images:
        if not kept.intersection(image.get("names") or ()):
            with suppress(ClusterError):  # it went together with an image that was made from it
                run([*buildah, "rmi", image["id"]])


def _unused_seconds(entry: Path) -> float:
    return time.time() - entry.stat().st_mtime
