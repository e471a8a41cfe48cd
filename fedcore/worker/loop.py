"""What a worker does from its start to its end: register, ask for a task, carry it out, deliver, ask again.

The last update is held until a later round's task comes. When the same round is handed out again from the same base, because an answer was
lost or the coordinator was restarted, the held one is delivered; nothing is trained twice.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore.engine.reasons import Result
from fedcore.log import log_event, log_failure
from fedcore.wire.protocol import Task, TaskKind, UpdateReport
from fedcore.worker.client import Client
from fedcore.worker.ending import Ended, Ending, EndWord, after_stop
from fedcore.worker.observer import Observer
from fedcore.worker.orders import Finished, Orders, import_entrypoint
from fedcore.worker.pulse import Busy, Pulse
from fedcore.worker.session import Abilities, Session, SessionLost, WeightsGone
from fedcore.worker.trust import BadCaFile
from fedcore.worker.weights import UnreadableWeights, WeightsFile

if TYPE_CHECKING:
    from fedcore.worker.options import Options
    from fedcore.worker.ready import ReadyFile
    from fedcore.worker.supervision import Supervision

__all__ = ["Worker"]

_GONE_WAIT_SECONDS = 1.0
_SAID_BY_LEAVING = {EndWord.LEFT, EndWord.CRASHED, EndWord.INVALID}
"""Ends of which the coordinator does not know yet: told at once, it need not wait for three missed heartbeats."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The last update. ``key`` is round and base id: it may be counted for nothing else."""

    key: tuple[int, str]
    report: UpdateReport
    file: WeightsFile


