"""Pods and endpoints with the labels that Prometheus's own discovery gives them: Debian builds Prometheus without it.

Runs beside Prometheus in the cluster and answers its ``http_sd_configs`` from what the API server lists at that moment; what is kept, and
under which names, is up to Prometheus and its relabelling.
"""

import http.server
import json
import os
import re
import ssl
import urllib.request
from pathlib import Path

PORT = 9091
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_META = "__meta_kubernetes_"


def fetch(path):
    """List objects of all namespaces."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    token = (_ACCOUNT / "token").read_text()
    request = urllib.request.Request(f"https://{host}:{port}/{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cafile=_ACCOUNT / "ca.crt")) as answer:
        return json.load(answer)["items"]


def of_pod(pod, container):
    """Labels of a pod and one of its containers."""
    metadata = pod["metadata"]
    return {
        f"{_META}namespace": metadata["namespace"],
        f"{_META}pod_name": metadata["name"],
        f"{_META}pod_phase": pod["status"].get("phase", ""),
        f"{_META}pod_container_name": container["name"],
        **_of_labels("pod", metadata),
    }


def pods():
    """Role ``pod``: a target for each port of each container."""
    for pod in fetch("api/v1/pods"):
        if not pod["status"].get("podIP"):
            continue
        for container in pod["spec"]["containers"]:
            for port in container.get("ports", ()):
                address = f"{pod['status']['podIP']}:{port['containerPort']}"
                yield address, {**of_pod(pod, container), f"{_META}pod_container_port_name": port.get("name", "")}


def endpoints():
    """Role ``endpointslice``: a target for each port of each endpoint, with the labels of its service and its pod."""
    known = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in fetch("api/v1/pods")}
    services = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in fetch("api/v1/services")}
    for piece in fetch("apis/discovery.k8s.io/v1/endpointslices"):
        namespace = piece["metadata"]["namespace"]
        service = services.get((namespace, piece["metadata"]["labels"].get("kubernetes.io/service-name")))
        for endpoint in piece["endpoints"] if service is not None else ():
            pod = known.get((namespace, endpoint.get("targetRef", {}).get("name")))
            for port in piece["ports"] if pod is not None else ():
                (container,) = pod["spec"]["containers"][:1]
                labels = {**of_pod(pod, container), **_of_labels("service", service["metadata"])}
                yield f"{endpoint['addresses'][0]}:{port['port']}", {**labels, f"{_META}endpointslice_port_name": port.get("name", "")}


def _of_labels(kind, metadata):
    return {f"{_META}{kind}_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value for name, value in metadata.get("labels", {}).items()}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the targets of the role that is asked for."""

    def do_GET(self):
        targets = {"/pod": pods, "/endpointslice": endpoints}[self.path]()
        body = json.dumps([{"targets": [address], "labels": labels} for address, labels in targets]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
