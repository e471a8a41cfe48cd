from __future__ import annotations

import math

import numpy as np
import pytest

from fedcore.aggregation import Checked, Grid, Layout, Tensor, UnsupportedTensor, out_of_range, require_supported


@pytest.mark.parametrize(
    ("peak", "exponent"),
    [
        pytest.param(0.0, 0, id="zero"),
        pytest.param(0.001, 0, id="never below one"),
        pytest.param(1.0, 0, id="one"),
        pytest.param(np.nextafter(1.0, 2), 1, id="just above one"),
        pytest.param(2.0, 1, id="a power of two is its own scale"),
        pytest.param(3.0, 2, id="rounds up"),
        pytest.param(1.7e308, 1024, id="the scale itself need not be a float"),
    ],
)
def test_grid_of(files, peak, exponent):
    grid = files.base({"w": np.array([0.0, -peak])}).grid
    assert grid.exponents == (exponent,)
    assert grid.step(0) == math.ldexp(1, exponent - 21)


@pytest.mark.parametrize(
    ("value", "samples", "fits"),
    [
        pytest.param(17_895.0, 60_000, True, id="60,000 samples, inside"),
        pytest.param(17_896.0, 60_000, False, id="60,000 samples, outside"),
        pytest.param(2.0**30, 1, False, id="the bound itself"),
        pytest.param(np.nextafter(np.float32(2**30), 0), 1, True, id="the float32 below the bound"),
        pytest.param(-1.0, 2**29 - 1, True, id="most samples"),
        pytest.param(-2.5, 2**29 - 1, False, id="most samples, outside"),
    ],
)
def test_out_of_range_of_floats(files, value, samples, fits):
    base = files.base({"w": np.zeros(2, np.float32)})
    update = files.update({"w": np.array([0, value], np.float32)})
    verdict = out_of_range(update.checked, base.grid, samples)
    assert (verdict is None) is fits
    assert fits or f"the bound for {samples} samples is" in verdict


def test_out_of_range_follows_the_scale_of_the_base(files):
    update = files.update({"w": np.array([2.0**31])})
    assert out_of_range(update.checked, files.base({"w": np.array([1.0])}).grid, 1)
    assert out_of_range(update.checked, files.base({"w": np.array([3.0])}).grid, 1) is None


def test_out_of_range_names_the_tensor_in_another_order(files):
    base = files.base({"a": np.zeros(1), "b": np.array([2.0**40])})
    update = files.update({"b": np.array([2.0**50]), "a": np.array([2.0**50])})
    assert out_of_range(update.checked, base.grid, 1) == (
        "tensor 'a' holds a value of magnitude 1.12589991e+15, the bound for 1 samples is 1.07374182e+09"
    )


@pytest.mark.parametrize(
    ("value", "samples", "fits"),
    [
        pytest.param(2**51 - 1, 1, True, id="largest"),
        pytest.param(-(2**51), 1, False, id="one more"),
        pytest.param(-(2**63), 1, False, id="smallest int64"),
        pytest.param(2**31, 2**20, False, id="product on the bound"),
        pytest.param(2**31 - 1, 2**20, True, id="product below the bound"),
    ],
)
def test_out_of_range_of_integers(files, value, samples, fits):
    update = files.update({"n": np.array(value)})
    assert (out_of_range(update.checked, files.base({"n": np.array(0)}).grid, samples) is None) is fits


def test_out_of_range_of_bool(files):
    base = files.base({"m": np.array([True])})
    update = files.update({"m": np.array([2], np.uint8)}, codes={"m": "BOOL"})
    assert out_of_range(update.checked, base.grid, 1) == "tensor 'm' holds the byte 2, bool is 0 or 1"


@pytest.mark.parametrize("samples", [0, -1, 2**29])
def test_out_of_range_refuses_samples(files, samples):
    base = files.base({"w": np.zeros(1)})
    with pytest.raises(ValueError, match="samples must be 1 to"):
        out_of_range(base.checked, base.grid, samples)


@pytest.mark.parametrize(("code", "shape"), [("C64", (1,)), ("F8_E4M3", (8,)), ("F4", (16,))])
def test_unsupported_tensors_are_named(code, shape):
    layout = Layout((Tensor("z", code, shape, 0, 8),), 64, 8)
    with pytest.raises(UnsupportedTensor, match=f"tensor 'z' is {code}"):
        require_supported(layout)
    with pytest.raises(UnsupportedTensor, match="tensor 'z'"):
        Grid.of(Checked(layout, (0.0,)))
