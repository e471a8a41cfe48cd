"""Certificates for tests: an authority of their own, and files as a user would have them."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fedcore.certificates import Pair, authority, issue

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


@dataclass
class Files:
    """A folder with ``ca.pem``, ``cert.pem`` and ``key.pem``."""

    folder: Path
    signer: Pair

    @property
    def ca(self):
        return self.folder / "ca.pem"

    @property
    def cert(self):
        return self.folder / "cert.pem"

    @property
    def key(self):
        return self.folder / "key.pem"

    @property
    def flags(self):
        return ["--tls-cert", self.cert, "--tls-key", self.key]

    def issue(self, name="coordinator", *, dns_names=("localhost",), ip_addresses=("127.0.0.1",), made=None, valid=DAY):
        """Write another certificate of the same authority."""
        now = datetime.now(UTC) if made is None else made
        pair = issue(self.signer, name, dns_names=dns_names, ip_addresses=ip_addresses, now=now, valid=valid)
        self.cert.write_bytes(pair.certificate)
        self.key.write_bytes(pair.key)
        return self

    @property
    def serving(self):
        """A plain server's context, for stand-ins."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def asking(self, *, newest=None):
        """A client's context that trusts this authority; ``newest`` is the highest version it speaks."""
        context = ssl.create_default_context(cafile=self.ca)
        if newest is not None:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client itself would refuse what is older than 1.2
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = newest
        return context


def certificate_files(folder, **more):
    """Make an authority and a certificate of it in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    signer = authority("tests", now=datetime.now(UTC) - 10 * DAY, valid=20 * DAY)
    files = Files(folder, signer)
    files.ca.write_bytes(signer.certificate)
    return files.issue(**more)
