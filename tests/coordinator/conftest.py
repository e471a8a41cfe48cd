"""Files of weights that pass the coordinator's checks, and a coordinator in a process of its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save

from fedcore.aggregation import Checked, check_file
from fedcore.coordinator.spool import Spool, Upload


def read_at(data):
    def read(offset, buffer):
        piece = data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    return read


def checked(data):
    result = check_file(read_at(data), len(data))
    assert isinstance(result, Checked), result
    return result


def weights(value=0.0, values=1000):
    return save({"bias": np.arange(3, dtype=np.float32), "weight": np.full((values,), value, np.float32)})


def body(data):
    """What `Versions.create` takes: writes the bytes in two pieces."""

    def write_all(write):
        write(memoryview(data)[:100])
        write(memoryview(data)[100:])
        return checked(data)

    return write_all


@pytest.fixture(scope="session")
def bodies():
    return SimpleNamespace(read_at=read_at, checked=checked, weights=weights, body=body)


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def upload(spool):
    """Make an upload of bytes, in a file of the spool."""

    def make(data, session="s0", name="u0", round_number=1):
        file = spool.take(len(data))
        file.write(memoryview(data))
        return Upload(name, session, round_number, file, checked(data), len(data), 0.0)

    return make
