"""What the processes of one run show each other: a token and, if the job asks for TLS, a certificate of an authority made for this run.

All of it lies in the run's private folder, which is emptied when a run starts, goes on or ends, so nothing is ever used twice. The
authority's own key is written nowhere: nobody can be let in later.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcore.local.ports import LOOPBACK
from fedcore.report.rundir import write_atomically

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["Credentials"]

_VALID = timedelta(days=30)
_PRIVATE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files in a folder that nobody else can read."""

    folder: Path

    @property
    def token(self) -> Path:
        """What each worker has to show, on one line."""
        return self.folder / "token"

    @property
    def authority(self) -> Path:
        """The certificate that workers trust."""
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The coordinator's certificate."""
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.folder / "tls.key"

    def make_token(self) -> None:
        """Write a new token."""
        write_atomically(self.token, secrets.token_urlsafe(32), mode=_PRIVATE_MODE)

    def make_certificate(self, job: str, now: datetime) -> None:
        """Write the certificate of a new authority, and what it issued for this machine; both hold for 30 days."""
        from fedcore.certificates import authority, issue  # only here: `cryptography` takes a tenth of a second to import

        signer = authority(f"fedcore run of {job}", now=now, valid=_VALID)
        own = issue(signer, "coordinator", dns_names=["localhost"], ip_addresses=[LOOPBACK, "::1"], now=now, valid=_VALID)
        for path, content in ((self.authority, signer.certificate), (self.certificate, own.certificate), (self.key, own.key)):
            write_atomically(path, content.decode("ascii"), mode=_PRIVATE_MODE)
