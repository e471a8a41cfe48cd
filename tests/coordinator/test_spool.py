from __future__ import annotations

import errno
import os

import pytest

from fedcore.aggregation import Checked, Layout, Rejected
from fedcore.coordinator.spool import MEMORY_BYTES, Spool, SpoolMemory
from fedcore.coordinator.uploads import Receiving, Uploads
from fedcore.engine.reasons import Rejection

FILE_BYTES = MEMORY_BYTES + 1
"""A body that does not fit into memory."""
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read(file, offset, length):
    buffer = bytearray(b"?" * length)
    count = file.readinto_at(offset, memoryview(buffer))
    return bytes(buffer[:count])


# -- memory -----------------------------------------------------------------------------------------------------------------------------


def test_small_bodies_lie_in_memory_until_the_budget_is_spent(tmp_path):
    spool = Spool(tmp_path / "spool", memory_bytes=25)
    taken = [spool.take(10) for _ in range(3)]
    assert [isinstance(room, SpoolMemory) for room in taken] == [True, True, False]
    spool.give_back(taken[0])
    assert spool.take(10) is taken[0]
    assert not isinstance(spool.take(10), SpoolMemory)
    spool.close()


def test_memory_that_is_too_small_makes_way_for_bodies_of_another_size(tmp_path):
    spool = Spool(tmp_path / "spool", memory_bytes=25)
    small = [spool.take(10), spool.take(10)]
    for room in small:
        spool.give_back(room)
    large = spool.take(20)
    assert isinstance(large, SpoolMemory)
    assert not isinstance(spool.take(10), SpoolMemory)
    spool.give_back(large)
    assert spool.take(10) is large
    spool.close()


def test_body_in_memory_is_received_where_it_lies():
    body = SpoolMemory(6)
    room = body.room(4)
    room[:] = b"abcd"
    body.write(room)
    body.write(memoryview(b"ef"))
    assert body.memory == b"abcdef"
    assert read(body, 2, 3) == b"cde"
    assert read(body, 4, 9) == b"ef"


def test_bytes_of_an_earlier_longer_body_never_show(tmp_path):
    spool = Spool(tmp_path / "spool", memory_bytes=10)
    body = spool.take(10)
    body.write(memoryview(b"secretword"))
    spool.give_back(body)
    assert spool.take(4) is body
    body.write(memoryview(b"new"))
    assert (body.memory, read(body, 0, 10), read(body, 5, 5)) == (b"new", b"new", b"")
    spool.close()


# -- the pool ---------------------------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_at_any_place(spool):
    file = spool.take(FILE_BYTES)
    file.write(memoryview(b"abc"))
    file.write(memoryview(b"defg"))
    assert file.position == 7
    assert read(file, 0, 7) == b"abcdefg"
    assert read(file, 2, 3) == b"cde"


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        pytest.param(0, 100, b"new", id="reads past the end stop there"),
        pytest.param(2, 100, b"w", id="from the middle too"),
        pytest.param(3, 100, b"", id="nothing at the end"),
        pytest.param(50, 10, b"", id="nothing beyond it"),
    ],
)
def test_bytes_of_an_earlier_longer_use_never_show(spool, offset, length, expected):
    first = spool.take(FILE_BYTES)
    first.write(memoryview(b"secret" * 100))
    spool.give_back(first)
    second = spool.take(FILE_BYTES)
    assert second is first
    assert second.position == 0
    assert read(second, 0, 10) == b""
    second.write(memoryview(b"new"))
    assert read(second, offset, length) == expected


def test_files_in_use_are_apart_and_free_ones_are_used_again(spool, tmp_path):
    files = [spool.take(FILE_BYTES) for _ in range(3)]
    for number, file in enumerate(files):
        file.write(memoryview(b"%d" % number))
    assert [read(file, 0, 9) for file in files] == [b"0", b"1", b"2"]
    for _ in range(5):
        for file in files:
            spool.give_back(file)
        files = [spool.take(FILE_BYTES) for _ in range(3)]
    assert len(list((tmp_path / "spool").iterdir())) == 3


def test_leftovers_of_a_crash_are_removed_at_start(tmp_path):
    folder = tmp_path / "spool"
    crashed = Spool(folder)
    crashed.take(FILE_BYTES).write(memoryview(b"left over"))
    (folder / "000009.part").write_bytes(b"older still")
    spool = Spool(folder)
    assert list(folder.iterdir()) == []
    assert read(spool.take(FILE_BYTES), 0, 9) == b""
    spool.close()


def test_nothing_is_left_after_close(tmp_path):
    spool = Spool(tmp_path / "spool")
    held, free = spool.take(FILE_BYTES), spool.take(FILE_BYTES)
    spool.give_back(free)
    spool.close()
    assert list((tmp_path / "spool").iterdir()) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(free.descriptor)
    os.close(held.descriptor)


def test_space_is_freed_at_once_where_the_disk_is_full(spool, tmp_path):
    file = spool.take(FILE_BYTES)
    file.write(memoryview(bytes(100_000)))
    spool.give_back(file, discard_bytes=True)
    assert [path.stat().st_size for path in (tmp_path / "spool").iterdir()] == [0]
    assert spool.take(FILE_BYTES) is file


