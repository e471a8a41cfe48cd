import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import availability, fixtures, packages
from tests.cluster.errors import ClusterError, Unavailable


def test_an_existing_cluster_needs_its_context_named(tmp_path):
    with pytest.raises(ClusterError, match="FEDCORE_E2E_CONTEXT has to name the context"):
        fixtures.existing_cluster(tmp_path / "kubeconfig", "", tmp_path)


@pytest.fixture
def kubeconfig(tmp_path):
    """Two clusters of which tests may use one; the current context is the other."""
    clusters = [{"name": name, "cluster": {"server": f"https://{name}.invalid"}} for name in ("kind", "production")]
    contexts = [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ("kind", "production")]
    users = [{"name": "me", "user": {"token": "t"}}]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": clusters,
        "contexts": contexts,
        "users": users,
    }
    path = tmp_path / "given"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.apiserver
def test_an_unknown_context_is_refused(kubeconfig, tmp_path, apiserver, monkeypatch):
    monkeypatch.setattr(fixtures, "_tool", apiserver.kubectl_program.with_name)
    with pytest.raises(ClusterError, match="staging"):
        fixtures.existing_cluster(kubeconfig, "staging", tmp_path)


@pytest.mark.apiserver
def test_nothing_but_the_named_context_is_visible_to_tests(kubeconfig, tmp_path, apiserver, monkeypatch):
    monkeypatch.setattr(fixtures, "_tool", apiserver.kubectl_program.with_name)
    handle = fixtures.existing_cluster(kubeconfig, "kind", tmp_path)
    config = json.loads(handle.kubectl("config", "view", "--output=json"))
    assert config["current-context"] == "kind"
    assert [cluster["cluster"]["server"] for cluster in config["clusters"]] == ["https://kind.invalid"]
    assert handle.kubeconfig.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda patch: patch.setattr(sys, "platform", "darwin"), "needs Linux", id="another system"),
        pytest.param(lambda patch: patch.setattr(os, "geteuid", lambda: 1000), "needs root", id="an ordinary user"),
    ],
)
def test_prepare_cluster_says_why_it_cannot(change, reason, monkeypatch):
    change(monkeypatch)
    with pytest.raises(Unavailable, match=reason):
        availability.prepare_cluster()


def test_without_a_cluster_tests_are_skipped_but_fail_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs root"):
        fixtures._do_without(Unavailable("needs root"))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs root"):
        fixtures._do_without(Unavailable("needs root"))


def test_tests_on_a_cluster_come_last(request):
    collect = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "tests/cluster"]
    listed = subprocess.run(collect, capture_output=True, text=True, cwd=request.config.rootpath, timeout=110).stdout.splitlines()
    place = lambda name: next(number for number, line in enumerate(listed) if name in line)  # noqa: E731
    pure, api = place("test_pruning.py::test_programs"), place("test_apiserver.py::test_pod_security")
    assert place("test_build.py::test_target") < pure < api < place("test_cluster.py::test_network_policies")


def test_only_missing_packages_are_installed(monkeypatch):
    there = {"/bin/sh": "dash", "sh": "dash"}
    packages.install(there)  # asks nobody
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="frobnicate-tools"):
        packages.install({**there, "/no/such/frobnicator": "frobnicate-tools"})


def test_the_cluster_does_not_depend_on_other_checkouts():
    for path in Path(__file__).parent.glob("*.py"):
        if path != Path(__file__):
            assert "shared/" not in path.read_text(), path
