"""Runs one job on this machine: carries out what the supervisor decides, and shows what happens to whoever watches.

One thread waits for everything at once: events of the coordinator, ends of processes, signals, and the nearest deadline.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, assert_never

from fedcore.engine.reasons import EndReason
from fedcore.engine.restarts import RestartPolicy
from fedcore.local.faults import COORDINATOR, Faults, worker_name
from fedcore.local.interrupts import Interrupts
from fedcore.local.messages import JobFinished, Note, Send, Start, StopAsked, Tell, Tick
from fedcore.local.processes import Process, child_environment, start_process
from fedcore.local.supervisor import Supervisor
from fedcore.local.tail import EventTail
from fedcore.report.rundir import (
    EVENTS,
    JOB_INPUT,
    SUMMARY,
    format_time,
    publish_newest_version,
    read_events,
    rebuild_tables,
    write_json,
)
from fedcore.report.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fedcore.local.faults import Kill
    from fedcore.local.messages import Action
    from fedcore.local.plan import Plan, View
    from fedcore.report.summary import End

__all__ = ["run_job"]

_DRAIN_SECONDS = 5


def run_job(plan: Plan, view: View) -> dict[str, Any]:
    """Run a job until it has ended and no process of it is left; return its summary, which is also in the run directory."""
    runner = _Runner(plan, view)
    try:
        with runner.signals():
            runner.loop()
            return runner.conclude()
    finally:
        runner.close()


class _Runner:
    def __init__(self, plan: Plan, view: View) -> None:
        self._plan = plan
        self._view = view
        spec = plan.job.spec
        backoff = spec.failure_policy.restart_backoff_seconds
        self._supervisor = Supervisor(
            replicas=spec.workers.replicas,
            workers=RestartPolicy(spec.workers.max_restarts_per_worker, backoff),
            coordinator=RestartPolicy(spec.coordinator.max_restarts, backoff),
            non_retryable=frozenset(spec.failure_policy.non_retryable_exit_codes),
            attempts=plan.directory.attempts,
        )
        self._faults = Faults(plan.kills, Random())
        self._slow = {worker_name(slow.index): slow.factor for slow in plan.slows}
        self._tail = EventTail(plan.directory.path)
        self._selector = selectors.DefaultSelector()
        self._signals = Interrupts()
        self._selector.register(self._signals.waiting, selectors.EVENT_READ, self._signals)
        self._processes: dict[str, Process] = {}
        self._lifeline, self._lifeline_writing = os.pipe()
        self._events: int | None = None
        self._generation = 0
        plan.credentials.make_token()
        if plan.tls:
            plan.credentials.make_certificate(plan.job.metadata.name, datetime.now(UTC))
        self._tell((), None)

    def signals(self) -> Interrupts:
        return self._signals

    # -- the loop ---------------------------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        self._perform(self._supervisor.start(time.monotonic()))
        while not self._supervisor.done:
            for key, _ in self._selector.select(self._timeout()):
                match key.data:
                    case Process():
                        self._take_exit(key.data)
                    case Interrupts():
                        for _ in range(self._signals.taken()):
                            self._perform(self._supervisor.handle(StopAsked(), time.monotonic()))
                    case _:
                        self._empty_pipe(key.fd)
            self._take_events()
            now = time.monotonic()
            self._strike(self._faults.tick(now))
            self._perform(self._supervisor.handle(Tick(), now))
            self._view.refresh()

    def _timeout(self) -> float | None:
        deadlines = [d for d in (self._supervisor.next_deadline(), self._faults.next_deadline()) if d is not None]
        waits = [max(0.0, min(deadlines) - time.monotonic())] if deadlines else []
        if self._view.refresh_seconds is not None:
            waits.append(self._view.refresh_seconds)
        return min(waits, default=None)

    def _take_events(self) -> None:
        for event in self._tail.read():
            now = time.monotonic()
            self._strike(self._faults.feed(event, now))
            if event["event"] == "run_finished":
                self._perform(self._supervisor.handle(JobFinished(event.get("linger_s", 0)), now))
            self._view.event(event)

    def _take_exit(self, process: Process) -> None:
        if process.name == COORDINATOR:
            self._take_events()  # whether it has ended the job is the question that its exit is judged by
        self._selector.unregister(process.descriptor)
        del self._processes[process.name]
        exited = process.reap()
        self._perform(self._supervisor.handle(exited, time.monotonic()))

    def _strike(self, kills: Iterable[Kill]) -> None:
        for kill in kills:
            process = self._processes.get(kill.process)
            if process is None:
                self._faults.missed(kill)
                continue
            process.send(signal.SIGKILL)
            self._note("fault", {"kill": kill.process, "round": kill.round})

    def _perform(self, actions: Sequence[Action]) -> None:
        waiting = deque(actions)
        while waiting:
            action = waiting.popleft()
            match action:
                case Start():
                    self._start(action)
                case Send():
                    if action.name in self._processes:
                        self._processes[action.name].send(action.signal)
                case Tell():
                    self._tell(action.gone, action.end)
                case Note():
                    self._note(action.event, action.fields)
                case _:
                    assert_never(action)

    # -- acts -------------------------------------------------------------------------------------------------------------------------

    def _start(self, start: Start) -> None:
        directory = self._plan.directory
        termination = directory.private / f"{start.name}.end"
        own = {"FEDCORE_LIFELINE_FD": str(self._lifeline), "FEDCORE_TERMINATION_FILE": str(termination)}
        own |= {"FEDCORE_ATTEMPT": str(start.attempt), "FEDCORE_LOG_FORMAT": self._plan.log_format}
        descriptors = [self._lifeline]
        if start.name == COORDINATOR:
            arguments = self._plan.coordinator_arguments
            own["FEDCORE_EVENTS_FD"] = str(self._open_events())
            descriptors.append(int(own["FEDCORE_EVENTS_FD"]))
        else:
            arguments = self._plan.worker_arguments(start.name, start.attempt)
            own["FEDCORE_DRAIN_SECONDS"] = str(_DRAIN_SECONDS)
            if self._plan.job_dir is not None:
                own["FEDCORE_JOB_DIR"] = str(self._plan.job_dir)
            if start.name in self._slow:
                own["FEDCORE_SLOW"] = str(self._slow[start.name])
        process = start_process(
            start.name,
            [*arguments, "--token-file", str(self._plan.credentials.token)],
            child_environment(os.environ, own),
            log=directory.logs / f"{start.name}.log",
            termination=termination,
            descriptors=descriptors,
        )
        if start.name == COORDINATOR:
            os.close(descriptors[1])
        self._processes[start.name] = process
        self._selector.register(process.descriptor, selectors.EVENT_READ, process)

    def _open_events(self) -> int:
        """Make the pipe that wakes the loop when the coordinator writes an event, and return its writing end.

        What arrives is thrown away: the lines are read from the file, which has them all. So the pipe may be full, and must not block.
        """
        self._close_events()
        self._events, writing = os.pipe()
        os.set_blocking(self._events, False)
        os.set_blocking(writing, False)
        self._selector.register(self._events, selectors.EVENT_READ)
        return writing

    def _close_events(self) -> None:
        if self._events is not None:
            self._selector.unregister(self._events)
            os.close(self._events)
            self._events = None

    def _empty_pipe(self, descriptor: int) -> None:
        try:
            if not os.read(descriptor, 65536):
                self._close_events()
        except BlockingIOError:
            pass

    def _tell(self, gone: Sequence[int], end: End | None) -> None:
        self._generation += 1
        job = self._plan.job
        value = {
            "apiVersion": job.api_version,
            "kind": job.kind,
            "name": job.metadata.name,
            "namespace": "",
            "uid": "",
            "generation": self._generation,
            "spec": job.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
            "gone": ",".join(str(index) for index in gone),
            "end": None if end is None else {"reason": str(end.reason), "message": end.message},
        }
        with self._noting_failure():
            write_json(self._plan.directory.path / JOB_INPUT, value)

    def _note(self, event: str, fields: Mapping[str, Any]) -> None:
        self._view.event({"time": format_time(datetime.now(UTC)), "event": event, **fields})

    # -- the end ----------------------------------------------------------------------------------------------------------------------

    def conclude(self) -> dict[str, Any]:
        """Write what remains of the run, and return its summary."""
        self._take_events()
        path = self._plan.directory.path
        end = self._supervisor.end
        events = list(read_events(path / EVENTS))
        if end is not None and not any(event["event"] == "run_finished" for event in events):
            if end.reason is EndReason.INTERRUPTED:
                self._note("run_interrupted", {"run_dir": str(path)})
            else:
                events.append(_end_event(end, events[-1] if events else {}))
                self._view.event(events[-1])
                with self._noting_failure():
                    self._tail.append_after((json.dumps(events[-1], ensure_ascii=False) + "\n").encode())
        # The coordinator has done both, unless it was killed on the way; done again they change nothing.
        for complete in (rebuild_tables, publish_newest_version):
            with self._noting_failure():
                complete(path)
        for kill in self._faults.unfired:
            self._note("fault_unfired", {"kill": kill.process, "round": kill.round})
        summary = summarise(
            events,
            run_dir=path,
            job=self._plan.job.metadata.name,
            end=end,
            worker_restarts=self._supervisor.worker_restarts,
            coordinator_restarts=self._supervisor.coordinator_restarts,
        )
        with self._noting_failure():
            write_json(path / SUMMARY, summary)
        return summary

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Go on without a file that cannot be written: a full disk must not hide how the run has ended."""
        try:
            yield
        except OSError as error:
            self._note("run_directory_incomplete", {"error": str(error)})

    def close(self) -> None:
        """End what is left, should the loop have been left by an exception, and close everything."""
        for process in self._processes.values():
            process.send(signal.SIGKILL)
            process.reap()
        self._processes.clear()
        self._close_events()
        os.close(self._lifeline)
        os.close(self._lifeline_writing)
        self._selector.close()
        self._signals.close()


def _end_event(end: End, last: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``run_finished`` for a job whose coordinator cannot say it: its lock is free, so the runner is the one writer now."""
    event = {"time": format_time(datetime.now(UTC)), "seq": last.get("seq", -1) + 1, "resume": last.get("resume", 0)}
    event |= {"event": "run_finished", "phase": str(end.phase), "reason": str(end.reason), "message": end.message}
    return {**event, "exit_code": end.exit_code}
