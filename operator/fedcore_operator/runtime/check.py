"""Whether a cluster has what the operator needs: the CRD, and each right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore_operator.io.rights import JOB_RIGHTS, OWN_RIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcore_operator.api.settings import Settings
    from fedcore_operator.io.kube import Kube

__all__ = ["problems"]


async def problems(kube: Kube, settings: Settings) -> list[str]:
    """Return what is missing, one line each; empty if all is there."""
    found = []
    for namespace in settings.namespaces or (None,):
        reply = await kube.list_jobs(namespace, limit=1)
        match reply.answer.code:
            case 200:
                pass
            case 0:
                return [reply.answer.message]
            case 404:
                return ["the CRD federatedjobs.fedcore.dev is not installed; `kubectl apply -f crds/`, or the chart with crds.install=true"]
            case 403:
                pass  # said below, right by right
            case code:
                found.append(f"jobs cannot be listed: {code} {reply.answer.message}")
    for attributes in _wanted(settings):
        if not await kube.may(attributes):
            where = f"namespace {attributes['namespace']}" if "namespace" in attributes else "all namespaces"
            subresource = f"/{attributes['subresource']}" if "subresource" in attributes else ""
            group = f".{attributes['group']}" if attributes["group"] else ""
            found.append(
                f"no right to {attributes['verb']} {attributes['resource']}{subresource}{group} in {where}; see charts/fedcore, rbac"
            )
    return found


def _wanted(settings: Settings) -> Iterator[dict[str, str]]:
    for namespace in settings.namespaces or (None,):
        for right in JOB_RIGHTS:
            resource, _, subresource = right.resource.partition("/")
            for verb in right.verbs:
                yield {
                    "group": right.group,
                    "resource": resource,
                    "verb": verb,
                    **({"subresource": subresource} if subresource else {}),
                    **({"namespace": namespace} if namespace else {}),
                }
    for right in OWN_RIGHTS:
        for verb in right.verbs:
            for name in right.names or ("",):
                asked = {"group": right.group, "resource": right.resource, "verb": verb, "namespace": settings.operator_namespace}
                yield {**asked, **({"name": name} if name else {})}
