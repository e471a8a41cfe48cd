"""The coordinator's process: from options to an exit code."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import secrets
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fedcore.aggregation.kernels import kernels
from fedcore.coordinator.aftermath import await_last_scrape, push
from fedcore.coordinator.control import Control
from fedcore.coordinator.ending import Ending, repeat_end
from fedcore.coordinator.exposition import Exposition
from fedcore.coordinator.http import Page, Server
from fedcore.coordinator.inputs import Refused, open_initial, read_certificate, read_token, read_trackers
from fedcore.coordinator.jobinput import JobInput, changes, read_job_input
from fedcore.coordinator.journal import Journal
from fedcore.coordinator.linger import Scrapes
from fedcore.coordinator.meter import Meter
from fedcore.coordinator.resume import active_seconds, complete_the_log, last_size, lost_seconds
from fedcore.coordinator.service import Service
from fedcore.coordinator.spool import Spool
from fedcore.coordinator.stamp import stamp
from fedcore.coordinator.versions import Stored, Versions
from fedcore.engine.checkpoint import Saved
from fedcore.engine.engine import Engine
from fedcore.engine.reasons import EndReason
from fedcore.jobfile import InvalidJob, dump_job
from fedcore.log import log_event
from fedcore.report.identity import AnotherRun, check_same_run
from fedcore.report.lock import RunDirectoryLocked, lock_run_dir
from fedcore.report.rundir import JOB, SPOOL, VERSIONS, write_atomically
from fedcore.report.trackers import END_SECONDS, INTERRUPTED_SECONDS, RunInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore.coordinator.options import Options
    from fedcore.coordinator.spool import Upload
    from fedcore.coordinator.tls import Certificate

__all__ = ["run"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TERMINATED = 143
_LOOK_SECONDS = 1.0
"""How often the job file and the certificate are looked at: they arrive through volumes that change within a second."""


class _Unwritable(Exception):  # noqa: N818 - a state of the world
    """The run directory takes nothing. Room may be made: unlike a refusal, worth another start."""


def run(options: Options) -> int:
    """Coordinate one job until its end, and return the exit code."""
    _allow_descriptors()
    try:
        certificate = read_certificate(options.tls_cert, options.tls_key)
    except Refused as error:
        return _no_start(options, str(error))
    try:
        options.run_dir.mkdir(parents=True, exist_ok=True)
        lock = lock_run_dir(options.run_dir)
    except RunDirectoryLocked as error:
        return _no_start(options, f"{error} (RunDirectoryLocked); choose another --run-dir", "RunDirectoryLocked")
    except OSError as error:
        return _no_start(options, f"{options.run_dir}: cannot be used as a run directory: {error.strerror}")
    try:
        coordinator = _Coordinator(options, certificate)
        return coordinator.leave(asyncio.run(coordinator.run()))
    except InvalidJob as error:
        return _no_start(options, "\n".join(str(problem) for problem in error.problems))
    except Refused as error:
        return _no_start(options, str(error))
    except _Unwritable as error:
        return _no_start(options, str(error), str(EndReason.CHECKPOINT_FAILED), EXIT_FAILED)
    finally:
        os.close(lock)


def _allow_descriptors() -> None:
    """Raise the soft limit to the hard one: it is often 1,024, and every worker keeps a connection or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))


def _no_start(options: Options, message: str, reason: str = "InvalidJob", exit_code: int = EXIT_USAGE) -> int:
    print(f"error: {message}", file=sys.stderr)
    if options.termination_file is not None:
        with suppress(OSError):
            options.termination_file.write_text(json.dumps({"schema": 1, "final": False, "reason": reason, "message": message[:512]}))
    return exit_code


