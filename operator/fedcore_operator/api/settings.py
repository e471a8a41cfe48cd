"""What the operator is told by its chart: ``FEDCORE_*`` variables, parsed once at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, Json

from fedcore.options import InvalidOptions, ProcessOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["InvalidOptions", "Peers", "Settings"]

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Peers = Annotated[list[dict[str, Any]], Json]
"""JSON of network policy peers or rules, as Kubernetes writes them."""


def _listed(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Settings(ProcessOptions):
    """Settings of one operator. Field ``x`` is the variable ``FEDCORE_X``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    operator_namespace: str = Field(min_length=1)
    """Namespace of the operator's own pod: network policies let it poll from there."""
    operator_pod: str = "fedcore-operator"
    """Name of the operator's own pod: holder of the Lease, reporter of events."""
    bind_address: str = "127.0.0.1"
    """Address that probes are answered at; the chart gives the pod's own, of whatever family."""
    health_port: int = Field(8081, ge=0, le=65535)
    """Port of ``/healthz``."""
    metrics_port: int = Field(8080, ge=0, le=65535)
    """Port of ``/metrics`` and ``/readyz``."""
    ca_dir: str = "/etc/fedcore/ca"
    """Folder in which the Secret with our authority is mounted."""
    ca_secret: str = "fedcore-ca"  # noqa: S105 - a name
    """Name of that Secret, which the operator makes at its first start."""
    namespaces: Names = ()
    """Namespaces to watch, comma-separated; empty: all of them."""
    coordinator_image: str = Field(min_length=1)
    """Image of coordinators that name none."""
    worker_image: str = Field(min_length=1)
    """Image of workers that name none."""
    coordinator_pull_policy: PullPolicy = "IfNotPresent"
    """Of coordinators' containers. Images are named by version or digest, so what is there is right."""
    worker_pull_policy: PullPolicy = "IfNotPresent"
    """Of workers' containers."""
    image_pull_secrets: Names = ()
    """Names of pull Secrets, comma-separated; they have to exist in the jobs' namespaces."""
    network_policy: bool = True
    """Make network policies for each job."""
    worker_egress: Peers = Field("[]", validate_default=True)
    """JSON list of egress rules that all workers get besides the coordinator and DNS."""
    monitoring_from: Peers = Field("[]", validate_default=True)
    """JSON list of peers that may scrape coordinators."""
    metrics_monitored: bool = False
    """Somebody scrapes: coordinators then wait for their last scrape, see ``spec.metrics.lingerSeconds``."""
    progress_poll_seconds: int = Field(10, ge=1, le=300)
    """How often a running coordinator is asked for its progress. 10: a round of a minute shows several times."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe lines that are logged."""
    log_format: Literal["text", "json"] = "json"
    """How a line looks."""

    @classmethod
    def _problem(cls, item: Mapping[str, Any]) -> str:
        if not item["loc"]:
            return str(item["msg"])
        name = cls.variable(str(item["loc"][0]))
        return f"{name} is required" if item["type"] == "missing" else f"{name}: {item['msg']}, got {item['input']!r}"
