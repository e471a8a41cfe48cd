from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from fedcore.certificates import BACKDATED, Pair, Unusable, authority, check_certificate, check_pair, issue

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def signer():
    return authority("a job", now=NOW, valid=30 * DAY)


def server(signer, *, now=NOW, valid=DAY, dns_names=("localhost",), ip_addresses=("127.0.0.1",)):
    return issue(signer, "coordinator", dns_names=dns_names, ip_addresses=ip_addresses, now=now, valid=valid)


def handshake(trusted, pair, name, tmp_path):
    """Shake hands in memory, as a client that checks strictly, and return the client's error."""
    (tmp_path / "c").write_bytes(pair.certificate)
    (tmp_path / "k").write_bytes(pair.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "c", tmp_path / "k")
    asking = ssl.create_default_context(cadata=trusted.decode())
    asking.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 does by itself
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=name)
    other = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, other, client, other):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
    return None


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "a.b.svc", "::1"])
def test_a_strict_client_trusts_what_the_authority_issued(tmp_path, name):
    now = datetime.now(UTC)
    signer = authority("x" * 100, now=now, valid=DAY)
    pair = server(signer, now=now, dns_names=["localhost", "a.b.svc"], ip_addresses=["127.0.0.1", "::1"])
    assert handshake(signer.certificate, pair, name, tmp_path) is None


@pytest.mark.parametrize(
    ("name", "said"), [pytest.param("elsewhere", "Hostname mismatch", id="name"), pytest.param("127.0.0.2", "IP address", id="address")]
)
def test_a_client_elsewhere_is_not_fooled(tmp_path, name, said):
    now = datetime.now(UTC)
    signer = authority("a", now=now, valid=DAY)
    assert said in handshake(signer.certificate, server(signer, now=now), name, tmp_path)


def test_another_authority_of_the_same_name_is_not_trusted(tmp_path):
    now = datetime.now(UTC)
    mine, other = (authority("a", now=now, valid=DAY) for _ in range(2))
    assert handshake(other.certificate, server(mine, now=now), "localhost", tmp_path) is not None


def test_a_server_can_vouch_for_nobody(tmp_path):
    now = datetime.now(UTC)
    signer = authority("a", now=now, valid=DAY)
    first = server(signer, now=now)
    second = server(first, now=now)
    chain = Pair(second.certificate + first.certificate, second.key)
    assert handshake(signer.certificate, chain, "localhost", tmp_path) is not None


def test_it_is_valid_a_little_before_now_and_never_longer_than_its_authority(signer):
    certificate = x509.load_pem_x509_certificate(server(signer, valid=365 * DAY).certificate)
    assert certificate.not_valid_before_utc == NOW - BACKDATED
    assert certificate.not_valid_after_utc == NOW + 30 * DAY


def test_a_certificate_is_checked_against_the_time(signer):
    pair = server(signer)
    check_pair(pair)
    assert check_certificate(pair.certificate, NOW) == NOW + DAY
    assert check_certificate(pair.certificate, NOW - DAY) == NOW + DAY  # not valid yet: it will be
    with pytest.raises(Unusable, match="expired on 2031-05-07 07:08 UTC"):
        check_certificate(pair.certificate, NOW + DAY)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff\xfe"])
def test_what_is_no_certificate_is_named(content):
    with pytest.raises(Unusable, match="holds no certificate"):
        check_certificate(content, NOW)


def encrypted():
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        pytest.param(lambda _: b"", "no private key", id="empty"),
        pytest.param(lambda pair: pair.certificate, "no private key", id="a certificate"),
        pytest.param(lambda _: encrypted(), "encrypted", id="encrypted"),
        pytest.param(lambda _: authority("b", now=NOW, valid=DAY).key, "does not belong", id="of another"),
    ],
)
def test_what_is_no_key_of_it_is_named(signer, key, said):
    pair = server(signer)
    with pytest.raises(Unusable, match=said):
        check_pair(Pair(pair.certificate, key(pair)))
