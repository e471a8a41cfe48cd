from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedcore.aggregation.layout import InvalidHeader, Layout, header_size


def encode(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def test_from_header_reads_what_the_library_writes():
    data = safetensors.numpy.save({"b": np.zeros((2, 3), np.float32), "a": np.zeros((), np.int64), "c": np.zeros((0, 4), bool)}, {"k": "v"})
    layout = Layout.from_header(data[: header_size(data)])
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in layout.tensors} == {
        "b": ("F32", (2, 3)),
        "a": ("I64", ()),
        "c": ("BOOL", (0, 4)),
    }
    assert layout.file_bytes == len(data)


def test_encode_is_read_by_the_library():
    layout = Layout.from_header(encode({"ü": entry(), "n": entry("I64", (), (8, 16)), "e": entry("F16", (0,), (8, 8))}))
    arrays = safetensors.numpy.load(layout.encode() + np.array([1, 2], np.float32).tobytes() + np.array(7).tobytes())
    assert arrays["ü"].tolist() == [1, 2]
    assert arrays["n"] == 7
    assert arrays["e"].shape == (0,)


def test_encode_is_its_own_inverse_without_metadata():
    layout = Layout.from_header(encode({"__metadata__": {"a": "b"}, "x": entry("U8", (3,), (0, 3)), "y": entry(offsets=(3, 11))}))
    again = Layout.from_header(layout.encode())
    assert again.tensors == layout.tensors
    assert again.header_bytes % 8 == 0
    assert again.encode() == layout.encode()


def test_from_header_takes_names_in_any_order_and_sorts_by_offset():
    layout = Layout.from_header(encode({"second": entry(offsets=(8, 16)), "first": entry()}))
    assert [tensor.name for tensor in layout.tensors] == ["first", "second"]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        pytest.param(b"[]", "not a JSON object", id="list"),
        pytest.param(b"", "not a JSON object", id="empty"),
        pytest.param(b"{", "not JSON", id="broken JSON"),
        pytest.param(b'{"a":NaN}', "not JSON", id="NaN"),
        pytest.param(b'{"\xff":1}', "not UTF-8", id="not UTF-8"),
        pytest.param(b'{"a":' * 100_000, "too deeply", id="deep objects"),
        pytest.param(b'{"a":' + b"[" * 100_000, "too deeply", id="deep lists"),
        pytest.param(b'{"a":{"shape":[' + b"9" * 5000 + b"]}}", "not JSON", id="endless number"),
        pytest.param(b'{"a":1,"a":2}', "'a' appears twice", id="duplicate tensor"),
        pytest.param(b'{"a":{"dtype":"F32","dtype":"F32"}}', "'dtype' appears twice", id="duplicate member"),
        pytest.param({"a": 5}, "tensor 'a' must have", id="tensor is a number"),
        pytest.param({"a": entry(more=1)}, "tensor 'a' must have", id="unknown member"),
        pytest.param({"a": {"dtype": "F32", "shape": []}}, "tensor 'a' must have", id="missing member"),
        pytest.param({"a": entry("F33")}, "'a' has an unknown dtype 'F33'", id="unknown dtype"),
        pytest.param({"a": entry(dtype=[])}, "'a' has an unknown dtype", id="dtype is a list"),
        pytest.param({"a": entry(shape=(-2,))}, "'a' has a shape", id="negative size"),
        pytest.param({"a": entry(shape=(True, 2))}, "'a' has a shape", id="size is a bool"),
        pytest.param({"a": entry(shape=(2.0,))}, "'a' has a shape", id="size is a float"),
        pytest.param({"a": entry(shape=(1,) * 65)}, "'a' has a shape", id="too many dimensions"),
        pytest.param({"a": entry(shape=(2**64,))}, "'a' has a shape", id="huge size"),
        pytest.param({"a": entry(shape=(2**47,) * 64)}, "'a' has 8 bytes", id="huge product"),
        pytest.param({"a": entry(shape=(3,))}, "'a' has 8 bytes, its dtype F32 and shape [3] need 12", id="shape too large"),
        pytest.param({"a": entry("F4", (3,), (0, 2))}, "'a' has 2 bytes", id="half a byte left over"),
        pytest.param({"a": entry(offsets=(8, 0))}, "'a' has data_offsets", id="offsets backwards"),
        pytest.param({"a": entry(offsets=(0, 8, 9))}, "'a' has data_offsets", id="three offsets"),
        pytest.param({"a": entry(offsets=(4, 12))}, "'a' starts at byte 4", id="gap at the start"),
        pytest.param({"a": entry(), "b": entry(offsets=(9, 17))}, "'b' starts at byte 9", id="gap"),
        pytest.param({"a": entry(), "b": entry(offsets=(4, 12))}, "'b' starts at byte 4", id="overlap"),
        pytest.param({"a": entry(), "b": entry()}, "'b' starts at byte 0", id="alias"),
        pytest.param({"__metadata__": {"a": 1}}, "__metadata__", id="metadata with a number"),
        pytest.param({"__metadata__": []}, "__metadata__", id="metadata is a list"),
        pytest.param({"\ud800": entry()}, "not UTF-8", id="lone surrogate"),
    ],
)
def test_from_header_refuses(header, says):
    with pytest.raises(InvalidHeader) as refused:
        Layout.from_header(encode(header))
    assert says in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_header_size_refuses_what_is_too_long():
    with pytest.raises(InvalidHeader, match="is this a safetensors file"):
        header_size(b"<html><body>")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        pytest.param({"a": entry(), "b": entry(offsets=(8, 16))}, None, id="same"),
        pytest.param({"b": entry(), "a": entry(offsets=(8, 16))}, None, id="another order"),
        pytest.param({"a": entry()}, "tensor 'b' is missing", id="missing"),
        pytest.param({"a": entry(), "b": entry(offsets=(8, 16)), "c": entry(shape=(0,), offsets=(16, 16))}, "'c' is not in", id="extra"),
        pytest.param({"a": entry(), "b": entry("I32", offsets=(8, 16))}, "'b' is I32 [2], the base has F32 [2]", id="dtype"),
        pytest.param({"a": entry(), "b": entry(shape=(1, 2), offsets=(8, 16))}, "'b' is F32 [1, 2], the base", id="shape"),
    ],
)
def test_differs_from(other, says):
    base = Layout.from_header(encode({"a": entry(), "b": entry(offsets=(8, 16))}))
    difference = Layout.from_header(encode(other)).differs_from(base)
    assert difference is None if says is None else says in difference


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)
entries = st.dictionaries(
    st.sampled_from(["a", "b", "__metadata__", ""]) | st.text(max_size=3),
    json_values
    | st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "U8", "F4", "I64", 3]),
            "shape": st.lists(st.integers(-1, 4), max_size=3) | json_values,
            "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | json_values,
        }
    ),
    max_size=3,
)


@given(st.one_of(entries.map(encode), st.binary(max_size=60), st.binary(max_size=60).map(encode)))
def test_from_header_raises_nothing_but_invalid_header(data):
    try:
        layout = Layout.from_header(data)
    except InvalidHeader:
        return
    assert Layout.from_header(layout.encode()).tensors == layout.tensors


@given(st.data())
def test_from_header_survives_flipped_bytes(data):
    header = bytearray(encode({"weight": entry(shape=(2, 3), offsets=(0, 24)), "n": entry("I64", (), (24, 32))}))
    for position in data.draw(st.lists(st.integers(0, len(header) - 1), max_size=4)):
        header[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidHeader):
        Layout.from_header(header)
