"""The operator's authority and what follows from it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from fedcore.certificates import authority, check_pair
from fedcore_operator.api.job import parse_job
from fedcore_operator.io.credentials import Credentials, NoCredentials, open_credentials
from fedcore_operator.io.kube import Reply
from support.cluster_model import SETTINGS, Cluster

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def job():
    return parse_job(Cluster({"rounds": 1, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 1}}).job)


class Api:
    def __init__(self, code):
        self.code, self.made = code, []

    async def create(self, manifest):
        self.made.append(manifest)
        return Reply(self.code, {"message": "no"} if self.code >= 400 else manifest)


def test_a_token_is_the_same_each_time_and_another_for_another_key(job):
    pair = authority("a", now=NOW, valid=timedelta(days=1))
    one, two = Credentials(pair, b"1" * 32), Credentials(pair, b"2" * 32)
    assert one.token(job) == one.token(job) != two.token(job)


def test_a_certificate_names_the_service_and_belongs_to_its_key(job):
    made = Credentials(authority("a", now=NOW, valid=timedelta(days=3650)), b"").certificate(job, NOW)
    check_pair(made)
    found = x509.load_pem_x509_certificate(made.certificate)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert f"{job.name}.{job.namespace}.svc" in names
    assert found.not_valid_after_utc - NOW == timedelta(days=365)


def test_what_is_made_once_is_read_later(tmp_path):
    settings = SETTINGS.model_copy(update={"ca_dir": str(tmp_path)})
    api = Api(201)
    made = asyncio.run(open_credentials(api, settings))
    (secret,) = api.made
    assert (secret["metadata"]["name"], secret["immutable"]) == (settings.ca_secret, True)
    for name, text in secret["stringData"].items():
        (tmp_path / name).write_text(text)
    assert asyncio.run(open_credentials(Api(409), settings)) == made


def test_no_right_to_make_it_is_said(tmp_path):
    with pytest.raises(NoCredentials, match="cannot be created: no"):
        asyncio.run(open_credentials(Api(403), SETTINGS.model_copy(update={"ca_dir": str(tmp_path)})))


def test_a_broken_one_says_what_to_do(tmp_path):
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).write_text("nonsense")
    (tmp_path / "token.key").write_text("00")
    with pytest.raises(NoCredentials, match="delete the Secret"):
        asyncio.run(open_credentials(Api(201), SETTINGS.model_copy(update={"ca_dir": str(tmp_path)})))
