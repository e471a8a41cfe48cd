"""A worker's standing with the coordinator: registration, retries, and what each refusal means.

Whatever may heal is tried again with growing, jittered waits, until nothing has answered for `Options.unreachable_seconds`. What does
not heal raises `Ended`. A session that the coordinator does not know (it was restarted) raises `SessionLost`: whoever called has to
`renew` and to ask what there is to do, since the new session was told nothing yet.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential
from tenacity.nap import sleep_using_event

from fedcore import __version__
from fedcore.log import log_event
from fedcore.wire.checksum import sum64
from fedcore.wire.methods import method_label
from fedcore.wire.protocol import (
    MAX_WAIT_SECONDS,
    PROTOCOL,
    REPORT_HEADER,
    SUM64_HEADER,
    Base,
    FaultCode,
    HeartbeatReply,
    Hello,
    SubmitReply,
    Task,
    TaskKind,
    UpdateReport,
    UploadReply,
    Welcome,
)
from fedcore.wire.xmlrpc import RpcFault
from fedcore.worker.client import Client, Download, HttpRefused, Transient, Uploaded
from fedcore.worker.ending import Ended, Ending, EndWord, after_fault
from fedcore.worker.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore.worker.options import Options
    from fedcore.worker.ready import ReadyFile

__all__ = ["Abilities", "Session", "SessionLost", "WeightsGone"]

T = TypeVar("T")

_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0
_LEAVE_SECONDS = 5.0


class SessionLost(Exception):  # noqa: N818 - a state of the world
    """The coordinator does not know the session ``stale``."""

    def __init__(self, stale: str) -> None:
        super().__init__("the coordinator does not know this session")
        self.stale = stale


class WeightsGone(Exception):  # noqa: N818 - a state of the world
    """The version asked for is no longer there: its round is over."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a worker can do, known once its task is made."""

    samples: int = 0
    eval_samples: int = 0
    tasks: frozenset[TaskKind] = frozenset({TaskKind.INIT, TaskKind.TRAIN})


