from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import xxhash
from safetensors.numpy import save

from fedcore.aggregation import PIECE_BYTES, StoredFile
from fedcore.coordinator.versions import Versions

SPARE = "spare.tmp"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "versions"


@pytest.fixture
def versions(folder):
    return Versions(folder, keep=3)


@pytest.fixture
def filled(versions, bodies):
    """Versions 0 to 2."""
    for number in range(3):
        versions.create(number, bodies.body(bodies.weights(number)), {"version": number})
    return versions


def names(folder):
    """The files that count; beside them one may lie that the next version is written over."""
    return sorted(path.name for path in folder.iterdir() if path.name != SPARE)


def test_nothing_is_stored_at_first(versions):
    assert versions.newest() is None


def test_created_version_is_found_again_with_its_state(versions, folder, bodies):
    data = bodies.weights(1.5)
    created = versions.create(7, bodies.body(data), {"version": 7, "names": {"0": "a"}})
    found = Versions(folder, keep=3).newest()
    assert found == created
    assert found.path.read_bytes() == data
    assert found.base == xxhash.xxh3_128_hexdigest(data)
    assert found.size_bytes == len(data)
    assert found.checked == bodies.checked(data)
    assert found.state == {"version": 7, "names": {"0": "a"}, "schema": 2, "base": found.base, "size_bytes": len(data)}
    assert names(folder) == ["000007.json", "000007.safetensors"]


def test_a_version_of_an_earlier_release_is_found_by_its_sha256(filled, folder):
    path = folder / "000002.json"
    state = json.loads(path.read_text())
    weights = path.with_suffix(".safetensors").read_bytes()
    path.write_text(json.dumps({**state, "schema": 1, "base": hashlib.sha256(weights).hexdigest()}))
    found = Versions(folder, keep=3).newest()
    assert (found.version, found.base) == (2, hashlib.sha256(weights).hexdigest())


def test_all_is_durable_before_a_name_is_given_and_the_state_is_named_last(versions, folder, monkeypatch, bodies):
    steps = []
    rename, fsync = Path.rename, os.fsync
    monkeypatch.setattr(Path, "rename", lambda path, to: (steps.append(("rename", to.suffix)), rename(path, to))[1])
    monkeypatch.setattr(os, "fsync", lambda file: (steps.append(("fsync", Path(f"/proc/self/fd/{file}").readlink().name)), fsync(file)))
    with (folder.parent / "events.jsonl").open("wb") as events:
        versions.create(1, bodies.body(bodies.weights()), {}, [lambda: os.fsync(events.fileno())])
    assert sorted(steps[:3]) == [("fsync", "000001.json.tmp"), ("fsync", "000001.safetensors.tmp"), ("fsync", "events.jsonl")]
    assert steps[3:] == [("rename", ".safetensors"), ("rename", ".json"), ("fsync", "versions")]


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def not_json(path):
    path.write_text('{"version": 2, "base": "')


def not_text(path):
    path.write_bytes(b"\xff\xfe\0")


def no_object(path):
    path.write_text("[1, 2]")


def no_checksum(path):
    path.write_text('{"version": 2}')


def other_checksum(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "base": "0" * 64}))


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        pytest.param(".safetensors", truncate, id="weights cut short"),
        pytest.param(".safetensors", flip, id="one bit of the weights flipped"),
        pytest.param(".safetensors", Path.unlink, id="weights missing"),
        pytest.param(".safetensors", lambda path: path.write_bytes(b""), id="weights empty"),
        pytest.param(".json", Path.unlink, id="state missing"),
        pytest.param(".json", not_json, id="state torn"),
        pytest.param(".json", lambda path: path.write_bytes(b""), id="state empty"),
        pytest.param(".json", lambda path: path.write_bytes(bytes(64)), id="state of zeros"),
        pytest.param(".json", not_text, id="state no text"),
        pytest.param(".json", no_object, id="state no object"),
        pytest.param(".json", no_checksum, id="state without checksum"),
        pytest.param(".json", other_checksum, id="state of other weights"),
    ],
)
def test_version_before_is_taken_when_the_newest_is_torn(filled, folder, bodies, suffix, damage):
    damage(folder / f"000002{suffix}")
    found = Versions(folder, keep=3).newest()
    assert found.version == 1
    assert found.path.read_bytes() == bodies.weights(1)
    assert names(folder) == ["000000.json", "000000.safetensors", "000001.json", "000001.safetensors"]


def test_weights_that_match_their_checksum_but_are_none_are_passed_over(filled, folder):
    junk = b"not safetensors"
    (folder / "000002.safetensors").write_bytes(junk)
    state = {"schema": 1, "version": 2, "base": hashlib.sha256(junk).hexdigest(), "size_bytes": len(junk)}
    (folder / "000002.json").write_text(json.dumps(state))
    assert filled.newest().version == 1


def test_all_is_removed_when_no_version_holds(filled, folder):
    for path in folder.glob("*.safetensors"):
        truncate(path)
    assert filled.newest() is None
    assert names(folder) == []


def test_temporary_files_are_removed_and_foreign_ones_kept(filled, folder):
    for name in ("000003.safetensors.tmp", "000003.json.tmp", "lost+found", "notes.json"):
        (folder / name).write_text("{}")
    assert filled.newest().version == 2
    assert set(names(folder)) >= {"lost+found", "notes.json"}
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("keep", [2, 3, 5])
def test_only_the_newest_are_kept(folder, bodies, keep):
    versions = Versions(folder, keep)
    for number in range(8):
        versions.create(number, bodies.body(bodies.weights(number)), {})
    kept = [f"{number:06d}{suffix}" for number in range(8 - keep, 8) for suffix in (".json", ".safetensors")]
    assert names(folder) == kept