class Worker:
    """One worker's life.

    Parameters
    ----------
    options : Options
        What it was told at its start.
    supervision : Supervision
        Asks it to stop.
    ready : ReadyFile
        Kept while it is registered.
    observer : Observer, optional
        Told of all that is done.
    """

    def __init__(self, options: Options, supervision: Supervision, ready: ReadyFile, observer: Observer | None = None) -> None:
        self._observer = observer or Observer()
        self._options = options
        self._stopping = supervision.stopping
        self._client = Client(options.coordinator, options.ca_file, self._observer)
        self._session = Session(options, self._client, supervision.stopping, ready, self._observer)
        self._pulse: Pulse | None = None
        self._held: _Held | None = None
        supervision.on_stop(self._stop_work)
        supervision.on_stop(self._client.interrupt)

    def run(self) -> Ending:
        """Work until the end, and say which it is."""
        try:
            self._work()
        except Ended as ended:
            ending = ended.ending
        except Exception as error:  # noqa: BLE001 - every end has a reason and a termination message
            log_failure("worker_failed", error)
            ending = Ending(1, EndWord.CRASHED, f"{type(error).__name__}: {error}")
        if ending.reason in _SAID_BY_LEAVING:
            self._session.leave(str(ending.reason))
        self._stopping.set()
        self._client.close()
        if self._pulse is not None:
            self._pulse.close()
        return ending

    def leave(self) -> None:
        """Tell the coordinator that this worker goes; for a process that cannot drain."""
        self._session.leave("drain overdue")

    def _work(self) -> None:
        try:
            self._client.prepare()
        except BadCaFile as error:
            raise Ended(Ending(2, EndWord.INVALID, str(error))) from error
        factory = import_entrypoint(self._options)
        # The job's parameters come with the welcome, and the task needs them before its samples can be counted: hence two registrations.
        welcome = self._session.register(Abilities())
        self._pulse = Pulse(self._session)
        with self._pulse.busy(None):
            orders = Orders(factory, welcome, self._options)
        welcome = self._session.register(orders.abilities)
        log_event("registered", index=welcome.index, attempt=self._options.attempt, run_id=welcome.run_id, samples=orders.abilities.samples)
        while not self._stopping.is_set():
            try:
                order = self._session.next_task()
            except SessionLost as lost:
                self._session.renew(lost.stale)
                continue
            try:
                self._carry_out(order, orders, self._pulse)
            except SessionLost:
                # The next poll finds out how things stand: a worker that was scaled away is told so under its old session.
                continue
            except WeightsGone:
                self._stopping.wait(random.uniform(0, _GONE_WAIT_SECONDS))
            except UnreadableWeights as error:
                raise Ended(Ending(1, EndWord.CRASHED, str(error))) from error
        raise Ended(Ending(0, EndWord.LEFT, "asked to stop"))

    def _stop_work(self) -> None:
        if self._pulse is not None:
            self._pulse.stop_work()

    def _carry_out(self, order: Task, orders: Orders, pulse: Pulse) -> None:
        match order.kind:
            case TaskKind.WAIT:
                return
            case TaskKind.STOP:
                raise Ended(after_stop(order.reason))
            case TaskKind.EVALUATE:
                self._evaluate(order, orders, pulse)
            case TaskKind.INIT | TaskKind.TRAIN:
                self._update(order, orders, pulse)

    def _evaluate(self, order: Task, orders: Orders, pulse: Pulse) -> None:
        assert order.base is not None, "an evaluation has a version to measure"
        with pulse.busy(order.round) as busy:
            finished = orders.evaluate(order, WeightsFile(self._session.download(order.base)))
        if not busy.superseded.is_set():
            self._session.submit(order.round, finished.report)

    def _update(self, order: Task, orders: Orders, pulse: Pulse) -> None:
        key = (order.round, order.base.id if order.base is not None else "")
        session = self._session.id
        if self._held is not None and self._held.key == key:
            log_event("resubmit", round=order.round)
        else:
            room = None if self._held is None else self._held.file.free_room()
            self._held = None
            with pulse.busy(order.round) as busy:
                finished = self._make(order, orders, busy, room)
            if self._stopping.is_set():
                return
            if finished is None or busy.superseded.is_set():
                log_event("superseded", round=order.round, done=busy.done)
                if order.kind is TaskKind.TRAIN:
                    self._observer.passed(busy.done * _epochs(order))
                    self._observer.task_ended("superseded")
                self._session.heartbeat(order.round, busy.done, parked=False)
                return
            assert finished.file is not None, "an update has weights"
            self._held = _Held(key, finished.report, finished.file)
            if order.kind is TaskKind.TRAIN:
                self._observer.passed(_epochs(order))
                self._observer.trained(finished.report.seconds, finished.report.train_loss)
                self._observer.task_ended("submitted")
        # After a restart the coordinator has to reopen the round first: the next poll hands it out again when it has.
        if self._session.id == session:
            self._deliver(self._held, pulse)

    def _make(self, order: Task, orders: Orders, busy: Busy, room: bytearray | None) -> Finished | None:
        if order.base is None:
            return orders.initialise(order)
        file = WeightsFile(self._session.download(order.base, room))
        if busy.superseded.is_set():
            return None
        try:
            return orders.train(order, file, busy)
        except Ended:
            self._observer.task_ended("failed")
            raise

    def _deliver(self, held: _Held, pulse: Pulse) -> None:
        round_number, base_id = held.key
        began = time.monotonic()
        with pulse.busy(None):
            uploaded = self._session.upload(round_number, base_id, held.file.body, held.report)
        sent = time.monotonic() - began
        if not uploaded.upload:
            result, reason = uploaded.result or Result.REJECTED, uploaded.reason
        else:
            report = held.report.model_copy(update={"upload": uploaded.upload})
            reply = self._session.submit(round_number, report)
            result, reason = reply.result, reply.reason
        if result == Result.REJECTED:
            self._held = None  # sent again it would be refused again; trained again it may not be
        trained = round(held.report.seconds, 3)
        log_event("update", round=round_number, result=result, reason=reason or None, train_s=trained, upload_s=round(sent, 3))


def _epochs(order: Task) -> float:
    return order.work.epochs if order.work is not None else 1.0
