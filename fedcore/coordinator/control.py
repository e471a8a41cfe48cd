"""What the server asks, put to the service: calls of the wire become events of the engine, bodies become uploads."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from fedcore.aggregation import Checked, Rejected, out_of_range
from fedcore.coordinator.app import Announced, BodyRefused, Refusal, WeightsFile
from fedcore.coordinator.spool import Upload
from fedcore.coordinator.uploads import Receiving, Sink, no_room
from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.reasons import Rejection, Result
from fedcore.wire.protocol import (
    INLINE_LIMIT_BYTES,
    REPORT_HEADER,
    SUM64_HEADER,
    FaultCode,
    Hello,
    Message,
    SubmitReply,
    UpdateReport,
    UploadReply,
    to_struct,
)
from fedcore.wire.xmlrpc import RpcFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore.coordinator.app import UploadSink, Waiting
    from fedcore.coordinator.service import Service

__all__ = ["Control"]

_HEADER_ALLOWANCE = 2**20
"""How much longer than the base an upload may be: writers of safetensors lay out headers differently."""
_INITIAL_LIMIT_BYTES = 64 * 2**30
_STATUS = {Result.ACCEPTED: 201, Result.DUPLICATE: 409, Result.STALE: 409, Result.REJECTED: 422}
NOTHING_ANNOUNCED = Announced()
SUM64 = re.compile("[0-9A-Fa-f]{16}")

Parsed = TypeVar("Parsed", bound=Message)


class Control:
    """The application behind the server (`fedcore.coordinator.app.App`).

    Parameters
    ----------
    service : Service
        Owns the engine.
    token : str
        The join token; empty admits every worker.
    """

    def __init__(self, service: Service, token: str) -> None:
        self._service = service
        self._token = token

    def check_token(self, token: str) -> bool:
        """Compare a join token, in constant time."""
        return not self._token or hmac.compare_digest(token.encode(), self._token.encode())

    def authenticate(self, session: str) -> bool:
        """Say whether a session exists."""
        return not isinstance(self._service.engine.members.find(session), ef.Fault)

    def heard(self, session: str) -> None:
        """Note a sign of life while a body is on its way."""
        self._service.handle(ev.Heard(session))

    def sent(self, size_bytes: int) -> None:
        """Count body bytes of weights."""
        self._service.bytes_sent += size_bytes

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._service.meter.refused(reason)

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count an answer."""
        self._service.meter.answered(method, code, seconds)

    async def rpc(self, method: str, params: list[Any], waiting: Waiting) -> Any:
        """Answer a call."""
        match method, params:
            case "fedcore.register", [hello]:
                parsed = _parse(Hello, hello)
                return await self._ask(lambda ticket: ev.Registered(ticket, parsed, secrets.token_urlsafe(24)), waiting)
            case "fedcore.next_task", [str(session), int() | float() as wait]:
                return await self._ask(lambda ticket: ev.TaskAsked(session, ticket, float(wait)), waiting)
            case "fedcore.heartbeat", [str(session), int(number), int() | float() as done, int() | float() as wait]:
                return await self._ask(lambda ticket: ev.HeartbeatReceived(session, ticket, number, float(done), float(wait)), waiting)
            case "fedcore.submit", [str(session), int(number), dict(update)]:
                return await self._submit(session, number, dict(update), waiting)
            case "fedcore.weights", [str(session), int(version)]:
                return self._inline_weights(session, version)
            case "fedcore.leave", [str(session), str(reason)]:
                return await self._ask(lambda ticket: ev.Left(session, ticket, reason[:512]), waiting)
            case "fedcore.status", [str(session)]:
                self._require(session)
                return to_struct(self._service.progress())
            case _:
                raise RpcFault(FaultCode.BAD_REQUEST, f"{method} does not take these parameters; system.methodHelp says which")

    async def upload(
        self, session: str, round_number: int, base: str, length: int, announced: Announced = NOTHING_ANNOUNCED
    ) -> UploadSink | Refusal:
        """Decide on a body before it is read."""
        service = self._service
        try:
            report = _parse_json(UpdateReport, announced.report.encode("latin-1")) if announced.report else None
        except RpcFault as fault:
            return Refusal(400, UploadReply(result=FaultCode(fault.code).name.lower(), reason=f"{REPORT_HEADER}: {fault.message}"))
        if announced.sum64 and not SUM64.fullmatch(announced.sum64):
            return Refusal(400, UploadReply(result="bad_request", reason=f"{SUM64_HEADER}: 16 hex digits are expected"))
        answer = await service.call(lambda ticket: ev.UploadOffered(session, ticket, round_number, base, length))
        if isinstance(answer, ef.Fault):
            return Refusal(401, UploadReply(result=answer.code.name.lower(), reason=answer.message))
        assert isinstance(answer, ef.UploadAnswer)
        if answer.result != Result.ACCEPTED:
            return Refusal(409, UploadReply(result=answer.result, reason=answer.reason))
        known = service.collector.base
        layout = None if round_number == 0 or known is None else known.layout
        limit = _INITIAL_LIMIT_BYTES if layout is None else layout.file_bytes + _HEADER_ALLOWANCE
        if length > limit:
            return self._reject(
                session, round_number, Rejected(Rejection.LENGTH, f"{length} bytes, at most {limit} make sense"), 0, status=413
            )
        try:
            receiving = Receiving(service.spool.take(length), layout, length)
        except OSError as error:
            return no_room(error)
        service.uploads_in_flight += 1
        return Sink(self, session, round_number, receiving, report, announced.sum64.lower())

    async def weights(self, session: str, version: int) -> WeightsFile | Refusal:
        """Return the file of a version."""
        self._service.handle(ev.Heard(session))
        path = self._service.versions.path(version)
        if not path.is_file():
            return Refusal(404, UploadReply(result="not_found", reason=f"version {version} is not kept"))
        return WeightsFile(path, f"v{version}")

    async def receive(
        self, session: str, round_number: int, receiving: Receiving, report: UpdateReport | None, sum64: str
    ) -> tuple[int, UploadReply]:
        """Hold a body that has come whole, or refuse it; with its report, count it."""
        service, size_bytes = self._service, receiving.size_bytes
        service.uploads_in_flight -= 1
        service.bytes_received += size_bytes
        verdict = receiving.verdict()
        if isinstance(verdict, Rejected):
            service.spool.give_back(receiving.file)
            refusal = self._reject(session, round_number, verdict, size_bytes)
            return refusal.status, refusal.reply
        assert isinstance(verdict, Checked)
        upload = Upload(secrets.token_urlsafe(12), session, round_number, receiving.file, verdict, size_bytes, service.now())
        service.uploads.hold(upload)
        came = UploadReply(upload=upload.id, bytes=size_bytes, sum64=sum64 or None)
        if report is None:
            return 201, came
        try:
            answer = await self._report(session, round_number, report.model_copy(update={"upload": upload.id}))
        except RpcFault as fault:
            return 401, UploadReply(result=FaultCode(fault.code).name.lower(), reason=fault.message)
        counted = came.model_copy(update={"upload": "", "result": answer["result"], "reason": answer.get("reason", "")})
        return _STATUS[Result(counted.result)], counted

    def abandon(self, session: str, round_number: int, receiving: Receiving, reason: str) -> None:
        """Forget a body that did not come whole, or was refused on the way."""
        self._service.uploads_in_flight -= 1
        self._service.bytes_received += receiving.received
        self._service.spool.give_back(receiving.file, discard_bytes=receiving.spool_full)
        if reason == "refused" and receiving.rejected is not None:
            self._reject(session, round_number, receiving.rejected, receiving.received)

    async def _ask(self, event: Any, waiting: Waiting) -> dict[str, Any]:
        reply = await self._service.call(event, waiting)
        match reply:
            case ef.Fault(code, message):
                raise RpcFault(code, message)
            case Message():
                return reply.to_wire()
            case _:
                return {}

    async def _submit(self, session: str, round_number: int, update: dict[str, Any], waiting: Waiting) -> dict[str, Any]:
        weights = update.pop("weights", None)
        report = _parse(UpdateReport, update)
        if weights is not None:
            if not isinstance(weights, bytes):
                raise RpcFault(FaultCode.BAD_REQUEST, "weights: base64 of a safetensors file is expected")
            with waiting():
                status, reply = await self._take_inline(session, round_number, report.base, weights)
            if status != 201:
                return SubmitReply(result=reply.result, reason=reply.reason).to_wire()
            report = report.model_copy(update={"upload": reply.upload})
        return await self._report(session, round_number, report, waiting)

    async def _report(
        self, session: str, round_number: int, report: UpdateReport, waiting: Waiting = contextlib.nullcontext
    ) -> dict[str, Any]:
        upload = self._service.uploads.find(session, report.upload, round_number) if report.upload else None
        rejection, detail = self._judge(report, upload, round_number)
        size = 0 if upload is None else upload.size_bytes
        received_at = None if upload is None else upload.received_at
        arguments = (round_number, report, size, rejection, detail, received_at)
        return await self._ask(lambda ticket: ev.Submitted(session, ticket, *arguments), waiting)

    def _judge(self, report: UpdateReport, upload: Upload | None, round_number: int) -> tuple[Rejection | None, str]:
        """Return what the checks that need both body and report say."""
        base = self._service.collector.base
        if not report.upload or (round_number == 0 and upload is not None):
            return None, ""
        if upload is None:
            return Rejection.LENGTH, "no such upload is held; send it again"
        if base is None or not report.samples >= 1:
            return Rejection.SAMPLES, f"{report.samples} samples"
        try:
            detail = out_of_range(upload.checked, base.grid, report.samples)
        except ValueError as error:
            return Rejection.SAMPLES, str(error)
        return (None, "") if detail is None else (Rejection.OUT_OF_RANGE, detail)

    async def _take_inline(self, session: str, round_number: int, base: str, body: bytes) -> tuple[int, UploadReply]:
        taken = await self.upload(session, round_number, base, len(body))
        if isinstance(taken, Refusal):
            if taken.status == 401:
                self._require(session)
            return taken.status, taken.reply
        writing = asyncio.get_running_loop().run_in_executor(None, taken.write, memoryview(body))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # the caller has gone; the file may be used again only when nobody writes into it any more
            writing.add_done_callback(lambda done: taken.discard("incomplete" if done.exception() is None else "refused"))
            raise
        except BodyRefused as refused:
            taken.discard("refused")
            if refused.refusal.status == 503:
                raise RpcFault(FaultCode.BUSY, refused.refusal.reply.reason) from None
            return refused.refusal.status, refused.refusal.reply
        return await taken.finish("")

    def _inline_weights(self, session: str, version: int) -> bytes:
        self._require(session)
        path = self._service.versions.path(version)
        try:
            size = path.stat().st_size
            if size > INLINE_LIMIT_BYTES:
                raise RpcFault(FaultCode.TOO_LARGE, f"{size} bytes are too many for base64; GET /v1/weights/{version}")
            body = path.read_bytes()
        except FileNotFoundError:
            raise RpcFault(FaultCode.BAD_REQUEST, f"version {version} is not kept") from None
        self._service.bytes_sent += size
        return body

    def _require(self, session: str) -> None:
        found = self._service.engine.members.find(session)
        if isinstance(found, ef.Fault):
            raise RpcFault(found.code, found.message)
        self._service.handle(ev.Heard(session))

    def _reject(self, session: str, round_number: int, rejected: Rejected, size_bytes: int, *, status: int = 422) -> Refusal:
        self._service.handle(ev.UploadRefused(session, round_number, rejected.reason, rejected.detail, size_bytes))
        return Refusal(status, UploadReply(result=str(Result.REJECTED), reason=f"{rejected.reason}: {rejected.detail}"))


def _parse(model: type[Parsed], struct: Any) -> Parsed:
    return _parsed(model.model_validate, struct)


def _parse_json(model: type[Parsed], text: bytes) -> Parsed:
    return _parsed(model.model_validate_json, text)


def _parsed(validate: Callable[[Any], Parsed], given: Any) -> Parsed:
    try:
        return validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the struct"
        raise RpcFault(FaultCode.BAD_REQUEST, f"{place}: {first['msg']}") from None