def test_weights_whose_state_was_pruned_already_go_too(filled, folder, bodies):
    """A crash between the two halves of a removal must not leave a model's bytes on the volume for ever."""
    (folder / "000000.json").unlink()
    filled.create(3, bodies.body(bodies.weights(3)), {})
    assert names(folder)[:2] == ["000001.json", "000001.safetensors"]


class Crash(BaseException):
    """The process is gone: nothing that the code does about errors may run on it."""


STEPS = ["open 0", "open 1", "write 0", "write 1", "fsync 0", "fsync 1", "rename 0", "rename 1", "fsync 2", "unlink 0", "replace 1"]


def arm(monkeypatch, step, error):
    """Let the named step of a creation raise: ``fsync 1`` is the second fsync."""
    name, _, which = step.partition(" ")
    calls = {}

    def around(kind, function):
        def call(*args, **options):
            calls[kind] = calls.get(kind, -1) + 1
            if kind == name and calls[kind] == int(which):
                raise error
            return function(*args, **options)

        return call

    for kind, owner in {"open": Path, "rename": Path, "replace": Path, "unlink": Path, "fsync": os, "write": os}.items():
        monkeypatch.setattr(owner, kind, around(kind, getattr(owner, kind)))


@pytest.mark.parametrize("spare", [pytest.param(0, id="new file"), 10, 100_000])
@pytest.mark.parametrize("step", STEPS)
def test_crash_before_any_step_leaves_a_version_to_load(filled, folder, bodies, monkeypatch, step, spare):
    if spare:
        (folder / SPARE).write_bytes(b"x" * spare)
    with monkeypatch.context() as patch:
        arm(patch, step, Crash())
        with pytest.raises(Crash):
            Versions(folder, keep=3).create(3, bodies.body(bodies.weights(3)), {"version": 3})
    found = Versions(folder, keep=3).newest()
    durable = STEPS.index(step) > STEPS.index("rename 1")
    assert found.version == (3 if durable else 2)
    assert found.path.read_bytes() == bodies.weights(found.version)
    assert not [name for name in names(folder) if name.startswith("000004") or name.endswith(".tmp")]
    # And the next one is written as if nothing had been.
    after = Versions(folder, keep=3)
    after.create(found.version + 1, bodies.body(bodies.weights(9)), {})
    assert after.newest().path.read_bytes() == bodies.weights(9)
    assert len(names(folder)) == 6


def test_a_pruned_file_is_written_over_by_the_next_version(filled, folder, bodies):
    pruned = (folder / "000000.safetensors").stat().st_ino
    filled.create(3, bodies.body(bodies.weights(3)), {})
    assert (folder / SPARE).stat().st_ino == pruned
    shorter = save({"w": np.ones(3, np.float32)})
    stored = filled.create(4, bodies.body(shorter), {})
    assert stored.path.stat().st_ino == pruned
    assert stored.path.read_bytes() == shorter
    assert filled.newest().base == xxhash.xxh3_128_hexdigest(shorter)


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda path: path.open("rb"), id="open elsewhere"),
        pytest.param(lambda path: os.link(path, path.parent.parent / "model.safetensors"), id="another name"),
    ],
)
def test_a_pruned_file_that_somebody_still_reads_is_left_alone(filled, folder, bodies, hold):
    path = folder / "000000.safetensors"
    held = hold(path) or (folder.parent / "model.safetensors").open("rb")
    with held:
        for number in (3, 4):
            filled.create(number, bodies.body(bodies.weights(number)), {})
        assert held.read() == bodies.weights(0)
    assert filled.newest().path.read_bytes() == bodies.weights(4)


@pytest.mark.parametrize("step", STEPS[: STEPS.index("rename 1") + 1])
def test_error_leaves_the_versions_before_intact_and_frees_the_space(filled, folder, bodies, monkeypatch, step):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        arm(patch, step, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(OSError, match="No space left"):
            filled.create(3, bodies.body(bodies.weights(3)), {})
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert filled.newest().version == 2


def test_error_after_the_version_is_durable_keeps_it(filled, bodies, monkeypatch):
    with monkeypatch.context() as patch:
        arm(patch, "fsync 2", OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(OSError, match="Input/output error"):
            filled.create(3, bodies.body(bodies.weights(3)), {})
    assert filled.newest().version == 3


def test_body_that_fails_leaves_the_versions_before_intact(filled, folder, bodies):
    def failing(write):
        write(memoryview(b"half"))
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        filled.create(3, failing, {})
    assert filled.newest().version == 2
    assert not list(folder.glob("*.tmp"))


def test_state_that_is_no_json_leaves_the_versions_before_intact(filled, bodies):
    with pytest.raises(ValueError, match="not JSON compliant"):
        filled.create(3, bodies.body(bodies.weights(3)), {"loss": float("nan")})
    assert filled.newest().version == 2


def test_first_weights_are_adopted_byte_for_byte(versions, bodies):
    big = save({"weight": np.arange(PIECE_BYTES // 2, dtype=np.float32)}, metadata={"made by": "somebody"})
    assert len(big) > PIECE_BYTES
    stored = versions.adopt(StoredFile(bodies.checked(big), bodies.read_at(big)), len(big), {"version": 0})
    assert stored.version == 0
    assert stored.path.read_bytes() == big
    assert stored.base == xxhash.xxh3_128_hexdigest(big)
    assert versions.newest() == stored


def test_first_weights_that_shrank_meanwhile_are_not_adopted(versions, bodies):
    data = bodies.weights()
    with pytest.raises(EOFError, match=f"end after {len(data) - 5} of {len(data)} bytes"):
        versions.adopt(StoredFile(bodies.checked(data), bodies.read_at(data[:-5])), len(data), {})
    assert versions.newest() is None
