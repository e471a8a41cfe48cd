from __future__ import annotations

import numpy as np
import pytest

from fedcore.aggregation import ALGORITHMS, BaseVersion, NoUpdates


@pytest.fixture
def fedavg():
    return ALGORITHMS["fedavg"]


def test_fedavg_needs_one_update_and_no_parameters(fedavg):
    assert fedavg.check_parameters({}) == []
    assert fedavg.min_updates({}) == 1
    assert not fedavg.keeps_updates
    assert not fedavg.keeps_state


def test_fedavg_refuses_parameters(fedavg):
    assert fedavg.check_parameters({"beta": "0.9"}) == ["beta: fedavg has no parameters"]


def test_finish_returns_what_a_check_of_the_file_finds(fedavg, files):
    base = files.base({"w": np.array([1.0, -5.0], np.float32), "n": np.array(3), "e": np.zeros(0)}, metadata={"format": "pt"})
    aggregation = fedavg.begin(base, {})
    aggregation.add(files.update({"w": np.array([1.0, -9.0], np.float32), "n": np.array(-8), "e": np.zeros(0)}, 5))
    out = bytearray()
    assert aggregation.finish(out.extend) == files.checked(bytes(out), base.layout)
    assert out.startswith(base.layout.encode())


def test_versions_follow_one_another(fedavg, files):
    data = files.pack({"w": np.zeros(3, np.float32)})
    for value in (1.0, 3.0, 40.0):
        base = BaseVersion(files.checked(data), files.read_at(data))
        data = files.average(base, [files.update({"w": np.full(3, value, np.float32)}, 7)])
    assert files.checked(data).peaks == (40.0,)
    assert BaseVersion(files.checked(data), files.read_at(data)).grid.exponents == (6,)


def test_finish_without_updates_writes_nothing(fedavg, files):
    out = bytearray()
    with pytest.raises(NoUpdates):
        fedavg.begin(files.base({"w": np.zeros(1)}), {}).finish(out.extend)
    assert not out
