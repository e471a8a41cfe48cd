"""Versions of the model on disk, each with the state of the job beside it: ``versions/000007.safetensors`` and ``000007.json``.

Both are written under temporary names and made durable at the same time, then renamed, weights first, and the folder made durable: a state
file that exists names weights that are complete. What a crash leaves half-written is a temporary file, or weights without state, and is
removed at the next start.

The file of a version that is no longer kept is written over by the next one, if nobody else has it open or under another name: its pages
are there already, and allocating new ones takes as long as computing the mean.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import xxhash

from fedcore.aggregation import PIECE_BYTES, Checked, Rejected, StoredFile, check_file
from fedcore.coordinator.follower import Follower

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedcore.aggregation.version import Write

__all__ = ["Stored", "Versions"]

_SCHEMA = 2
_DIGESTS: Mapping[int, Any] = {1: "sha256", 2: xxhash.xxh3_128}
"""Which checksum ``base`` is, by the schema of the state. A SHA-256 took half as long as the mean that it followed."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One durable version."""

    version: int
    path: Path
    base: str
    """XXH3 of the file, 128 bits in hex."""
    size_bytes: int
    checked: Checked
    state: Mapping[str, Any]


class Versions:
    """The folder of versions. One writer at a time; reading files of existing versions needs no care, they never change."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep
        self._follower = Follower()
        self._spare = folder / "spare.tmp"
        self.waited_s = 0.0
        """Seconds spent in waiting for the disk, since the start."""
        folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """End the threads that help with writing."""
        self._follower.close()

    def path(self, version: int) -> Path:
        """Where the weights of a version lie."""
        return self._folder / f"{version:06d}.safetensors"

    def newest(self) -> Stored | None:
        """Return the newest version whose checksum holds, and remove what is left of any newer one; None if there is none."""
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()
        numbers = sorted((int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdigit()), reverse=True)
        for number in numbers:
            stored = self._load(number)
            if stored is not None:
                self._remove_above(number)
                return stored
        self._remove_above(-1)
        return None

    def create(
        self, version: int, body: Callable[[Write], Checked], state: Mapping[str, Any], beside: Sequence[Callable[[], None]] = ()
    ) -> Stored:
        """Write a version and its state, durably, and remove those that are no longer kept.

        Parameters
        ----------
        version : int
            Its number.
        body : callable
            Hands the file's bytes piece by piece to the function it is given, and returns what a check of the file would find.
        state : mapping
            JSON; ``base`` and ``size_bytes`` are added.
        beside : sequence of callable
            Makes durable what has to be so when the state is; called in other threads, while the version's own files are waited for.

        Raises
        ------
        OSError
            The folder cannot be written; the versions before are intact.
        """
        try:
            return self._create(version, body, state, beside)
        except Exception:
            self._remove_unfinished(version)
            raise

    def _create(
        self, version: int, body: Callable[[Write], Checked], state: Mapping[str, Any], beside: Sequence[Callable[[], None]]
    ) -> Stored:
        path = self.path(version)
        size_bytes = 0
        part, state_part = path.with_suffix(".safetensors.tmp"), path.with_suffix(".json.tmp")
        with self._empty_file(part) as file, state_part.open("wb", buffering=0) as state_file:
            followed, digest = self._follower.follow(file.fileno()), xxhash.xxh3_128()

            def write(piece: memoryview) -> None:
                nonlocal size_bytes
                size_bytes += piece.nbytes
                digest.update(piece)  # while it is in the cache
                _write_all(file.fileno(), piece)
                followed.grown(size_bytes)

            try:
                checked = body(write)
            except BaseException:
                with suppress(OSError):  # what body raised says more
                    followed.settle()
                raise
            followed.settle()
            os.ftruncate(file.fileno(), size_bytes)
            full = {**state, "schema": _SCHEMA, "base": digest.hexdigest(), "size_bytes": size_bytes}
            _write_all(state_file.fileno(), memoryview(json.dumps(full, allow_nan=False).encode()))
            self._make_durable(partial(os.fsync, file.fileno()), partial(os.fsync, state_file.fileno()), *beside)
        part.rename(path)
        state_part.rename(path.with_suffix(".json"))
        self._sync_folder()
        self._prune(version)
        return Stored(version, path, full["base"], size_bytes, checked, full)

    def adopt(self, source: StoredFile, size_bytes: int, state: Mapping[str, Any]) -> Stored:
        """Make a checked file version 0, byte for byte."""

        def body(write: Write) -> Checked:
            buffer = memoryview(bytearray(PIECE_BYTES))
            offset = 0
            while offset < size_bytes:
                count = source.readinto_at(offset, buffer[: min(PIECE_BYTES, size_bytes - offset)])
                if not count:
                    raise EOFError(f"the first weights end after {offset} of {size_bytes} bytes")
                write(buffer[:count])
                offset += count
            return source.checked

        return self.create(0, body, state)

    def _load(self, number: int) -> Stored | None:
        path = self.path(number)
        try:
            state = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, _DIGESTS[state["schema"]]).hexdigest()
                size_bytes = os.fstat(file.fileno()).st_size
                if digest != state["base"] or size_bytes != state["size_bytes"]:
                    return None
                checked = check_file(lambda offset, buffer: os.preadv(file.fileno(), [buffer], offset), size_bytes)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return None if isinstance(checked, Rejected) else Stored(number, path, digest, size_bytes, checked, state)

    def _remove_unfinished(self, version: int) -> None:
        """Free the space: on a full disk, the job's last lines and its summary still have to be written."""
        path = self.path(version)
        weights = (self._spare,) if path.with_suffix(".json").exists() else (path, self._spare)
        for unfinished in (path.with_suffix(".safetensors.tmp"), path.with_suffix(".json.tmp"), *weights):
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _remove_above(self, number: int) -> None:
        for path in self._folder.iterdir():
            if path.stem.isdigit() and int(path.stem) > number:
                path.unlink()

    def _prune(self, newest: int) -> None:
        # States first: the other way round, a crash in between would leave a state without weights.
        for path in sorted(self._folder.iterdir(), key=lambda path: (path.suffix, path.stem)):
            if path.stem.isdigit() and int(path.stem) <= newest - self._keep:
                if path.suffix == ".safetensors":
                    path.replace(self._spare)
                else:
                    path.unlink()

    def _empty_file(self, part: Path) -> io.FileIO:
        """Open a file that may be written from its start; what it holds beyond its new end is still to be cut off."""
        try:
            self._spare.replace(part)
        except FileNotFoundError:
            return part.open("wb+", buffering=0)
        file = part.open("rb+", buffering=0)
        if _is_ours_alone(file.fileno()):
            return file
        file.close()
        part.unlink()
        return part.open("wb+", buffering=0)

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._make_durable(partial(os.fsync, descriptor))
        finally:
            os.close(descriptor)

    def _make_durable(self, *calls: Callable[[], None]) -> None:
        began = time.monotonic()
        self._follower.call_all(calls)
        self.waited_s += time.monotonic() - began


def _is_ours_alone(descriptor: int) -> bool:
    """Whether the file has one name and no other descriptor, in whatever process: only then does the system grant a write lease."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:  # taken, or a file system without leases
        return False
    return os.fstat(descriptor).st_nlink == 1


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece.nbytes:
        piece = piece[os.write(descriptor, piece) :]
