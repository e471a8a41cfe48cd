"""Who owns the CRD: releases that come, go and come back, and a CRD applied by hand. What docs/install.md says of it."""

import json

import pytest
import yaml

from fedcore.crd import definition_yaml
from tests.cluster.apiserver import apiserver as run_apiserver
from tests.cluster.errors import ClusterError
from tests.e2e.conftest import CHART

pytestmark = pytest.mark.apiserver

CRD = "crd/federatedjobs.fedcore.dev"
KINDS = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies,crds"


@pytest.fixture
def fresh(apiserver, tmp_path):
    """An API server in which no CRD is yet, with a namespace for releases."""
    with run_apiserver(tmp_path / "fresh") as running:
        for name in ("system", "elsewhere"):
            running.kubectl("create", "namespace", name)
        yield running


def install(kubernetes, name, *flags, namespace="system"):
    kubernetes.helm("install", name, CHART, f"--namespace={namespace}", *flags)


def older_crd():
    """The CRD with a column less, applied by hand."""
    crd = yaml.safe_load(definition_yaml())
    crd["spec"]["versions"][0]["additionalPrinterColumns"].pop()
    return json.dumps(crd)


def columns(kubernetes):
    return len(kubernetes.get(CRD)["spec"]["versions"][0]["additionalPrinterColumns"])


def test_a_release_leaves_only_the_crd_and_finds_it_again(fresh):
    install(fresh, "fedcore")
    fresh.helm("uninstall", "fedcore", "--namespace=system")
    left = fresh.get(KINDS, "--all-namespaces", "--selector=app.kubernetes.io/name=fedcore")["items"]
    assert [(one["kind"], one["metadata"]["name"]) for one in left] == [("CustomResourceDefinition", "federatedjobs.fedcore.dev")]
    install(fresh, "fedcore")

    # Under another name or elsewhere it has to be said that the CRD changes hands.
    fresh.helm("uninstall", "fedcore", "--namespace=system")
    for name, namespace in (("other", "system"), ("fedcore", "elsewhere")):
        with pytest.raises(ClusterError, match="cannot be imported into the current release"):
            install(fresh, name, namespace=namespace)
        install(fresh, name, "--take-ownership", namespace=namespace)
        fresh.helm("uninstall", name, f"--namespace={namespace}")


def test_a_crd_applied_by_hand_can_be_taken_over_or_left_alone(fresh):
    fresh.kubectl("apply", "--server-side", "--filename=-", stdin=older_crd())
    install(fresh, "fedcore", "--set=crds.install=false")
    fresh.helm("uninstall", "fedcore", "--namespace=system")
    before = columns(fresh)
    with pytest.raises(ClusterError, match="invalid ownership metadata"):
        install(fresh, "fedcore")
    with pytest.raises(ClusterError, match="conflict"):
        install(fresh, "fedcore", "--take-ownership")
    fresh.helm("uninstall", "fedcore", "--namespace=system")  # helm keeps a record of what failed
    install(fresh, "fedcore", "--take-ownership", "--force-conflicts")
    assert columns(fresh) == before + 1
