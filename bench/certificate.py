"""A certificate for a bench's own servers, from an authority made for the occasion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bench.control import Certificate
from fedcore.certificates import authority, issue

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_certificate"]

VALID = timedelta(days=1)


def make_certificate(folder: Path) -> Certificate:
    """Write authority, certificate and key into ``folder``."""
    now = datetime.now(UTC)
    signer = authority("fedcore bench", now=now, valid=VALID)
    pair = issue(signer, "127.0.0.1", dns_names=["localhost"], ip_addresses=["127.0.0.1"], now=now, valid=VALID)
    files = Certificate(folder / "server.pem", folder / "server.key", folder / "authority.pem")
    files.cert.write_bytes(pair.certificate)
    files.key.write_bytes(pair.key)
    files.authority.write_bytes(signer.certificate)
    return files
