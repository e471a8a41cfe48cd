"""Secrets of a job. They are created and never read: their names say what is in them, and what is in them can be made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.api.names import COORDINATOR_HOST, join_secret_name, tls_secret_name
from fedcore_operator.plan.children import Manifest, child_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore_operator.api.job import Job

__all__ = ["certificate_names", "join_secret", "tls_secret"]


def join_secret(job: Job, token: str, authority: bytes | None) -> Manifest:
    """Return what workers need to join: the token and, with TLS, the certificate (PEM) of the authority they trust."""
    files = {"token": token}
    if authority is not None:
        files["ca.crt"] = authority.decode("ascii")
    return _secret(job, join_secret_name(job), "Opaque", files)


def tls_secret(job: Job, attempt: int, certificate: bytes, key: bytes) -> Manifest:
    """Return certificate and key (PEM) of one attempt of the coordinator."""
    files = {"tls.crt": certificate.decode("ascii"), "tls.key": key.decode("ascii")}
    return _secret(job, tls_secret_name(job, attempt), "kubernetes.io/tls", files)


def certificate_names(job: Job) -> tuple[str, ...]:
    """Return the DNS names that the coordinator's certificate is for."""
    service = f"{job.name}.{job.namespace}.svc"
    return (job.name, f"{job.name}.{job.namespace}", service, f"{COORDINATOR_HOST}.{service}", "localhost")


def _secret(job: Job, name: str, kind: str, files: Mapping[str, str]) -> Manifest:
    # Immutable: kubelets need not watch it for each pod that mounts it.
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(job, name),
        "type": kind,
        "immutable": True,
        "stringData": dict(files),
    }
