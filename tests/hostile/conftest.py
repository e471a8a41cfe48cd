"""An open round on a real coordinator."""

from __future__ import annotations

import pytest
from safetensors.numpy import save

from support.coordinator import Worker, model, start_coordinator, stop_coordinator
from support.tls import certificate_files


@pytest.fixture
def coordinator(request, tmp_path):
    """Speaks TLS where a test's parameter says so."""
    tls = getattr(request, "param", "plain") == "TLS"
    made = start_coordinator(tmp_path, files=certificate_files(tmp_path / "tls") if tls else None)
    yield made
    stop_coordinator(made)


@pytest.fixture
def open_round(coordinator):
    """Two registered workers with round 1 in hand; returns the base id."""
    first, second = Worker(coordinator, 0).register(), Worker(coordinator, 1).register()
    coordinator.workers = [first, second]
    task = first.task()
    assert task["kind"] == "init"
    assert first.deliver(0, "", save(model())) == "accepted"
    base = first.task()["base"]["id"]
    assert second.task()["base"]["id"] == base
    return base
