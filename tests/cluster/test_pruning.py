import json
import os
import time

import pytest

from tests.cluster import pruning
from tests.cluster.commands import run
from tests.cluster.images import PRIVATE_MOUNTS

HOUR, DAY = 3600, 86400


@pytest.fixture
def entry(tmp_path):
    """Make a file, or a folder with one in it, that was used so many seconds ago."""

    def entry(name, seconds, *, folder=False):
        path = tmp_path / name
        if folder:
            path.mkdir()
            (path / "kubectl").touch()
        else:
            path.touch()
        os.utime(path, (time.time() - seconds,) * 2)
        return path

    return entry


def test_programs_that_nobody_used_for_long_go(entry, tmp_path):
    old, lock, used = entry("0" * 16, 31 * DAY, folder=True), entry("0" * 16 + ".lock", 31 * DAY), entry("1" * 16, 29 * DAY, folder=True)
    images, partial = entry("images", 99 * DAY, folder=True), entry("2" * 16 + ".partial", 99 * DAY, folder=True)
    pruning.prune_programs(tmp_path)
    assert [path.exists() for path in (old, lock, used, images, partial)] == [False, False, True, True, True]


def test_of_archives_the_newest_stay_and_what_was_used_within_the_hour(entry, tmp_path):
    busy = [entry(f"worker-{number:012x}.tar", number * HOUR / 8) for number in range(5)]
    rest = [entry(f"worker-{number:012x}.tar", number * HOUR) for number in (5, 6)]
    other = entry(f"worker-numpy-{1:012x}.tar", 9 * HOUR)
    pruning.prune_archives(tmp_path, "worker")
    assert [path.exists() for path in busy] == [True] * 5
    assert [path.exists() for path in rest] == [False] * 2
    assert other.exists()
    pruning.mark_used(other)
    old = entry(f"worker-numpy-{2:012x}.tar", 31 * DAY)
    pruning.prune_archives(tmp_path, "worker-numpy")
    assert (other.exists(), old.exists()) == (True, False)


@pytest.mark.e2e
def test_intermediate_images_go_when_there_are_too_many(local_cluster, coordinator_image, tmp_path, monkeypatch):
    buildah = [*PRIVATE_MOUNTS, "buildah", f"--root={tmp_path}/storage", f"--runroot={tmp_path}/run"]

    def build(name, content):
        (tmp_path / "context").mkdir(exist_ok=True)
        (tmp_path / "context/file").write_text(content)
        recipe = "FROM scratch\nCOPY file /\nLABEL one=1\nLABEL two=2\n"
        run([*buildah, "build", "--layers", "--isolation=chroot", f"--tag={name}", "--file=-", tmp_path / "context"], stdin=recipe)

    def images():
        listed = json.loads(run([*buildah, "images", "--all", "--json"]))
        return sorted(name for image in listed for name in image.get("names") or ["intermediate"])

    for name, content in (("localhost/kept:1", "first"), ("localhost/kept:1", "second"), ("localhost/old:1", "third")):
        build(name, content)
    before = images()
    assert before.count("intermediate") > 3
    pruning.prune_layers(buildah, {"localhost/kept:1"})
    assert images() == before, "not too many yet"
    monkeypatch.setattr(pruning, "LAYERS", 3)
    pruning.prune_layers(buildah, {"localhost/kept:1"})
    assert images() == ["localhost/kept:1"]
    build("localhost/kept:1", "fourth")