class Session:
    """Calls under one session at a time; usable from several threads.

    Parameters
    ----------
    options : Options
        Who this worker is, and for how long it looks for its coordinator.
    client : Client
        The wire.
    stopping : threading.Event
        Ends every wait for a coordinator that does not answer.
    ready : ReadyFile
        Kept while there is a session.
    observer : Observer, optional
        Told whether there is a session.
    """

    def __init__(
        self, options: Options, client: Client, stopping: threading.Event, ready: ReadyFile, observer: Observer | None = None
    ) -> None:
        self._observer = observer or Observer()
        self._options = options
        self._client = client
        self._stopping = stopping
        self._ready = ready
        self._instance = uuid.uuid4().hex
        self._abilities = Abilities()
        self._welcome: Welcome | None = None
        self._renewing = threading.Lock()
        self._heard_at = time.monotonic()
        self._retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=_wait_seconds,
            stop=lambda _state: self._stopping.is_set() or self._silent_seconds() > self._options.unreachable_seconds,
            sleep=sleep_using_event(self._stopping),
            before_sleep=self._note,
            reraise=True,
        )

    @property
    def welcome(self) -> Welcome:
        """The answer to the last registration."""
        assert self._welcome is not None, "register first"
        return self._welcome

    @property
    def id(self) -> str:
        """The session's secret."""
        return self.welcome.session

    # -- standing ---------------------------------------------------------------------------------------------------------------------

    def register(self, abilities: Abilities) -> Welcome:
        """Register, or register again with other abilities."""
        with self._renewing:
            self._abilities = abilities
            return self._register()

    def renew(self, stale: str) -> None:
        """Register again, unless another thread has done so since."""
        with self._renewing:
            if self.id == stale:
                log_event("session_lost", run_id=self.welcome.run_id)
                self._register()

    def leave(self, reason: str) -> None:
        """Tell the coordinator that this worker goes, if it can be told quickly."""
        if self._welcome is None:
            return
        self._observer.connected(holds=False)
        try:
            self._client.call("fedcore.leave", (self.id, reason), answer_seconds=_LEAVE_SECONDS)
        except (Transient, HttpRefused, RpcFault) as error:
            log_event("leave_unheard", error=str(error))

    def disconnect(self) -> None:
        """Close this thread's connection."""
        self._client.disconnect()

    # -- calls ------------------------------------------------------------------------------------------------------------------------

    def next_task(self) -> Task:
        """Wait for something to do, for at most one heartbeat interval."""
        wait = self._wait_seconds()
        return Task.model_validate(self._call("fedcore.next_task", wait, wait_seconds=wait, interruptible=True))

    def heartbeat(self, round_number: int, done: float, *, parked: bool) -> HeartbeatReply:
        """Give a sign of life while busy; parked, the answer comes when the round is over or the interval has passed."""
        wait = self._wait_seconds() if parked else 0.0
        return HeartbeatReply.model_validate(self._call("fedcore.heartbeat", round_number, done, wait, wait_seconds=wait))

    def sign_of_life(self) -> None:
        """Be heard, without speaking of any round."""
        self._call("fedcore.status")

    def submit(self, round_number: int, report: UpdateReport) -> SubmitReply:
        """Report an update, an evaluation, or that there is none."""
        return SubmitReply.model_validate(self._call("fedcore.submit", round_number, report.to_wire()))

    def download(self, base: Base, room: bytearray | None = None) -> bytearray:
        """Fetch a version of the model, into ``room`` if it has the right size.

        Raises
        ------
        WeightsGone
            There is no such version any more.
        """
        into = Download(room if room is not None and len(room) == base.bytes else bytearray(base.bytes))
        session = self.id
        try:
            self._persist("get_weights", lambda: self._client.download(base, session, into))
        except HttpRefused as refused:
            if refused.status in {404, 410}:
                raise WeightsGone from refused
            raise self._refused(refused, session) from refused
        return into.buffer

    def upload(self, round_number: int, base_id: str, body: memoryview, report: UpdateReport) -> UploadReply:
        """Send an update's file with its report. ``upload`` in the answer says that the report was not looked at and is to be submitted."""
        session = self.id
        checksum, said = sum64(body), report.to_header()
        announced = {SUM64_HEADER: checksum, **({REPORT_HEADER: said} if said else {})}

        def attempt() -> Uploaded:
            uploaded = self._client.upload(round_number, base_id, body, session, announced)
            if uploaded.reply.upload and uploaded.reply.sum64 not in {None, checksum}:
                raise Transient("the upload arrived with another checksum", heard=True)
            return uploaded

        try:
            return self._persist("put_upload", attempt).reply
        except HttpRefused as refused:
            raise self._refused(refused, session) from refused

    # -- persistence ------------------------------------------------------------------------------------------------------------------

    def _wait_seconds(self) -> float:
        return min(self.welcome.heartbeat_seconds, MAX_WAIT_SECONDS)

    def _register(self) -> Welcome:
        hello = self._hello()

        def attempt() -> Welcome:
            try:
                return Welcome.model_validate(self._client.call("fedcore.register", (hello.to_wire(),)))
            except ValidationError as error:
                raise HttpRefused(200, f"the coordinator's welcome is not understood: {error.errors()[0]['msg']}") from error

        try:
            self._welcome = self._persist("register", attempt)
        except RpcFault as fault:
            raise Ended(after_fault(fault.code, fault.message)) from fault
        except HttpRefused as refused:
            raise self._refused(refused, "") from refused
        self._ready.seen()
        self._observer.connected(holds=True)
        return self._welcome

    def _hello(self) -> Hello:
        options = self._options
        token = ""
        if options.token_file is not None:
            try:
                token = options.token_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise Ended(Ending(2, EndWord.INVALID, f"the token cannot be read: {error}")) from error
        try:
            return Hello(
                protocol=PROTOCOL,
                name=options.display_name,
                index=options.index if self._welcome is None else self._welcome.index,
                attempt=options.attempt,
                instance=self._instance,
                samples=self._abilities.samples,
                eval_samples=self._abilities.eval_samples,
                client=f"fedcore/{__version__}",
                token=token,
                tasks=self._abilities.tasks,
            )
        except ValidationError as error:
            problem = error.errors()[0]
            raise Ended(Ending(2, EndWord.INVALID, f"{problem['loc'][0]}: {problem['msg']}, got {problem['input']!r}")) from error

    def _call(self, method: str, *params: Any, wait_seconds: float = 0.0, interruptible: bool = False) -> Any:
        session = self.id
        try:
            answer = self._persist(
                method_label(method),
                lambda: self._client.call(method, (session, *params), wait_seconds=wait_seconds, interruptible=interruptible),
            )
        except RpcFault as fault:
            if fault.code == FaultCode.UNKNOWN_SESSION:
                raise self._lost(session) from fault
            raise Ended(after_fault(fault.code, fault.message)) from fault
        except HttpRefused as refused:
            raise self._refused(refused, session) from refused
        self._ready.seen()
        return answer

    def _refused(self, refused: HttpRefused, session: str) -> SessionLost | Ended:
        if refused.status == 401 and session:
            return self._lost(session)
        if refused.status in {401, 403}:
            return Ended(Ending(2, EndWord.UNAUTHORIZED, str(refused)))
        return Ended(Ending(2, EndWord.INVALID, f"{self._options.coordinator} does not answer as a coordinator: {refused}"))

    def _lost(self, session: str) -> SessionLost:
        self._observer.connected(holds=False)
        return SessionLost(session)

    def _persist(self, method: str, attempt: Callable[[], T]) -> T:
        """Call until there is an answer; ``method`` is its name in the metrics.

        Raises
        ------
        Ended
            Nothing has answered for too long, or the worker is to stop.
        """

        def once() -> T:
            try:
                answer = attempt()
            except Transient as error:
                if error.heard:
                    self._heard_at = time.monotonic()
                self._observer.attempted(method, "retry")
                raise
            except HttpRefused:
                self._observer.attempted(method, "failed")
                raise
            except RpcFault as fault:
                self._heard_at = time.monotonic()
                busy = fault.code == FaultCode.BUSY
                self._observer.attempted(method, "retry" if busy else "failed")
                if busy:
                    raise Transient(fault.message, heard=True) from fault
                raise
            self._heard_at = time.monotonic()
            self._observer.attempted(method, "ok")
            return answer

        try:
            return self._retrying(once)
        except Transient as error:
            if self._stopping.is_set():
                raise Ended(Ending(0, EndWord.LEFT, "asked to stop")) from error
            message = f"no answer from {self._options.coordinator} for {self._silent_seconds():.0f} s: {error}"
            raise Ended(Ending(4, EndWord.UNREACHABLE, message)) from error

    def _silent_seconds(self) -> float:
        return time.monotonic() - self._heard_at

    def _note(self, state: RetryCallState) -> None:
        self._ready.check()
        if state.attempt_number.bit_count() == 1:  # 1, 2, 4, 8...: an outage of minutes is a handful of lines
            error = state.outcome.exception() if state.outcome is not None else None
            log_event("coordinator_unreachable", error=str(error), attempts=state.attempt_number, silent_s=round(self._silent_seconds(), 1))


_JITTER = wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS)


def _wait_seconds(state: RetryCallState) -> float:
    """Full jitter between 0 and a bound that doubles; beyond what the coordinator asked for, if it did."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after_seconds if isinstance(error, Transient) else 0.0
    return asked + _JITTER(state)
