from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest

from fedcore.local.credentials import Credentials

NOW = datetime.now(UTC)


@pytest.fixture
def made(tmp_path):
    credentials = Credentials(tmp_path)
    credentials.make_token()
    credentials.make_certificate("x" * 200, NOW)
    return credentials


def test_nobody_else_can_read_them_and_the_authoritys_key_is_nowhere(made, tmp_path):
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "token": 0o600,
        "ca.crt": 0o600,
        "tls.crt": 0o600,
        "tls.key": 0o600,
    }
    assert [path.name for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()] == ["tls.key"]


def test_the_certificate_is_one_for_this_machine_and_for_thirty_days(made):
    context = ssl.create_default_context(cafile=made.authority)
    (trusted,) = context.get_ca_certs()
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(trusted["notAfter"]), UTC)
    assert NOW + timedelta(days=30) - expires < timedelta(seconds=2)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    for name in ("127.0.0.1", "localhost", "::1"):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = context.wrap_bio(to_client, to_server, server_hostname=name)
        serving = server.wrap_bio(to_server, to_client, server_side=True)
        for side in (asking, serving):
            with pytest.raises(ssl.SSLWantReadError):
                side.do_handshake()
        asking.do_handshake()


def test_each_time_they_are_others(made):
    before = [path.read_bytes() for path in (made.token, made.authority, made.certificate, made.key)]
    made.make_token()
    made.make_certificate("x", NOW)
    after = [path.read_bytes() for path in (made.token, made.authority, made.certificate, made.key)]
    assert not set(before) & set(after)
