"""The operator's own authority and key, and what follows from them for a job.

They lie in one Secret that the operator creates at its first start and reads through a mount: it has no right to read Secrets. Tokens
follow from key and job, so that a Secret that was lost or is made twice comes out the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fedcore.certificates import Pair, Unusable, authority, check_certificate, check_pair, issue
from fedcore.log import log_event
from fedcore_operator.plan.secrets import certificate_names

if TYPE_CHECKING:
    from fedcore_operator.api.job import Job
    from fedcore_operator.api.settings import Settings
    from fedcore_operator.io.kube import Kube

__all__ = ["Credentials", "NoCredentials", "open_credentials"]

_AUTHORITY_VALID = timedelta(days=3650)
_CERTIFICATE_VALID = timedelta(days=365)
_MOUNT_SECONDS = 150
"""The kubelet brings a Secret that appeared into a running pod within its sync period, a minute by default."""


class NoCredentials(Exception):  # noqa: N818 - an answer to the user
    """The authority cannot be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An authority, and the key of which tokens are made."""

    signer: Pair
    key: bytes

    def token(self, job: Job) -> str:
        """Return the token of a job, always the same."""
        return hmac.new(self.key, job.uid.encode(), hashlib.sha256).hexdigest()

    def certificate(self, job: Job, now: datetime) -> Pair:
        """Issue a certificate for a job's coordinator."""
        names = certificate_names(job)
        return issue(self.signer, names[0], dns_names=names, ip_addresses=(), now=now, valid=_CERTIFICATE_VALID)


async def open_credentials(kube: Kube, settings: Settings) -> Credentials:
    """Read the mounted credentials, or make them and store them.

    Raises
    ------
    NoCredentials
        They can neither be read nor made.
    """
    folder = Path(settings.ca_dir)
    found = _read(folder)
    if found is not None:
        return found
    made = await asyncio.to_thread(_make)
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": settings.ca_secret, "namespace": settings.operator_namespace},
        "type": "Opaque",
        "immutable": True,
        "stringData": {
            "ca.crt": made.signer.certificate.decode("ascii"),
            "ca.key": made.signer.key.decode("ascii"),
            "token.key": made.key.hex(),
        },
    }
    reply = await kube.create(manifest)
    if reply.ok:
        log_event("authority_made", secret=settings.ca_secret, namespace=settings.operator_namespace)
        return made
    where = f"Secret {settings.ca_secret} in namespace {settings.operator_namespace}"
    if reply.answer.code != 409:
        raise NoCredentials(f"{where} cannot be created: {reply.answer.message}")
    log_event("authority_awaited", secret=settings.ca_secret, folder=str(folder))
    deadline = asyncio.get_running_loop().time() + _MOUNT_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        found = _read(folder)
        if found is not None:
            return found
        await asyncio.sleep(1)
    raise NoCredentials(f"{where} exists and is not to be found at {folder}; mount it there, or delete it to have a new one made")


def _make() -> Credentials:
    return Credentials(authority("fedcore", now=datetime.now(UTC), valid=_AUTHORITY_VALID), secrets.token_bytes(32))


def _read(folder: Path) -> Credentials | None:
    try:
        pair = Pair((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())
        key = bytes.fromhex((folder / "token.key").read_text("ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise NoCredentials(f"{folder}: {error}; delete the Secret that is mounted there to have a new one made") from error
    try:
        check_certificate(pair.certificate, datetime.now(UTC))
        check_pair(pair)
    except Unusable as error:
        raise NoCredentials(f"{folder}: the authority {error}; delete the Secret that is mounted there to have a new one made") from error
    return Credentials(pair, key)
