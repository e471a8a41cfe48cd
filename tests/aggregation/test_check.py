from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedcore.aggregation.check import Checked, Rejected, UpdateCheck, check_file
from fedcore.aggregation.layout import header_size
from fedcore.engine.reasons import Rejection

TENSORS = {
    "flag": np.array([True, False, True]),
    "weight": np.array([[1.5, -3.25], [0, 2]], np.float32),
    "half": np.array([-0.5, 0.25, 0.125], np.float16),
    "wide": np.array([1e300, -2e300]),
    "empty": np.zeros((0, 3), np.float32),
    "count": np.array(-7),
    "byte": np.array([-128, 5], np.int8),
    "unsigned": np.array([2**64 - 1], np.uint64),
}
PEAKS = (1, 3.25, 0.5, 2e300, 0, 7, 128, 2**64 - 1)


def run(data, sizes=(), base=None, size_bytes=None):
    check = UpdateCheck(base, size_bytes=size_bytes)
    for size in sizes:
        check.feed(memoryview(data)[:size])
        data = data[size:]
    check.feed(data)
    return check.finish()


def header_of(data):
    return data[: header_size(data)]


def reason(result):
    assert isinstance(result, Rejected), result
    return result.reason


def test_finish_returns_layout_and_peaks(files):
    data = files.pack(TENSORS)
    result = run(data, base=files.base(TENSORS).layout, size_bytes=len(data))
    assert isinstance(result, Checked)
    assert result.peaks == PEAKS
    assert [type(peak) for peak in result.peaks] == [int, float, float, float, float, int, int, int]
    assert [tensor.name for tensor in result.layout.tensors] == list(TENSORS)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_pieces_of_any_size_give_the_same_result(files, sizes):
    data = files.pack(TENSORS)
    assert run(data, sizes).peaks == PEAKS


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 3))
def test_a_bad_value_is_found_wherever_pieces_end(files, sizes, index):
    weight = TENSORS["weight"].copy()
    weight.flat[index] = np.nan
    result = run(files.pack(TENSORS | {"weight": weight}), sizes)
    assert result == Rejected(Rejection.NON_FINITE, f"tensor 'weight' holds NaN or infinity at flat index {index}")


def test_peaks_across_many_pieces(files):
    values = np.linspace(-1, 0.5, 200_001, dtype=np.float32)
    data = files.pack({"tag": np.array([1], np.uint8), "w": values})
    assert run(data).peaks == (1, 1.0)
    assert run(data, [100_003] * 7).peaks == (1, 1.0)
    values[170_000] = -np.inf
    assert run(files.pack({"w": values})).detail.endswith("flat index 170000")


def test_order_of_tensors_may_differ_from_the_base(files):
    shuffled = dict(reversed(TENSORS.items()))
    assert isinstance(run(files.pack(shuffled), base=files.base(TENSORS).layout), Checked)
    library = safetensors.numpy.save(TENSORS, {"format": "np"})
    assert isinstance(run(library, base=files.base(TENSORS).layout), Checked)


@pytest.mark.parametrize("code", ["F32", "F16", "BF16", "F64"])
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("mantissa", [0, 1], ids=["infinity", "nan"])
def test_non_finite_values_of_each_dtype(files, code, sign, mantissa):
    exponent_bits, mantissa_bits = {"F32": (8, 23), "F16": (5, 10), "BF16": (8, 7), "F64": (11, 52)}[code]
    size = 1 + exponent_bits + mantissa_bits
    largest = ((1 << exponent_bits) - 1) << mantissa_bits
    bad = sign << (size - 1) | largest | mantissa
    values = np.array([largest - 1, bad, largest - 1], f"uint{size}")
    assert run(files.pack({"w": values}, codes={"w": code})).detail == "tensor 'w' holds NaN or infinity at flat index 1"
    values[1] = (1 << (size - 1)) | (largest - 1)
    assert isinstance(run(files.pack({"w": values}, codes={"w": code})), Checked)


def test_magnitudes_of_bfloat16(files):
    bits = np.array([0x3F80, 0xC040], np.uint16)  # 1.0, -3.0
    assert run(files.pack({"w": bits}, codes={"w": "BF16"})).peaks == (3.0,)


@pytest.mark.parametrize("cut", [0, 5, 8, 30, -1], ids=["nothing", "in the prefix", "after the prefix", "in the header", "in the data"])
def test_a_body_that_ends_early_has_the_wrong_length(files, cut):
    data = files.pack(TENSORS)
    assert reason(run(data[:cut] if cut else b"")) is Rejection.LENGTH


def test_a_body_that_goes_on_has_the_wrong_length(files):
    assert reason(run(files.pack(TENSORS) + b"x")) is Rejection.LENGTH
    assert reason(run(files.pack({}) + b"x")) is Rejection.LENGTH


def test_an_announced_length_is_checked_with_the_header(files):
    data = files.pack(TENSORS)
    check = UpdateCheck(size_bytes=len(data) + 1)
    rejected = check.feed(header_of(data))
    assert rejected == Rejected(Rejection.LENGTH, f"the body has {len(data) + 1} bytes, its header says {len(data)}")


@pytest.mark.parametrize("data", [b"\x00" * 8, b"PK\x03\x04 a zip, or so", b"\x02" + b"\x00" * 7 + b"[]", b"{}" * 50])
def test_garbage_is_a_wrong_header(data):
    assert reason(run(data)) is Rejection.HEADER


def test_a_header_much_longer_than_the_base_is_refused_before_it_is_read(files):
    data = files.pack(TENSORS, metadata={"padding": "x" * 100_000})
    assert isinstance(run(data), Checked)
    assert UpdateCheck(files.base(TENSORS).layout).feed(data[:8]).reason is Rejection.HEADER


def test_another_layout_is_refused_with_the_header(files):
    data = files.pack(TENSORS | {"weight": np.zeros((4, 1), np.float32)})
    check = UpdateCheck(files.base(TENSORS).layout)
    assert check.feed(header_of(data)) == Rejected(Rejection.LAYOUT, "tensor 'weight' is F32 [4, 1], the base has F32 [2, 2]")
    assert reason(check.finish()) is Rejection.LAYOUT


def test_first_weights_with_an_unusable_dtype_are_refused(files):
    data = files.pack({"z": np.zeros(1, np.int64)}, codes={"z": "C64"})
    result = run(data)
    assert reason(result) is Rejection.LAYOUT
    assert "tensor 'z' is C64, which cannot be averaged" in result.detail


def test_the_first_verdict_stands(files):
    check = UpdateCheck()
    first = check.feed(files.pack({"w": np.array([np.nan, 1.0])}))
    assert check.feed(b"more") == first == check.finish()


def test_check_file_reads_short_reads_to_the_end(files):
    data = files.pack(TENSORS)
    read = files.read_at(data)
    assert check_file(lambda offset, buffer: read(offset, buffer[:7]), len(data)).peaks == PEAKS


def test_check_file_says_when_the_file_is_shorter(files):
    data = files.pack(TENSORS)
    with pytest.raises(EOFError, match="1 more"):
        check_file(files.read_at(data), len(data) + 1)


@given(st.binary(max_size=100), st.lists(st.integers(0, 30), max_size=10))
def test_random_bytes_give_a_verdict(data, sizes):
    assert isinstance(run(data, sizes), Rejected | Checked)