class _Coordinator:
    """Puts the parts of one coordinator together."""

    def __init__(self, options: Options, certificate: Certificate | None = None) -> None:
        self._options = options
        self._certificate = certificate
        self._seen = stamp(options.job)
        self._input = self._read_input()
        self._token = read_token(options.token_file)
        self._trackers = read_trackers(options.tracker)
        self._service: Service | None = None
        self._ticked = time.monotonic()

    async def run(self) -> int:
        options = self._options
        try:
            check_same_run(self._input.job, options.run_dir)
        except AnotherRun as error:
            end = None if options.termination_file is None else repeat_end(self._input.job, options.run_dir, options.termination_file)
            if end is None:
                raise Refused(str(error)) from None
            return end.exit_code
        stopped = self._watch_signals()
        try:
            service, resumed, initial = self._build()
        except OSError as error:
            raise _Unwritable(f"{options.run_dir} cannot be written: {error}") from error
        self._service = service
        try:
            return await self._serve(service, resumed, initial, stopped)
        finally:
            service.stop()

    def leave(self, exit_code: int) -> int:
        """Return the exit code, or end the process here and now if a tracker would keep it: all that counts is on the disk."""
        if self._trackers.stuck:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)
        return exit_code

    async def _serve(self, service: Service, resumed: Stored | None, initial: Upload | None, stopped: asyncio.Future[None]) -> int:
        exposition = Exposition(service, self._input.job.name, tls=self._certificate is not None, trackers=self._trackers)
        server, metrics = await self._listen(service, exposition)
        try:
            try:
                self._announce(service, resumed, server, metrics)
            except OSError as error:
                raise _Unwritable(f"{self._options.run_dir} cannot be written: {error}") from error
            service.start(resumed, initial)
            self._tell_supervisor(JobInput(self._input.job), self._input)
            watcher = asyncio.create_task(self._watch_files(server))
            beat = asyncio.create_task(self._tick())
            ends: set[asyncio.Future[Any]] = {service.done, stopped}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(self._trackers.close, END_SECONDS if service.done.done() else INTERRUPTED_SECONDS)
            if service.done.done():
                await self._settle_metrics(service, exposition, stopped)
            watcher.cancel()
            beat.cancel()
        finally:
            await server.close()
            await metrics.close()
        if service.done.done():
            return service.done.result()
        log_event("terminated", version=service.engine.version, message="the state on disk is the last closed round")
        return EXIT_TERMINATED

    async def _settle_metrics(self, service: Service, exposition: Exposition, stopped: asyncio.Future[None]) -> None:
        if self._options.pushgateway:
            metadata = self._input.job.metadata
            namespace = self._options.namespace or metadata.namespace or "local"
            await push(self._options.pushgateway, exposition.outcome(), namespace=namespace, job=metadata.name)
        await await_last_scrape(service, stopped)

    def _build(self) -> tuple[Service, Stored | None, Upload | None]:
        options, job = self._options, self._input.job
        versions = Versions(options.run_dir / VERSIONS, job.spec.coordinator.checkpoint.keep)
        resumed = versions.newest()
        initial = open_initial(job.spec.task.initial_weights) if resumed is None and job.spec.task.initial_weights else None
        journal = Journal(options.run_dir, options.events_fd)
        meter = Meter(journal.past)
        journal.watcher = meter.take
        write_atomically(options.run_dir / JOB, dump_job(job))
        started = next((event for event in journal.past if event["event"] == "run_started"), None)
        run_id = started["run_id"] if started is not None else secrets.token_hex(8)
        journal.on_round = self._trackers.log_round
        spec = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._trackers.on_run_start(RunInfo(job.name, run_id, journal.resume, spec, options.run_dir.absolute()))
        loop_now = asyncio.get_running_loop().time()
        engine = Engine(
            job.spec,
            run_id,
            loop_now,
            saved=None if resumed is None else Saved.from_json(resumed.state),
            active_seconds=active_seconds(journal.past),
            lost_seconds=lost_seconds(journal.past),
        )
        if started is None:
            journal.append(
                "run_started",
                {
                    "run_id": run_id,
                    "job": job.name,
                    "version": 0,
                    **engine.size,
                    "seed": job.spec.seed,
                },
            )
        else:
            if resumed is not None:
                complete_the_log(journal, resumed)
            journal.append("coordinator_resumed", {"round": engine.current_round + 1, "version": engine.version})
            if engine.size != last_size(journal.past):
                journal.append("spec_changed", engine.size)
        spool = Spool(options.run_dir / SPOOL)
        service = Service(
            engine,
            versions,
            journal,
            spool,
            Ending(options.run_dir, journal, options.termination_file, self._trackers),
            meter,
            Scrapes(monitored=options.metrics_monitored),
            uid=self._input.uid,
            attempt=options.attempt,
        )
        service.generation = self._input.generation
        return service, resumed, initial

    async def _listen(self, service: Service, exposition: Exposition) -> tuple[Server, Server]:
        options = self._options
        tls = None if self._certificate is None else self._certificate.context
        server = Server(options.host, options.port, Control(service, self._token), tls=tls)
        routes = {"/metrics": exposition.page, "/progress": self._progress, "/healthz": self._healthz, "/readyz": self._readyz}
        metrics = Server(options.host, options.metrics_port, routes=routes)
        for each, flag, port in ((server, "--port", options.port), (metrics, "--metrics-port", options.metrics_port)):
            try:
                await each.start()
            except OSError as error:
                await server.close()
                await metrics.close()
                why = "in use; choose another one, or 0 for any free port" if error.errno == errno.EADDRINUSE else error.strerror
                raise Refused(f"{flag}: {options.host}:{port} is {why}") from None
        return server, metrics

    def _announce(self, service: Service, resumed: Stored | None, server: Server, metrics: Server) -> None:
        version = resumed.version if resumed else None
        log_event("sums", float32="numpy" if kernels is None else "compiled")
        service.journal.append("listening", {"url": server.url, "metrics": metrics.url, "version": version})

    async def _tick(self) -> None:
        while True:
            self._ticked = time.monotonic()
            await asyncio.sleep(1.0)

    async def _watch_files(self, server: Server) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._certificate is not None and self._certificate.renewed():
                server.tls = self._certificate.context
            self._look_at_job_file()

    def _look_at_job_file(self) -> None:
        now = stamp(self._options.job)
        if now == self._seen:
            return
        self._seen = now
        try:
            new = self._read_input()
        except (InvalidJob, OSError, ValueError) as error:
            log_event("job_file_ignored", error=str(error))
            return
        before, self._input = self._input, new
        self._tell_supervisor(before, new)

    def _tell_supervisor(self, before: JobInput, after: JobInput) -> None:
        assert self._service is not None
        self._service.generation = after.generation
        for event in changes(before, after):
            self._service.handle(event)

    def _read_input(self) -> JobInput:
        return read_job_input(self._options.job)

    def _watch_signals(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()

        def stop() -> None:
            if not stopped.done():
                stopped.set_result(None)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        lifeline = self._options.lifeline_fd
        if lifeline is not None:

            def read_lifeline() -> None:
                if not os.read(lifeline, 64):
                    loop.remove_reader(lifeline)
                    stop()

            loop.add_reader(lifeline, read_lifeline)
        return stopped

    async def _progress(self, _headers: Mapping[str, str]) -> Page:
        assert self._service is not None
        return Page("application/json", self._service.progress().model_dump_json(by_alias=True).encode())

    async def _healthz(self, _headers: Mapping[str, str]) -> Page:
        alive = time.monotonic() - self._ticked < 30
        return Page("text/plain", b"ok\n") if alive else Page("text/plain", b"the loop has not turned for 30 s\n", 503)

    async def _readyz(self, _headers: Mapping[str, str]) -> Page:
        return Page("text/plain", b"ok\n")
