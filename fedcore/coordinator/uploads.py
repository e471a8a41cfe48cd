"""Uploads between their first byte and their report: checked while they are spooled, held until counted or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.aggregation import Rejected, UpdateCheck
from fedcore.coordinator.app import BodyRefused, Refusal
from fedcore.engine.reasons import Result
from fedcore.wire.protocol import UploadReply

if TYPE_CHECKING:
    from fedcore.aggregation import Checked, Layout
    from fedcore.coordinator.control import Control
    from fedcore.coordinator.spool import Spool, Spooled, Upload
    from fedcore.wire.protocol import UpdateReport

__all__ = ["Receiving", "Sink", "Uploads", "no_room"]

_BUSY_SECONDS = 2


class Receiving:
    """A body on its way in. Fed from a pool thread, one piece at a time."""

    def __init__(self, file: Spooled, base: Layout | None, size_bytes: int) -> None:
        self.file = file
        self.size_bytes = size_bytes
        self.received = 0
        self.rejected: Rejected | None = None
        self.spool_full = False
        self._check = UpdateCheck(base, size_bytes=size_bytes)

    def feed(self, piece: memoryview) -> Rejected | None:
        """Check and spool a piece; once the body is refused, the rest need not be read.

        Raises
        ------
        OSError
            The spool is full.
        """
        self.received += piece.nbytes
        self.rejected = self._check.feed(piece)
        if self.rejected is None:
            try:
                self.file.write(piece)
            except OSError:
                self.spool_full = True
                raise
        return self.rejected

    def verdict(self) -> Checked | Rejected:
        """Return what the checks say of the whole body."""
        return self.rejected or self._check.finish()


class Uploads:
    """Bodies that wait for their report, at most one per session."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._by_session: dict[str, Upload] = {}

    def hold(self, upload: Upload) -> None:
        """Keep a checked body until it is reported; one that the session sent before and never reported is dropped."""
        self.drop(upload.session)
        self._by_session[upload.session] = upload

    def find(self, session: str, upload_id: str, round_number: int) -> Upload | None:
        """Return a held body, if this session sent it for this round: its checks were made against that round's base."""
        held = self._by_session.get(session)
        return held if held is not None and (held.id, held.round) == (upload_id, round_number) else None

    def by_id(self, upload_id: str) -> Upload | None:
        """Return and release a held body by its id, which only the engine and its sender know."""
        for session, upload in self._by_session.items():
            if upload.id == upload_id:
                return self._by_session.pop(session)
        return None

    def drop(self, session: str) -> None:
        """Forget what a session holds."""
        held = self._by_session.pop(session, None)
        if held is not None:
            self.spool.give_back(held.file)

    def drop_older(self, round_number: int) -> None:
        """Forget bodies for rounds before this one: nobody will report them."""
        for session in [s for s, upload in self._by_session.items() if upload.round < round_number]:
            self.drop(session)


class Sink:
    """One body on its way from a pool thread into the spool: the server's `UploadSink`."""

    def __init__(
        self, control: Control, session: str, round_number: int, receiving: Receiving, report: UpdateReport | None, sum64: str
    ) -> None:
        self._control = control
        self._session = session
        self._round = round_number
        self._receiving = receiving
        self._report = report
        self._sum64 = sum64

    def room(self, size: int) -> memoryview | None:
        """Return where in the spool the next bytes are best received."""
        return self._receiving.file.room(size)

    def write(self, piece: memoryview) -> None:
        """Check and spool a piece."""
        try:
            rejected = self._receiving.feed(piece)
        except OSError as error:
            raise BodyRefused(no_room(error)) from error
        if rejected is not None:
            reply = UploadReply(result=str(Result.REJECTED), reason=f"{rejected.reason}: {rejected.detail}")
            raise BodyRefused(Refusal(422, reply))

    async def finish(self, sum64: str) -> tuple[int, UploadReply]:
        """Answer a whole body."""
        if self._sum64 and sum64 and sum64 != self._sum64:
            self.discard("damaged")
            self._control.refused("damaged")
            return 503, UploadReply(result="busy", reason=f"the body came with the checksum {sum64}, not {self._sum64}; send it again")
        return await self._control.receive(self._session, self._round, self._receiving, self._report, sum64)

    def discard(self, reason: str) -> None:
        """Forget the body."""
        self._control.abandon(self._session, self._round, self._receiving, reason)


def no_room(error: OSError) -> Refusal:
    """Return the answer to who has to come again when there is space."""
    return Refusal(503, UploadReply(result="busy", reason=f"no room to spool: {error}"), retry_after_seconds=_BUSY_SECONDS)