def test_no_descriptor_left_is_an_error_and_the_pool_goes_on(spool, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            spool.take(FILE_BYTES)
    spool.take(FILE_BYTES).write(memoryview(b"x"))


# -- a body on its way in ---------------------------------------------------------------------------------------------------------------


def test_body_is_spooled_while_it_is_checked(spool, bodies):
    data = bodies.weights(2.0)
    receiving = Receiving(spool.take(FILE_BYTES), bodies.checked(data).layout, len(data))
    for start in range(0, len(data), 777):
        assert receiving.feed(memoryview(data)[start : start + 777]) is None
    assert receiving.received == len(data)
    assert receiving.verdict() == bodies.checked(data)
    assert read(receiving.file, 0, len(data)) == data


def test_refused_body_is_spooled_no_further(spool, bodies):
    data = bodies.weights(float("nan"))
    receiving = Receiving(spool.take(FILE_BYTES), bodies.checked(bodies.weights()).layout, len(data))
    refused = receiving.feed(memoryview(data))
    assert refused.reason is Rejection.NON_FINITE
    assert receiving.verdict() is refused
    assert receiving.file.position == 0


def test_body_that_ends_early_is_refused(spool, bodies):
    data = bodies.weights()
    receiving = Receiving(spool.take(FILE_BYTES), None, len(data))
    assert receiving.feed(memoryview(data)[:-4]) is None
    verdict = receiving.verdict()
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Rejection.LENGTH


def test_full_spool_is_noted_so_that_the_space_is_freed(spool, bodies, monkeypatch):
    data = bodies.weights()
    receiving = Receiving(spool.take(FILE_BYTES), None, len(data))

    def full(*_):
        raise FULL

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        receiving.feed(memoryview(data))
    assert receiving.spool_full


def test_write_goes_on_after_a_short_one(spool, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, piece, at: pwrite(descriptor, piece[:7], at))
    file = spool.take(FILE_BYTES)
    file.write(memoryview(b"more than seven bytes"))
    assert read(file, 0, 99) == b"more than seven bytes"


# -- uploads that wait for their report -------------------------------------------------------------------------------------------------


@pytest.fixture
def uploads(spool):
    return Uploads(spool)


def test_upload_is_found_by_the_session_that_sent_it_alone(uploads, upload, bodies):
    mine = upload(bodies.weights(), "mine", "u-1")
    uploads.hold(mine)
    assert uploads.find("mine", "u-1", 1) is mine
    assert uploads.find("yours", "u-1", 1) is None
    assert uploads.find("mine", "u-2", 1) is None


def test_upload_for_one_round_is_none_for_another(uploads, upload, bodies):
    """One that arrives while its round closes was checked against another base, and round 0 takes any layout."""
    uploads.hold(upload(bodies.weights(), "s", "u-1", round_number=0))
    assert uploads.find("s", "u-1", 1) is None
    assert uploads.find("s", "u-1", 0) is not None


@pytest.mark.parametrize("guess", ["", "\N{LATIN SMALL LETTER E WITH ACUTE}", "\ud800", "u-1\0"])
def test_any_text_may_be_asked_for(uploads, upload, bodies, guess):
    uploads.hold(upload(bodies.weights(), "mine", "u-1"))
    assert uploads.find("mine", guess, 1) is None


def test_one_upload_is_held_per_session_the_last(uploads, upload, bodies, spool):
    first, second = upload(bodies.weights(1), "s", "u-1"), upload(bodies.weights(2), "s", "u-2")
    other = upload(bodies.weights(3), "other", "u-3")
    for each in (first, other, second):
        uploads.hold(each)
    assert uploads.find("s", "u-1", 1) is None
    assert uploads.find("s", "u-2", 1) is second
    assert uploads.find("other", "u-3", 1) is other
    assert spool.take(first.size_bytes) is first.file


def test_upload_is_handed_out_once(uploads, upload, bodies):
    held = upload(bodies.weights(), "s", "u-1")
    uploads.hold(held)
    assert uploads.by_id("u-2") is None
    assert uploads.by_id("u-1") is held
    assert uploads.by_id("u-1") is None
    uploads.drop("s")  # nothing is held any more, so its file must not go back to the pool twice


def test_dropped_upload_returns_its_file_once(uploads, upload, bodies, spool):
    held = upload(bodies.weights(), "s")
    uploads.hold(held)
    uploads.drop("s")
    uploads.drop("s")
    assert [spool.take(held.size_bytes) is held.file, spool.take(held.size_bytes) is held.file] == [True, False]


def test_uploads_of_rounds_before_are_dropped(uploads, upload, bodies):
    for number in range(4):
        uploads.hold(upload(bodies.weights(), f"s{number}", f"u{number}", number))
    uploads.drop_older(2)
    assert [uploads.find(f"s{number}", f"u{number}", number) is not None for number in range(4)] == [False, False, True, True]


def test_layout_of_another_model_is_refused_with_its_header(spool, bodies):
    data = bodies.weights(values=5)
    base = bodies.checked(bodies.weights(values=6)).layout
    assert isinstance(base, Layout)
    refused = Receiving(spool.take(FILE_BYTES), base, len(data)).feed(memoryview(data))
    assert refused.reason is Rejection.LAYOUT
    assert not isinstance(refused, Checked)
