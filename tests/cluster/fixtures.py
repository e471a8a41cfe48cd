"""Fixtures that hand a real Kubernetes to tests; tests/conftest.py makes them known everywhere.

``apiserver``
    An API server alone: for the CRD, CEL, RBAC, dry runs, scale. Mark such tests ``apiserver``.
``cluster``
    A cluster with three nodes, or the one that ``FEDCORE_E2E_KUBECONFIG`` and ``FEDCORE_E2E_CONTEXT`` name. Mark ``e2e``.
``local_cluster``
    The same, where the test cuts cables or reaches into nodes: skipped on a foreign cluster.
``coordinator_image``, ``numpy_worker_image``, ``torch_worker_image``, ``operator_image``
    Names of FedCore's images, which every node has: built from this checkout, or those of ``FEDCORE_E2E_REGISTRY``.
``prometheus_image``
    Name of an image of Debian's Prometheus, which every node of ``local_cluster`` has.
``namespace``
    A namespace of ``cluster`` for one test, at pod security level restricted.

All but ``namespace`` live as long as the session. Where one cannot run, tests are skipped with the reason; with ``CI`` set
they fail.
"""

import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from images.build import IMAGES, version
from tests.cluster.apiserver import apiserver as run_apiserver
from tests.cluster.availability import prepare_apiserver, prepare_cluster
from tests.cluster.build import is_built, target
from tests.cluster.cluster import LocalCluster, start
from tests.cluster.errors import ClusterError, Unavailable
from tests.cluster.images import PROMETHEUS, archive, base_archive, reference
from tests.cluster.kubernetes import Kubernetes, minified

NODES = 3
TEST_SECONDS = 600
"""No test needs a third of it; a machine that is busy otherwise gets time."""
LONG_SECONDS = 3600
MARKERS = ("apiserver", "e2e")
NO_CLUSTER = "no test cluster"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests on a cluster last, so that a mistake shows early, and give them their own time: starting one is not charged to it."""
    items.sort(key=_rank)
    for item in items:
        if _rank(item) and not item.get_closest_marker("timeout"):
            seconds = LONG_SECONDS if item.get_closest_marker("long") else TEST_SECONDS
            # By a signal: the test fails and the rest goes on. The other method ends the whole process, and the cluster with it.
            item.add_marker(pytest.mark.timeout(seconds, func_only=True, method="signal"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say once, at the very end, that there was no cluster and why: among a hundred lines it would be overlooked."""
    yield
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()) if isinstance(report.longrepr, tuple))
    for reason, count in reasons.items():
        if NO_CLUSTER in reason:
            terminalreporter.write_line(f"{count} tests did not run: {reason.removeprefix('Skipped: ')}", yellow=True)


def _rank(item: pytest.Item) -> int:
    return max((rank for rank, marker in enumerate(MARKERS, 1) if item.get_closest_marker(marker)), default=0)


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """An API server without nodes."""
    try:
        prepare_apiserver()
    except Unavailable as reason:
        _do_without(reason)
    with run_apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A cluster with nodes."""
    if given := os.environ.get("FEDCORE_E2E_KUBECONFIG"):
        yield existing_cluster(Path(given), os.environ.get("FEDCORE_E2E_CONTEXT", ""), tmp_path_factory.mktemp("kubeconfig"))
        return
    try:
        prepare_cluster()
    except Unavailable as reason:
        _do_without(reason)
    running = start(NODES)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def local_cluster(cluster: Kubernetes) -> LocalCluster:
    """The cluster, if it is ours."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("reaches into the machines of the cluster; the one of FEDCORE_E2E_KUBECONFIG is not ours")
    return cluster


@pytest.fixture(scope="session")
def coordinator_image(cluster: Kubernetes) -> str:
    """The coordinator's."""
    return _image(cluster, "coordinator")


@pytest.fixture(scope="session")
def numpy_worker_image(cluster: Kubernetes) -> str:
    """A worker's without torch."""
    return _image(cluster, "worker-numpy")


@pytest.fixture(scope="session")
def torch_worker_image(cluster: Kubernetes) -> str:
    """A worker's with torch: seconds to load, minutes to build the first time."""
    return _image(cluster, "worker")


@pytest.fixture(scope="session")
def operator_image(cluster: Kubernetes) -> str:
    """The operator's."""
    return _image(cluster, "operator")


@pytest.fixture(scope="session")
def prometheus_image(local_cluster: LocalCluster) -> str:
    """Debian's Prometheus."""
    try:
        local_cluster.load(base_archive(PROMETHEUS))
    except Unavailable as reason:
        _do_without(reason)
    return PROMETHEUS.reference


@pytest.fixture
def namespace(cluster: Kubernetes) -> Iterator[str]:
    """A restricted namespace for one test."""
    with cluster.namespace() as name:
        yield name


@contextmanager
def own_cluster(nodes: int, *images: str) -> Iterator[LocalCluster]:
    """A cluster beside that of the session, for tests of what there can be only once; its nodes have the images named."""
    if os.environ.get("FEDCORE_E2E_KUBECONFIG"):
        pytest.skip("needs a cluster of its own; the one of FEDCORE_E2E_KUBECONFIG is in use")
    try:
        prepare_cluster()
        archives = [archive(name) for name in images]
    except Unavailable as reason:
        _do_without(reason)
    running = start(nodes)
    try:
        for one in archives:
            running.load(one)
        yield running
    finally:
        running.stop()


def existing_cluster(kubeconfig: Path, context: str, folder: Path) -> Kubernetes:
    """A handle on somebody's cluster.

    The context has to be named even if there is only one: a lone context may well be production.

    Raises
    ------
    ClusterError
        No context was named, or the file has no such context.
    """
    if not context:
        raise ClusterError("FEDCORE_E2E_KUBECONFIG is set: FEDCORE_E2E_CONTEXT has to name the context that tests may use")
    kubectl, helm = _tool("kubectl"), _tool("helm")
    return Kubernetes(minified(kubeconfig, context, kubectl, folder / "kubeconfig"), kubectl, helm)


def _image(cluster: Kubernetes, name: str) -> str:
    if isinstance(cluster, LocalCluster):
        try:
            cluster.load(archive(name))
        except Unavailable as reason:
            _do_without(reason)
        return reference(name)
    registry = os.environ.get("FEDCORE_E2E_REGISTRY")
    if not registry:
        pytest.skip("FEDCORE_E2E_REGISTRY does not say where the cluster finds images; `make images REGISTRY=... PUSH=1` pushes them")
    return IMAGES[name].reference(registry, os.environ.get("FEDCORE_E2E_TAG") or version())


def _tool(name: str) -> Path:
    # On a foreign cluster the user's own tools do; nothing has to be compiled.
    if found := shutil.which(name):
        return Path(found)
    if is_built():
        return target() / name
    raise ClusterError(f"{name} is not installed")


def _do_without(reason: Unavailable) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{NO_CLUSTER}, and CI is set: {reason}", pytrace=False)
    pytest.skip(f"{NO_CLUSTER}: {reason}")
