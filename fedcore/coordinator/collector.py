"""The open round's sum, and the versions that come out of it: disk and arithmetic, away from the loop's thread.

One thread does it all, in order: accepted updates are merged as they arrive, in batches of all that wait, so that the sum hides behind the
network; at the close it adds those that still wait in the same pass in which it writes the mean as the next version, and makes it durable.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fedcore.aggregation import ALGORITHMS, BaseVersion, UpdateFile, Workspace
from fedcore.coordinator.futures import settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from fedcore.aggregation import Aggregation
    from fedcore.coordinator.spool import Upload
    from fedcore.coordinator.versions import Stored, Versions
    from fedcore.spec import Aggregation as AggregationSpec

__all__ = ["Collector", "Written"]

_MOST_LANES = 4
"""Threads that sum side by side: beyond that memory is the limit."""


@dataclass(frozen=True, slots=True)
class Written:
    """A version that is durable now, and what it took."""

    stored: Stored
    aggregation_s: float
    checkpoint_s: float
    fsync_s: float
    """Of all this, how long the disk was waited for: it measures the disk, not the coordinator."""


class Collector:
    """Merges updates into the open round, and closes it into a version.

    Parameters
    ----------
    spec : Aggregation
        Which algorithm, with its parameters.
    versions : Versions
        Where versions go.
    release : callable
        Called in the loop's thread with each upload whose file may be used again.
    """

    def __init__(self, spec: AggregationSpec, versions: Versions, release: Callable[[Upload], None]) -> None:
        self._algorithm = ALGORITHMS[spec.algorithm]
        self._parameters = spec.parameters
        self._versions = versions
        self._release = release
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="collector")
        lanes = min(os.cpu_count() or 1, _MOST_LANES)
        self._lanes = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
        self._workspace = Workspace(lanes, self._side_by_side)
        self._waiting: list[tuple[Upload, UpdateFile]] = []
        self._kept: list[Upload] = []
        self._merging: asyncio.Task[None] | None = None
        self._aggregation: Aggregation | None = None
        self._open_base: Any = None
        self.base: BaseVersion | None = None

    def begin(self, stored: Stored) -> None:
        """Open the sum of the next round on this version."""
        if self._open_base is not None:
            self._open_base.close()
        self._open_base = stored.path.open("rb", buffering=0)
        descriptor = self._open_base.fileno()
        self.base = BaseVersion(stored.checked, lambda offset, buffer: _preadv(descriptor, offset, buffer))
        self._aggregation = self._algorithm.begin(self.base, self._parameters, workspace=self._workspace)

    def merge(self, upload: Upload, worker: str, samples: int) -> None:
        """Count an update; returns at once. After one that could not be counted nothing is any more, and `close` raises."""
        update = UpdateFile(upload.checked, upload.file.readinto_at, worker, samples, memory=upload.file.memory)
        self._waiting.append((upload, update))
        if self._merging is None or (self._merging.done() and self._merging.exception() is None):
            self._merging = asyncio.get_running_loop().create_task(self._merge_waiting())

    async def _merge_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            assert self._aggregation is not None
            await loop.run_in_executor(self._thread, self._aggregation.add, *(update for _, update in batch))
            for upload, _ in batch:
                if self._algorithm.keeps_updates:
                    self._kept.append(upload)
                else:
                    self._release(upload)

    def close(self, version: int, state: Mapping[str, Any], sync: Callable[[], None]) -> Awaitable[Written]:
        """Write the mean as ``version``, durable, and ``sync`` called before it counts; then open the next sum on it.

        What waits to be merged when this is called is added in the pass that writes.

        Raises
        ------
        OSError
            The run directory cannot be written.
        """
        last, self._waiting = self._waiting, []
        return self._close(last, version, state, sync)

    async def _close(
        self, last: Sequence[tuple[Upload, UpdateFile]], version: int, state: Mapping[str, Any], sync: Callable[[], None]
    ) -> Written:
        if self._merging is not None:
            await self._merging
        assert self._aggregation is not None
        updates = [update for _, update in last]
        written = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, version, state, updates, sync)
        for upload in (*self._kept, *(upload for upload, _ in last)):
            self._release(upload)
        self._kept.clear()
        self.begin(written.stored)
        return written

    async def adopt(self, source: Upload, state: Mapping[str, Any]) -> Written:
        """Make an upload version 0."""
        began, waited = time.monotonic(), self._versions.waited_s
        stored = await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._versions.adopt(UpdateFile(source.checked, source.file.readinto_at, "", 1), source.size_bytes, state)
        )
        self._release(source)
        self.begin(stored)
        return Written(stored, 0.0, time.monotonic() - began, self._versions.waited_s - waited)

    def shut(self) -> None:
        """Wait for what is being written, and close."""
        self._thread.shutdown(wait=True)
        self._lanes.shutdown(wait=True)
        if self._open_base is not None:
            self._open_base.close()

    def _side_by_side(self, calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
        if len(calls) == 1:
            return calls[0]  # made when it is waited for: a thread would take longer
        return partial(settle, [self._lanes.submit(call) for call in calls])

    def _write(self, version: int, state: Mapping[str, Any], last: Sequence[UpdateFile], sync: Callable[[], None]) -> Written:
        assert self._aggregation is not None
        aggregation = self._aggregation
        waited = self._versions.waited_s
        began = summed = time.monotonic()

        def body(write: Any) -> Any:
            nonlocal summed
            checked = aggregation.finish(write, last=last)
            summed = time.monotonic()
            return checked

        stored = self._versions.create(version, body, state, [sync])
        return Written(stored, summed - began, time.monotonic() - summed, self._versions.waited_s - waited)


def _preadv(descriptor: int, offset: int, buffer: memoryview) -> int:
    return os.preadv(descriptor, [buffer], offset)
