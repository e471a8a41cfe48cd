"""The coordinator: the engine's world. Calls become events, effects become answers, files and lines of the log.

Everything here runs in the loop's thread; bodies, sums and fsync do not (`fedcore.coordinator.http`, `fedcore.coordinator.collector`).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from fedcore.coordinator.collector import Collector, Written
from fedcore.coordinator.spool import SpoolFile
from fedcore.coordinator.uploads import Uploads
from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.reasons import EXIT_CODE, EndReason, Phase, Result
from fedcore.log import log_failure
from fedcore.progress import Progress
from fedcore.wire.protocol import FaultCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fedcore.coordinator.app import Waiting
    from fedcore.coordinator.ending import Ending
    from fedcore.coordinator.journal import Journal
    from fedcore.coordinator.linger import Scrapes
    from fedcore.coordinator.meter import Meter
    from fedcore.coordinator.spool import Spool, Upload
    from fedcore.coordinator.versions import Stored, Versions
    from fedcore.engine.engine import Engine

__all__ = ["Service"]


class Service:
    """One job's coordinator.

    Parameters
    ----------
    engine : Engine
        Fresh or restored.
    versions, journal, spool
        The run directory's parts.
    ending : Ending
        Writes the last files.
    meter : Meter
        Counts for the metrics.
    scrapes : Scrapes
        Whether somebody will want the final metrics, which the last event says.
    uid, attempt
        Of the job and of this coordinator, repeated in the progress.
    """

    def __init__(
        self,
        engine: Engine,
        versions: Versions,
        journal: Journal,
        spool: Spool,
        ending: Ending,
        meter: Meter,
        scrapes: Scrapes,
        *,
        uid: str = "",
        attempt: int = 1,
    ) -> None:
        self.engine = engine
        self.journal = journal
        self.uid = uid
        self.attempt = attempt
        self.generation = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.uploads_in_flight = 0
        self.meter = meter
        self.scrapes = scrapes
        self.late = 0
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves to the exit code once every live worker has been told."""
        self.versions = versions
        self.spool = spool
        self.uploads = Uploads(spool)
        self.collector = Collector(engine.spec.aggregation, versions, self._release)
        self._calls: dict[int, asyncio.Future[ef.Reply]] = {}
        self._tickets = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened_at: dict[int, str] = {event["round"]: event["time"] for event in journal.past if event["event"] == "round_opened"}
        self._ending = ending
        self._trips: dict[str, tuple[float, int]] = {}
        self._initial: Upload | None = None
        self._broken = False
        self._said_the_end = False

    # -- life -------------------------------------------------------------------------------------------------------------------------

    def start(self, resumed: Stored | None, initial: Upload | None) -> None:
        """Begin: from a stored version after a restart, or with the job's own first weights, or from nothing."""
        self._initial = initial
        if resumed is not None:
            self.collector.begin(resumed)
        self._run(self.engine.start(self.now()))

    def handle(self, event: ev.Event) -> None:
        """Let the engine take an event, and do what it says."""
        if self._broken:
            return
        try:
            effects = self.engine.handle(event, self.now())
        except Exception as error:  # noqa: BLE001 - a broken invariant ends the job, whatever it was: a restart would repeat it
            self._break(error)
            return
        self._run(effects)

    def stop(self) -> None:
        """Finish what is being written; the state on disk is then the last closed round."""
        if self._timer is not None:
            self._timer.cancel()
        self.collector.shut()
        self.versions.close()
        self.spool.close()
        self.journal.close()

    def now(self) -> float:
        """Return engine time."""
        return asyncio.get_running_loop().time()

    def _arm(self) -> None:
        """Set the one timer to the engine's next deadline, or leave it where it comes earlier: it is set anew then."""
        deadline = None if self._broken else self.engine.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.handle(ev.Tick())

    # -- effects ----------------------------------------------------------------------------------------------------------------------

    def _run(self, effects: list[ef.Effect]) -> None:
        """Carry out effects in order. One that fails ends the job; whoever waits for one of the answers behind it still gets it."""
        for effect in effects:
            if self._broken and not isinstance(effect, ef.Answer):
                continue
            try:
                self._carry_out(effect)
            except Exception as error:  # noqa: BLE001 - see handle
                self._break(error)
        try:
            self._arm()
        except Exception as error:  # noqa: BLE001 - see handle
            self._break(error)

    def _carry_out(self, effect: ef.Effect) -> None:
        match effect:
            case ef.Answer(ticket, reply):
                call = self._calls.pop(ticket, None)
                if call is not None and not call.done():
                    call.set_result(reply)
            case ef.Record(event, fields):
                self._record(event, dict(fields))
            case ef.Merge(upload_id, worker, samples):
                upload = self.uploads.by_id(upload_id)
                assert upload is not None
                self.collector.merge(upload, worker, samples)
            case ef.Discard(upload_id):
                upload = self.uploads.by_id(upload_id)
                if upload is not None:
                    self.spool.give_back(upload.file)
            case ef.AdoptInitial(upload_id, checkpoint):
                upload = self.uploads.by_id(upload_id) if upload_id else self._initial
                assert upload is not None
                self._background(self._adopt(upload, dict(checkpoint)))
            case ef.WriteVersion(version, checkpoint):
                self._background(self._close(self.collector.close(version, self._stamped(dict(checkpoint)), self.journal.sync)))
            case ef.Finish():
                self._ending.write(effect)
            case ef.Shutdown():
                self._finish()

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, upload: Upload, checkpoint: dict[str, Any]) -> None:
        try:
            self._written(await self.collector.adopt(upload, self._stamped(checkpoint)))
        except OSError as error:
            self._write_failed(error)
        except Exception as error:  # noqa: BLE001 - see handle
            self._break(error)

    async def _close(self, closing: Awaitable[Written]) -> None:
        try:
            self._written(await closing)
        except OSError as error:
            self._write_failed(error)
        except Exception as error:  # noqa: BLE001 - see handle
            self._break(error)

    def _release(self, upload: Upload) -> None:
        if upload is self._initial and isinstance(upload.file, SpoolFile):  # the user's own, open for reading only: no part of the spool
            os.close(upload.file.descriptor)
        else:
            self.spool.give_back(upload.file)

    def _write_failed(self, error: OSError) -> None:
        self.spool.make_room()
        self.handle(ev.WriteFailed(str(error)))

    def _stamped(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        return {**checkpoint, "run_id": self.engine.run_id, "resume": self.journal.resume}

    def _written(self, written: Written) -> None:
        stored = written.stored
        self.uploads.drop_older(stored.version + 1)
        seconds = written.aggregation_s, written.checkpoint_s, written.fsync_s
        self.handle(ev.VersionWritten(stored.version, stored.base, stored.size_bytes, *seconds))

    def _record(self, event: str, fields: dict[str, Any]) -> None:
        if event == "round_closed":
            fields["opened_at"] = self._opened_at.get(fields["round"])
        if event in {"round_opened", "run_finished"}:
            fields |= {"bytes_sent": self.bytes_sent, "bytes_received": self.bytes_received}
        if event == "run_finished":
            fields["linger_s"] = self.linger_seconds
        if event == "update":
            self._note_update(fields)
        try:
            line = self.journal.append(event, fields)
        except OSError as error:
            if self.engine.end is None:
                asyncio.get_running_loop().call_soon(self._write_failed, error)
            return
        if event == "run_finished":
            self._said_the_end = True
        if event == "round_opened":
            self._opened_at = {fields["round"]: line["time"]}

    def _note_update(self, fields: dict[str, Any]) -> None:
        self.late += fields["result"] == Result.STALE
        if fields["round_trip_s"] is not None:
            self._trips[fields["worker"]] = (fields["round_trip_s"], fields["round"])

    def _finish(self) -> None:
        end = self.engine.end
        if not self.done.done():
            self.done.set_result(EXIT_CODE[EndReason.INTERNAL_ERROR] if end is None else end.exit_code)

    def _break(self, error: Exception) -> None:
        log_failure("internal_error", error)
        if self._broken:
            return
        self._broken = True
        message = f"{type(error).__name__}: {error}"
        end = ef.Finish(Phase.FAILED, EndReason.INTERNAL_ERROR, message, EXIT_CODE[EndReason.INTERNAL_ERROR])
        try:
            if not self._said_the_end:
                self.engine.end = end
                self._record(
                    "run_finished",
                    {"phase": str(end.phase), "reason": str(end.reason), "message": message, "exit_code": end.exit_code},
                )
                self._ending.write(end)
        except Exception as another:  # noqa: BLE001 - the process ends all the same
            log_failure("internal_error", another)
        finally:
            self._finish()

    @property
    def linger_seconds(self) -> int:
        """How long the coordinator serves on at most after the end, for its last values to be scraped."""
        return self.scrapes.linger_seconds(self.engine.spec.metrics.linger_seconds)

    # -- calls ------------------------------------------------------------------------------------------------------------------------

    async def call(self, event: Callable[[int], ev.Event], waiting: Waiting = nullcontext) -> ef.Reply:
        """Let the engine take an event that wants an answer, and wait for it."""
        self._tickets += 1
        ticket = self._tickets
        call: asyncio.Future[ef.Reply] = asyncio.get_running_loop().create_future()
        self._calls[ticket] = call
        try:
            self.handle(event(ticket))
            if self._broken and not call.done():
                return ef.Fault(FaultCode.FINISHED, str(EndReason.INTERNAL_ERROR))
            if call.done():
                return call.result()
            with waiting():
                return await call
        finally:
            self._calls.pop(ticket, None)

    # -- progress ---------------------------------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """Return the progress contract."""
        engine, now = self.engine, self.now()
        slowest = sorted(self._trips.items(), key=lambda item: -item[1][0])[:3]
        return Progress(
            schema=1,
            uid=self.uid,
            attempt=self.attempt,
            run_id=engine.run_id,
            generation=self.generation,
            phase=str(engine.phase),
            reason="" if engine.end is None else str(engine.end.reason),
            message="" if engine.end is None else engine.end.message,
            round=engine.current_round,
            rounds=engine.spec.rounds,
            accepted=engine.round.accepted if engine.round is not None else 0,
            required=engine.required,
            registered=engine.members.live_count,
            quorum_met=engine.quorum.met,
            quorum_lost_seconds=round(engine.quorum.lost_seconds(now), 3),
            late=self.late,
            metrics=engine.metrics,
            metrics_version=engine.metrics_version,
            recent_rounds=engine.recent,
            slowest_workers=[{"worker": name, "round_trip_s": trip, "round": number} for name, (trip, number) in slowest],
            checkpoint_version=engine.version,
        )
