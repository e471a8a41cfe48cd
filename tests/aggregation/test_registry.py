from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

import fedcore.aggregation
from fedcore.aggregation import ALGORITHMS, ExactMean
from fedcore.aggregation.version import StoredFile, VersionWriter


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_goes_by_its_own_name(name):
    assert ALGORITHMS[name].name == name


def test_the_package_imports_no_clock_and_no_system():
    imported = set()
    for path in Path(inspect.getfile(fedcore.aggregation)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert imported & set(sys.stdlib_module_names) == {
        "__future__", "collections", "dataclasses", "enum", "functools", "json", "math", "struct", "sys", "typing",
        "ctypes", "pathlib",  # the kernels: a library that lies beside the package
    }  # fmt: skip
    assert imported - set(sys.stdlib_module_names) == {"fedcore", "numpy"}


class Momentum:
    """The server step of FedAvgM with learning rate 1, for float32: that the interface has room for it."""

    name, keeps_updates, keeps_state = "momentum", False, True

    def check_parameters(self, parameters):
        return []

    def min_updates(self, parameters):
        return 1

    def begin(self, base, parameters, state=None, workspace=None):
        return MomentumRound(base, float(parameters["beta"]), state)


class MomentumRound:
    def __init__(self, base, beta, state):
        self.base, self.beta, self.state, self.mean = base, beta, state, ExactMean(base.grid)

    def add(self, *updates):
        self.mean.add(*updates)

    def finish(self, write, write_state=None, *, last=()):
        self.add(*last)
        versions, states = VersionWriter(self.base.layout, write), VersionWriter(self.base.layout, write_state)
        for piece in self.mean.pieces():
            mean = piece.raw.view(np.float32)
            old, velocity = np.empty_like(mean), np.zeros_like(mean)
            self.base.read(piece.index, piece.start * 4, memoryview(old).cast("B"))
            if self.state:
                self.state.read(piece.index, piece.start * 4, memoryview(velocity).cast("B"))
            velocity = self.beta * velocity + (mean - old)
            versions.append(piece.index, (old + velocity).view(np.uint32))
            states.append(piece.index, velocity.view(np.uint32))
        states.finish()
        return versions.finish()


def test_a_server_optimizer_fits_the_interface(files):
    algorithm, data, state = Momentum(), files.pack({"w": np.zeros(2, np.float32)}), None
    for _ in range(2):
        base = fedcore.aggregation.BaseVersion(files.checked(data), files.read_at(data))
        aggregation = algorithm.begin(base, {"beta": "0.5"}, state)
        aggregation.add(files.update({"w": np.array([1, 2], np.float32)}))
        version, moved = bytearray(), bytearray()
        aggregation.finish(version.extend, moved.extend)
        data, state = bytes(version), StoredFile(files.checked(bytes(moved)), files.read_at(bytes(moved)))
    assert files.checked(data).peaks == (3.0,)  # 0 -> 2 -> 2 + (0.5 * 2 + 0)
