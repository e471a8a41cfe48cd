"""Certificates for one job: an authority of its own, and what it vouches for.

Nothing is read or written here, and the time is an argument: the local runner makes a certificate per run with it, the operator one per
coordinator. Keys are EC P-256: made in a millisecond, small on the wire, and known to every TLS library.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

__all__ = ["Pair", "Unusable", "authority", "check_certificate", "check_pair", "issue"]

BACKDATED = timedelta(minutes=5)
"""Clocks of machines differ: what was made a moment ago must be valid everywhere."""
_NAME_CHARS = 64
"""X.509 allows no longer common name."""


class Unusable(ValueError):  # noqa: N818 - an answer to the user
    """A certificate or key that cannot serve; the message says what is wrong with it, and not where it was found."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM; the certificate may bring the chain above it."""

    certificate: bytes
    key: bytes


def authority(name: str, *, now: datetime, valid: timedelta) -> Pair:
    """Make a certificate authority that can sign servers' certificates and nothing below those.

    Parameters
    ----------
    name : str
        Common name; only people read it.
    now : datetime
        With a time zone. The certificate holds from five minutes before.
    valid : timedelta
        How long it holds from ``now`` on.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue(signer: Pair, name: str, *, dns_names: Sequence[str], ip_addresses: Sequence[str], now: datetime, valid: timedelta) -> Pair:
    """Make a server's certificate.

    Parameters
    ----------
    signer : Pair
        What `authority` returned.
    name : str
        Common name; only people read it, clients compare with what follows.
    dns_names, ip_addresses : sequence of str
        All names and addresses under which clients reach the server; at least one.
    now, valid
        As for `authority`; never beyond the authority's own end.
    """
    above = x509.load_pem_x509_certificate(signer.certificate)
    signing = load_pem_private_key(signer.key, None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey), "an authority of ours"
    key = ec.generate_private_key(ec.SECP256R1())
    reached = [*map(x509.DNSName, dns_names), *(x509.IPAddress(ip_address(address)) for address in ip_addresses)]
    builder = (
        _builder(_name(name), above.subject, key.public_key(), now, min(valid, above.not_valid_after_utc - now))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(reached), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    return _pair(builder.sign(signing, hashes.SHA256()), key)


def check_certificate(certificate: bytes, now: datetime) -> datetime:
    """Return the moment until which a PEM certificate, the first of its file, is valid.

    One that is not valid yet passes: that heals by itself.

    Raises
    ------
    Unusable
        It is no certificate, or has expired.
    """
    until = _load(certificate).not_valid_after_utc
    if until <= now:
        raise Unusable(f"expired on {until:%Y-%m-%d %H:%M} UTC")
    return until


def check_pair(pair: Pair) -> None:
    """See that the key is one, is not encrypted, and belongs to the certificate.

    Raises
    ------
    Unusable
        About the key.
    """
    try:
        key = load_pem_private_key(pair.key, None)
    except TypeError:
        raise Unusable("is encrypted; a key without a passphrase is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("holds no private key in PEM") from None
    if _public(key.public_key()) != _public(_load(pair.certificate).public_key()):
        raise Unusable("does not belong to the certificate")


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("holds no certificate in PEM") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - BACKDATED)
        .not_valid_after(now.astimezone(UTC) + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_NAME_CHARS])])


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(certificate.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _public(key: PublicKeyTypes | CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
