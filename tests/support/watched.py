"""A run that a Prometheus has watched, and what it has seen of it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.prometheus import Prometheus
    from support.runs import Ended

NAMESPACE = "local"


@dataclass(frozen=True, eq=False)
class Watched:
    """The run has ended; times are from before its start until after its end."""

    prometheus: Prometheus
    run: Ended
    job: str
    start: float
    end: float

    @property
    def span_seconds(self) -> int:
        return int(self.end - self.start) + 1

    def last(self, metric: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the last values of a metric, by those of some labels."""
        selector = f'{metric}{{namespace="{NAMESPACE}", federatedjob="{self.job}"}}'
        samples = self.prometheus.query(f"max by ({', '.join(labels)}) (last_over_time({selector}[{self.span_seconds}s]))", self.end)
        return {tuple(found.get(label, "") for label in labels): value for found, value in samples}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def target(port: int) -> dict:
    """Return an entry of ``static_configs``, labelled as docs/monitoring.md says."""
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": NAMESPACE}}
