"""A Prometheus in the cluster that does what the Prometheus operator would make it do with the chart's monitors and rules."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support import discovery
from support.prometheus import Prometheus, Server
from tests.cluster.kubernetes import Kubernetes, Manifest
from tests.e2e.pods import Pod, wait_ready

_NAME = "prometheus"
_PORT = 9090
_RBAC = "rbac.authorization.k8s.io"
_READS = [
    {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
]


@contextmanager
def prometheus(
    cluster: Kubernetes, namespace: str, images: tuple[str, str], monitors: Sequence[Manifest], rules: Manifest
) -> Iterator[Prometheus]:
    """Run a Prometheus in a namespace that is there.

    Parameters
    ----------
    images : tuple
        Debian's Prometheus, and one with Python for `support.discovery`.
    monitors : sequence of dict
        PodMonitors and ServiceMonitors.
    rules : dict
        A PrometheusRule.
    """
    name = f"test-{namespace}-{_NAME}"
    meta = {"apiVersion": f"{_RBAC}/v1", "metadata": {"name": name}}
    account = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    config = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["/etc/fedcore/job/rules.yaml"],
        "scrape_configs": [scrape_config(monitor) for monitor in monitors],
    }
    cluster.apply(
        {**meta, "kind": "ClusterRole", "rules": _READS},
        {**meta, "kind": "ClusterRoleBinding", "subjects": [account], "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": _RBAC}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _NAME},
            "data": {
                "prometheus.yaml": yaml.safe_dump(config),
                "rules.yaml": yaml.safe_dump(rules["spec"]),
                "discovery.py": Path(discovery.__file__).read_text("utf-8"),
            },
        },
        _pod(*images),
        namespace=namespace,
    )
    try:
        wait_ready(cluster, namespace, _NAME)
        with _forwarded(cluster, namespace) as reached:
            yield reached
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", name)


def _pod(image: str, python: str) -> Manifest:
    arguments = ["--config.file=/etc/fedcore/job/prometheus.yaml", "--storage.tsdb.path=/tmp/data", f"--web.listen-address=:{_PORT}"]
    pod = Pod(_NAME, image, ["/usr/bin/prometheus", *arguments], config_map=_NAME).manifest()
    pod["spec"]["automountServiceAccountToken"] = True
    (server,) = pod["spec"]["containers"]
    pod["spec"]["containers"].append(
        {**server, "name": "discovery", "image": python, "command": ["python", "/etc/fedcore/job/discovery.py"]}
    )
    server["readinessProbe"] = {"httpGet": {"path": "/-/ready", "port": _PORT}, "periodSeconds": 1}
    return pod


@contextmanager
def _forwarded(cluster: Kubernetes, namespace: str) -> Iterator[Prometheus]:
    command = [str(cluster.kubectl_program), f"--kubeconfig={cluster.kubeconfig}", "port-forward", f"--namespace={namespace}"]
    # What it says goes where the server's log is read.
    forwarding = Server(["sh", "-c", 'exec "$@" 1>&2', "sh", *command, f"pod/{_NAME}", f":{_PORT}"])
    try:
        said = forwarding.logged("Forwarding from 127.0.0.1:", 60)
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found is not None
        yield Prometheus(int(found[1]), forwarding)
    finally:
        forwarding.stop()


def scrape_config(monitor: Manifest) -> dict[str, Any]:
    """Return what the Prometheus operator makes of a monitor with one endpoint (pkg/prometheus/promcfg.go), but for how pods are found."""
    of_pods, spec, meta = monitor["kind"] == "PodMonitor", monitor["spec"], monitor["metadata"]
    (endpoint,) = spec["podMetricsEndpoints" if of_pods else "endpoints"]
    role, kind = ("pod", "pod") if of_pods else ("endpointslice", "service")
    labels = [
        {"action": "keep", "source_labels": [f"__meta_kubernetes_{kind}_label_{_as_label(name)}"], "regex": f"({re.escape(value)})"}
        for name, value in spec["selector"]["matchLabels"].items()
    ]
    port = "pod_container_port_name" if of_pods else "endpointslice_port_name"
    job = f"{meta['namespace']}/{meta['name']}"
    where = spec.get("namespaceSelector", {})
    namespaces = ".+" if where.get("any") else "|".join(where.get("matchNames") or [meta["namespace"]])
    return {
        "job_name": f"{monitor['kind']}/{job}",
        "honor_labels": endpoint.get("honorLabels", False),
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        **({"sample_limit": spec["sampleLimit"]} if "sampleLimit" in spec else {}),
        "http_sd_configs": [{"url": f"http://127.0.0.1:{discovery.PORT}/{role}", "refresh_interval": "3s"}],
        "relabel_configs": [
            {"action": "keep", "source_labels": ["__meta_kubernetes_namespace"], "regex": f"({namespaces})"},
            *([{"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"}] if of_pods else []),
            *labels,
            {"action": "keep", "source_labels": [f"__meta_kubernetes_{port}"], "regex": endpoint["port"]},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"target_label": "job", "replacement": job},
            *(_relabelling(one) for one in endpoint.get("relabelings", ())),
        ],
        "metric_relabel_configs": [_relabelling(one) for one in endpoint.get("metricRelabelings", ())],
    }


def _relabelling(rule: Manifest) -> dict[str, Any]:
    """Return a rule in Prometheus's own spelling."""
    return {re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name): value for name, value in rule.items()}


def _as_label(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
