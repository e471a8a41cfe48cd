"""What a process exposes at /metrics, as a test reads it: parsed by prometheus-client, judged by promtool and by the catalogue."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from support.prometheus import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fedcore.metrics import Metric

PROCESS = "process_"
"""What the library's collector of the process itself exposes."""


@dataclass(frozen=True)
class Scrape:
    """One exposition."""

    text: str

    def __post_init__(self):
        samples = {}
        families = {}
        for family in text_string_to_metric_families(self.text):
            families[family.name + ("_total" if family.type == "counter" else "")] = family
            for sample in family.samples:
                key = (sample.name, *sorted(sample.labels.items()))
                assert key not in samples, f"twice: {key}"
                samples[key] = sample.value
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "families", families)

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of all series of this name that have these labels; None if there is none."""
        found = [value for (own, *pairs), value in self.samples.items() if own == name and labels.items() <= dict(pairs).items()]
        return sum(found) if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the values of one metric by one of its labels."""
        return {dict(pairs)[label]: value for (own, *pairs), value in self.samples.items() if own == name}

    def one(self, name: str, label: str) -> str | None:
        """Return what this label says in the one series of a metric that is 1."""
        ones = [dict(pairs)[label] for (own, *pairs), value in self.samples.items() if own == name and value == 1]
        assert len(ones) <= 1, ones
        return ones[0] if ones else None

    def assert_as_catalogued(self, catalogue: Iterable[Metric], constant: tuple[str, ...] = ("federatedjob",)) -> None:
        """Every metric is in the catalogue and the other way round, with its type, help, labels and known values."""
        declared = {metric.name: metric for metric in catalogue}
        exposed = {name: family for name, family in self.families.items() if not name.startswith(PROCESS)}
        assert set(exposed) == set(declared)
        for name, metric in declared.items():
            assert (exposed[name].type, exposed[name].documentation) == (metric.kind, metric.help)
        series_names = {series: metric for metric in declared.values() for series in metric.series_names}
        for name, *pairs in self.samples:
            labels = dict(pairs)
            assert all(key in labels for key in constant), (name, labels)
            if name.startswith(PROCESS):
                continue
            metric = series_names[name]
            assert set(labels) - set(constant) - {"le"} == set(metric.label_names), (name, labels)
            for label in metric.labels:
                assert not label.values or labels[label.name] in label.values, (name, labels)

    def assert_clean(self) -> None:
        """``promtool check metrics`` has nothing to say."""
        done = subprocess.run([program("promtool"), "check", "metrics"], input=self.text, text=True, capture_output=True, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def scrape(url: str, patience: float = 20) -> Scrape:
    """Fetch ``/metrics`` below a base URL, and say as Prometheus does for how many seconds the answer is waited for."""
    request = urllib.request.Request(f"{url}/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": f"{patience:f}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return Scrape(answer.read().decode())


def scrape_until(url: str, wanted: Callable[[Scrape], object], seconds: float = 30.0) -> Scrape:
    """Scrape until what is wanted is there; a server that is not there yet is waited for."""
    deadline = time.monotonic() + seconds
    seen = None
    while time.monotonic() < deadline:
        try:
            seen = scrape(url)
        except OSError:
            seen = None
        if seen is not None and wanted(seen):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s; last seen:\n{seen and seen.text}")
