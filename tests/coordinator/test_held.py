from __future__ import annotations

import os

import pytest

from fedcore.aggregation import LONG_PIECE_BYTES
from fedcore.coordinator.held import HELD_BYTES, HeldVersion

SIZE = 2 * LONG_PIECE_BYTES + 1000


@pytest.fixture
def version(tmp_path):
    """Make the file of a version, and return its descriptor and bytes."""
    opened = []

    def make(name, size=SIZE):
        content = os.urandom(size)
        path = tmp_path / name
        path.write_bytes(content)
        opened.append(os.open(path, os.O_RDONLY))
        return opened[-1], content

    yield make
    for descriptor in opened:
        os.close(descriptor)


def whole(read, start=0, size=SIZE):
    parts = []
    while start < size:
        parts.append(bytes(read(start, LONG_PIECE_BYTES)))
        start += len(parts[-1])
    return b"".join(parts)


def test_file_is_read_once_whoever_asks(version, monkeypatch):
    held = HeldVersion()
    file, content = version("v1")
    assert whole(held.reader(1, file, SIZE)) == content
    monkeypatch.setattr(os, "preadv", None)
    assert whole(held.reader(1, file, SIZE)) == content


@pytest.mark.parametrize("start", [1, LONG_PIECE_BYTES - 1, LONG_PIECE_BYTES, SIZE - 1])
def test_range_may_begin_anywhere(version, start):
    file, content = version("v1")
    assert whole(HeldVersion().reader(1, file, SIZE), start) == content[start:]


def test_next_version_takes_the_memory_that_nobody_reads(version):
    held = HeldVersion()
    first, second = version("v1"), version("v2")
    address = held.reader(1, first[0], SIZE)(0, 1).obj
    read = held.reader(2, second[0], SIZE)
    assert read(0, 1).obj is address
    assert whole(read) == second[1]


def test_version_that_is_being_sent_is_not_written_over(version):
    """A slow reader costs one version's memory, not one for each version that it outlasts."""
    held = HeldVersion()
    first, second = version("v1"), version("v2")
    early = held.reader(1, first[0], SIZE)  # asked for, and not begun when the next version comes
    assert held.reader(2, second[0], SIZE) is None
    assert whole(early) == first[1]
    del early
    assert whole(held.reader(2, second[0], SIZE)) == second[1]


def test_older_version_does_not_drive_out_the_newest(version):
    held = HeldVersion()
    first, second = version("v1"), version("v2")
    assert whole(held.reader(2, second[0], SIZE)) == second[1]
    assert held.reader(1, first[0], SIZE) is None
    assert whole(held.reader(2, second[0], SIZE)) == second[1]


def test_what_is_too_large_is_not_held(version):
    file, _ = version("v1", 10)
    assert HeldVersion().reader(1, file, HELD_BYTES + 1) is None


def test_file_that_has_shrunk_ends_early(version):
    file, _ = version("v1", 10)
    assert not HeldVersion().reader(1, file, 20)(0, 20)
