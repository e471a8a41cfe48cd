"""An open round on a real coordinator."""

from __future__ import annotations

import pytest
from safetensors.numpy import save

from support.coordinator import Worker, model, start_coordinator, stop_coordinator


@pytest.fixture
def coordinator(tmp_path):
    made = start_coordinator(tmp_path)
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
