"""The coordinator's certificate: read before anything else, and read again when its files change.

On a cluster they arrive through a volume and are renewed while the job runs. Both files are swapped there at once, elsewhere one after the
other: a pair that does not fit is left alone, the one in use stays, and the next change is looked at again.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fedcore.certificates import Pair, Unusable, check_certificate, check_pair
from fedcore.coordinator.stamp import Stamp, stamp
from fedcore.log import log_event

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BadCertificate", "Certificate"]


class BadCertificate(Exception):  # noqa: N818 - an answer to the user
    """The files cannot be used; the message names the flag, the file and what is wrong with it."""


class Certificate:
    """A pair of files, and what a server needs of them.

    Parameters
    ----------
    certificate, key : Path
        PEM: the certificate, with those between it and the authority behind it; its key, without a passphrase.

    Raises
    ------
    BadCertificate
        They cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._seen = self._stamps()
        self.context = self._load()

    def renewed(self) -> bool:
        """Look at the files. Return whether there is another ``context`` now; a pair that cannot be used is logged, once."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps
        try:
            self.context = self._load()
        except BadCertificate as error:
            log_event("certificate_ignored", error=str(error), message="the one in use stays")
            return False
        return True

    def _stamps(self) -> tuple[Stamp, Stamp]:
        return stamp(self._certificate), stamp(self._key)

    def _load(self) -> ssl.SSLContext:
        pair = Pair(_read("--tls-cert", self._certificate), _read("--tls-key", self._key))
        try:
            until = check_certificate(pair.certificate, datetime.now(UTC))
        except Unusable as error:
            raise BadCertificate(f"--tls-cert: {self._certificate} {error}") from None
        try:
            check_pair(pair)
        except Unusable as error:
            raise BadCertificate(f"--tls-key: {self._key} {error} (--tls-cert: {self._certificate})") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password="")
        except (OSError, ValueError) as error:  # what OpenSSL alone knows: keys too small, broken certificates further down the chain
            reason = getattr(error, "reason", None) or error
            raise BadCertificate(f"--tls-cert: {self._certificate} with --tls-key {self._key} cannot be used: {reason}") from None
        log_event("certificate_loaded", file=self._certificate, valid_until=f"{until:%Y-%m-%dT%H:%M:%SZ}")
        return context


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{flag}: {path}: {error.strerror}") from None
