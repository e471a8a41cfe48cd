"""The Kubernetes API as the operator uses it: about ten calls, plain dicts, every one with a deadline.

The typed methods of the client refuse fields that they do not know before the API server is asked, which would defeat the dry run and
newer Kubernetes; so requests are built by hand and only the transport is the client's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, kube_config
from kubernetes.aio.config.config_exception import ConfigException

from fedcore.spec import API_VERSION, KIND
from fedcore_operator.api.names import GROUP, JOB, JOB_INPUT, MANAGER, PLURAL, VERSION
from fedcore_operator.decide.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore.spec import Status
    from fedcore_operator.api.job import StoredJob
    from fedcore_operator.plan.children import Manifest

__all__ = ["Kube", "NoCluster", "Reply", "connect"]

Called: TypeAlias = Callable[[str, int, float], None]
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JOBS = f"/apis/{GROUP}/{VERSION}"
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
"""HTTP method of each verb, as Kubernetes calls what is asked."""
_PLACES = {
    KIND: (_JOBS, PLURAL),
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "Secret": ("/api/v1", "secrets"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "Event": ("/apis/events.k8s.io/v1", "events"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
}


class NoCluster(Exception):  # noqa: N818 - an answer to the user
    """There is no way to an API server."""


class Reply:
    """An answer with the object that came with it."""

    def __init__(self, code: int, body: Mapping[str, Any]) -> None:
        details = body.get("details") or {}
        causes = details.get("causes") or () if isinstance(details, dict) else ()
        message = str(body.get("message") or "") if body.get("kind") == "Status" or not 200 <= code < 400 else ""
        self.body = body
        self.answer = Answer(code, message, tuple(str(cause.get("reason", "")) for cause in causes))

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.answer.code < 300


class Kube:
    """The calls. None of them raises for what the server or the network says: code 0 is a network that says nothing.

    Parameters
    ----------
    called : callable
        Told of each call when it is over: verb, code, seconds.
    """

    def __init__(self, client: ApiClient, called: Called) -> None:
        self._client = client
        self._called = called

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def get_job(self, namespace: str, name: str) -> Reply:
        """Read a job."""
        return await self._call("get", _path(KIND, namespace, name))

    async def list_jobs(self, namespace: str | None, limit: int, after: str = "") -> Reply:
        """Read a page of the jobs of a namespace, or of all; ``after``: where the page before ended."""
        place = f"/namespaces/{quote(namespace)}" if namespace else ""
        query = {"limit": str(limit)} | ({"continue": after} if after else {})
        return await self._call("list", f"{_JOBS}{place}/{PLURAL}", query)

    async def list_pods(self, namespace: str, job: str) -> Reply:
        """Read the pods of a job."""
        return await self._call("list", _path("Pod", namespace), {"labelSelector": f"{JOB}={job}"})

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Reply:
        """Create an object, or only ask what would come of it."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return await self._call("create", _path(manifest["kind"], manifest["metadata"]["namespace"]), query, body=manifest)

    async def get(self, manifest: Manifest) -> Reply:
        """Read the object that has a manifest's name."""
        metadata = manifest["metadata"]
        return await self._call("get", _path(manifest["kind"], metadata["namespace"], metadata["name"]))

    async def apply(self, manifest: Manifest) -> Reply:
        """Apply an object on the server's side; what another manager set of our fields becomes ours again."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata["namespace"], metadata["name"])
        return await self._call("patch", path, {"fieldManager": MANAGER, "force": "true"}, body=manifest, content=_APPLY)

    async def update(self, manifest: Manifest) -> Reply:
        """Replace an object; its resourceVersion has to be the stored one."""
        metadata = manifest["metadata"]
        return await self._call("update", _path(manifest["kind"], metadata["namespace"], metadata["name"]), body=manifest)

    async def write_status(self, job: StoredJob, status: Status) -> Reply:
        """Write a status computed from ``job``; 409 if the job is no longer what it was."""
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": job.name, "namespace": job.namespace, "resourceVersion": job.resource_version},
            "status": status.to_api(),
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._call("patch", _path(KIND, job.namespace, job.name) + "/status", query, body=body, content=_APPLY)

    async def tell(self, namespace: str, pod: str, uid: str, text: str) -> Reply:
        """Change the job input of a coordinator's pod."""
        body = {"metadata": {"uid": uid, "annotations": {JOB_INPUT: text}}}
        return await self._call("patch", _path("Pod", namespace, pod), {"fieldManager": MANAGER}, body=body, content=_MERGE)

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> Reply:
        """Delete an object if it is the one with that uid; its children follow in the background."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        return await self._call("delete", _path(kind, namespace, name), body=body)

    async def may(self, attributes: Mapping[str, str]) -> bool:
        """Ask whether we have a right."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": dict(attributes)},
        }
        reply = await self._call("create", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        return bool((reply.body.get("status") or {}).get("allowed"))

    async def _call(
        self, verb: str, path: str, query: Mapping[str, str] | None = None, *, body: Any = None, content: str = "application/json"
    ) -> Reply:
        began = time.monotonic()
        reply = await self._answered(_METHODS[verb], f"{path}?{urlencode(query)}" if query else path, body, content)
        self._called(verb, reply.answer.code, time.monotonic() - began)
        return reply

    async def _answered(self, method: str, target: str, body: Any, content: str) -> Reply:
        headers = {"Accept": "application/json", "Content-Type": content}
        try:
            request = await self._client.param_serialize(
                method=method, resource_path=target, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = await self._client.call_api(*request, _request_timeout=_TIMEOUT)
            data = await response.read()  # type: ignore[no-untyped-call]
            return Reply(int(response.status), _parsed(data))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:  # noqa: UP041 - aiohttp's are subclasses of this name
            return Reply(0, {"message": f"the API server does not answer: {str(error) or type(error).__name__}"})


async def connect(called: Called) -> Kube:
    """Make a client for the cluster that this pod is in, else for the one of the kubeconfig.

    Parameters
    ----------
    called : callable
        As of `Kube`.

    Raises
    ------
    NoCluster
        There is neither.
    """
    configuration = Configuration()
    try:
        incluster_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        try:
            await kube_config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise NoCluster(f"neither in a pod of a cluster nor with a kubeconfig ({error}); set KUBECONFIG") from error
    client = ApiClient(configuration)
    client.user_agent = MANAGER
    return Kube(client, called)


def _path(kind: str, namespace: str, name: str | None = None) -> str:
    base, plural = _PLACES[kind]
    return f"{base}/namespaces/{quote(namespace)}/{plural}" + (f"/{quote(name)}" if name else "")


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except ValueError:
        return {"message": data[:512].decode("utf-8", "replace")}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
