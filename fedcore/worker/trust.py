"""Whom a worker takes for its coordinator over TLS: the certificates of ``--ca-file``, or the system's."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BadCaFile", "Trust"]

_EXPIRED = 10
_NOT_YET_VALID = 9
_WRONG_NAME = 62, 64
"""Codes of OpenSSL, the same since they exist (``x509_vfy.h``); the ssl module has no names for them."""


class BadCaFile(Exception):  # noqa: N818 - an answer to the user
    """The file cannot be used; the message names the flag, the file and what is wrong with it."""


class Trust:
    """What is trusted, read when it is first needed and, after a certificate was not trusted, again: an authority may have been renewed.

    Parameters
    ----------
    ca_file : Path or None
        PEM; None for what the system trusts.
    """

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for new connections; the server's name is checked.

        Raises
        ------
        BadCaFile
            The file cannot be used.
        """
        with self._lock:
            if self._context is None:
                self._context = self._load()
            return self._context

    def forget(self) -> None:
        """Read the file again for the next connection."""
        with self._lock:
            self._context = None

    def explain(self, error: ssl.SSLCertVerificationError) -> str:
        """Say plainly why a coordinator was not believed."""
        if error.verify_code in _WRONG_NAME:
            what = "is for another name"
        elif error.verify_code == _EXPIRED:
            what = "has expired"
        elif error.verify_code == _NOT_YET_VALID:
            what = "is not valid yet"
        else:
            what = "is not trusted"
        trusted = "the system's certificates" if self._ca_file is None else f"--ca-file {self._ca_file}"
        return f"the coordinator's certificate {what}: {error.verify_message.rstrip('.')}; checked against {trusted}"

    def _load(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except ssl.SSLError:
            raise BadCaFile(f"--ca-file: {self._ca_file} holds no certificate in PEM") from None
        except OSError as error:
            raise BadCaFile(f"--ca-file: {self._ca_file}: {error.strerror}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
