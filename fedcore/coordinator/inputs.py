"""What a coordinator reads before it starts, apart from the job file; what cannot be used is refused by flag or field, and file."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fedcore.aggregation import Rejected, check_file
from fedcore.coordinator.spool import SpoolFile, Upload
from fedcore.report.trackers import Trackers, UnusableTracker, find_trackers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcore.coordinator.tls import Certificate

__all__ = ["Refused", "open_initial", "read_certificate", "read_token", "read_trackers"]


class Refused(Exception):  # noqa: N818 - an answer to the user
    """The coordinator cannot start; the message says why and what to do."""


def read_certificate(certificate: Path | None, key: Path | None) -> Certificate | None:
    """Read what to serve under; None for plain text. All of these raise `Refused`."""
    if certificate is None or key is None:
        return None
    from fedcore.coordinator.tls import BadCertificate, Certificate  # what it needs of `cryptography` takes a tenth of a second to import

    try:
        return Certificate(certificate, key)
    except BadCertificate as error:
        raise Refused(str(error)) from None


def read_token(path: Path | None) -> str:
    """Read what workers have to show; an empty string if they need not."""
    if path is None:
        return ""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Refused(f"--token-file: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused(f"--token-file: {path} is no text") from None
    if not token:
        raise Refused(f"--token-file: {path} is empty, which would admit everybody; leave the option out if that is wanted")
    return token


def open_initial(path: str) -> Upload:
    """Open and check the job's own first weights."""
    place = "spec.task.initialWeights"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{place}: {path}: {error.strerror}") from None
    with ExitStack() as refused:
        refused.callback(os.close, descriptor)
        try:
            size = os.fstat(descriptor).st_size
            checked = check_file(lambda offset, buffer: os.preadv(descriptor, [buffer], offset), size)
        except OSError as error:
            raise Refused(f"{place}: {path}: {error.strerror}") from None
        if isinstance(checked, Rejected):
            raise Refused(f"{place}: {path} cannot be used: {checked.reason}: {checked.detail}")
        refused.pop_all()
    return Upload("initial", "", 0, SpoolFile(descriptor, size), checked, size, 0.0)


def read_trackers(names: Sequence[str]) -> Trackers:
    """Return the trackers that were named, none of them told anything yet.

    Raises
    ------
    Refused
        One cannot be used.
    """
    try:
        return Trackers(find_trackers(names))
    except UnusableTracker as error:
        raise Refused(f"--tracker (or FEDCORE_TRACKERS): {error}") from None
