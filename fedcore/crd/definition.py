"""The CustomResourceDefinition around the schema: names, columns, subresources."""

from __future__ import annotations

from typing import Any

import yaml

from fedcore.crd.structural import Schema, structural
from fedcore.spec import API_VERSION, KIND, FederatedJob, Spec, Status

__all__ = ["definition", "definition_yaml"]

_GROUP, _VERSION = API_VERSION.split("/")
_PLURAL = "federatedjobs"
_HEAD = "# Made by `fedcore crd` from fedcore/spec. Change the models, then run `make crd`.\n"

_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Round", "string", ".status.progress.display", 0),
    ("Workers", "string", ".status.workers.display", 0),
    ("Quorum", "string", '.status.conditions[?(@.type=="QuorumMet")].status', 0),
    ("Accuracy", "string", ".status.progress.accuracy", 0),
    ("Restarts", "integer", ".status.restarts", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Required", "integer", ".status.quorum.required", 1),
    ("Late", "integer", ".status.progress.late", 1),
    ("Coordinator", "string", ".status.coordinator.podName", 1),
    ("Reason", "string", '.status.conditions[?(@.type=="Failed")].reason', 1),
)
"""Name, type, place, and whether it shows with ``-o wide`` only. A column cannot join two fields: the operator writes ready texts."""


def definition() -> dict[str, Any]:
    """Return the CRD as a manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{_PLURAL}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": _PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["fj"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": _VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.workers.replicas",
                            "statusReplicasPath": ".status.workers.active",
                            "labelSelectorPath": ".status.workers.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def definition_yaml() -> str:
    """Return the CRD as YAML, as it is committed."""
    return _HEAD + yaml.dump(definition(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1_000_000)


class _Plain(yaml.SafeDumper):
    """Without anchors: what two fields share is written twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - yaml's signature
        return True


def _column(name: str, kind: str, path: str, priority: int) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}


def _schema() -> Schema:
    root = structural(FederatedJob, defaults=True)
    return {
        "description": root["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            # What these three look like is the API server's own business; it refuses anything else here.
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(Spec, defaults=True),
            "status": structural(Status, defaults=False),
        },
        "x-kubernetes-validations": root["x-kubernetes-validations"],
    }
