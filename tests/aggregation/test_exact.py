from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedcore.aggregation import ALGORITHMS, MAX_UPDATES, ExactMean, NoUpdates, UpdateRefused, Workspace


def model(seed, scale=1.0):
    """Every dtype, an empty tensor, a scalar, and one that takes several pieces."""
    rng = np.random.default_rng(seed)
    return {
        "weight": (rng.normal(size=(300, 500)) * scale).astype(np.float32),
        "bias": np.float32(rng.normal()),
        "half": rng.normal(size=1000).astype(np.float16),
        "brain": (rng.normal(size=1000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16),
        "wide": rng.normal(size=70_000),
        "empty": np.zeros((0, 7), np.float32),
        "counter": np.int64(rng.integers(0, 10_000)),
        "small": rng.integers(-128, 128, 100).astype(np.int8),
        "unsigned": rng.integers(0, 2**16, 100).astype(np.uint16),
        "mask": rng.integers(0, 2, 100).astype(bool),
    }


OPTIONS = {"codes": {"brain": "BF16"}}


def from_bits(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def exact_means(arrays, samples):
    total = sum(samples)
    columns = zip(*(np.ravel(array).tolist() for array in arrays), strict=True)
    return [sum((Fraction(value) * n for value, n in zip(column, samples, strict=True)), Fraction()) / total for column in columns]


def mean_of(files, base, values, samples, *, code=None):
    """The mean of one tensor, as it stands in the file."""
    options = {"codes": {"w": code}} if code else {}
    updates = [files.update({"w": value}, n, **options) for value, n in zip(values, samples, strict=True)]
    out = files.average(files.base({"w": base}, **options), updates)
    size = 8 + int.from_bytes(out[:8], "little")
    return np.frombuffer(out[size:], np.asarray(base).dtype)


@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "in batches"])
def test_the_file_does_not_depend_on_the_order_of_arrival(files, batched):
    base = files.base(model(0), **OPTIONS)
    updates = [files.update(model(seed, 1.01**seed), 1 + 997 * seed, f"w{seed}", **OPTIONS) for seed in range(1, 9)]
    # A worker's file may have its tensors in another order.
    updates[3] = files.update(dict(reversed(model(4, 1.01**4).items())), updates[3].samples, **OPTIONS)
    rng = np.random.default_rng(7)
    digests = set()
    for _ in range(20):
        order = [updates[i] for i in rng.permutation(8)]
        if batched:
            cut = int(rng.integers(1, 8))
            aggregation = ALGORITHMS["fedavg"].begin(base, {})
            aggregation.add(*order[:cut])
            aggregation.add(*order[cut:])
            out = bytearray()
            aggregation.finish(out.extend)
        else:
            out = files.average(base, order)
        digests.add(hashlib.sha256(out).hexdigest())
    assert len(digests) == 1


def test_every_dtype_is_within_the_stated_error(files):
    models = [model(seed) for seed in range(1, 6)]
    samples = [600, 1, 60_000, 77, 31]
    out = files.average(files.base(model(0), **OPTIONS), [files.update(m, n, **OPTIONS) for m, n in zip(models, samples, strict=True)])
    size = 8 + int.from_bytes(out[:8], "little")
    layout = files.checked(out).layout
    assert [tensor.name for tensor in layout.tensors] == list(model(0))
    for tensor in layout.tensors:
        data = out[size + tensor.offset :][: tensor.nbytes]
        kind = np.uint16 if tensor.dtype == "BF16" else models[0][tensor.name].dtype
        got = np.frombuffer(data, kind)[:2000]
        sources = [np.ravel(m[tensor.name])[:2000] for m in models]
        if tensor.dtype == "BF16":
            got, sources = from_bits(got), [from_bits(source) for source in sources]
        expected = exact_means(sources, samples)
        if tensor.dtype == "BOOL":
            assert got.tolist() == [mean > Fraction(1, 2) for mean in expected]
        elif tensor.dtype[0] in "IU":
            assert got.tolist() == [round(mean) for mean in expected]
        else:
            base_peak = float(np.abs(from_bits(model(0)["brain"]) if tensor.dtype == "BF16" else model(0)[tensor.name]).max(initial=0))
            scale = 2.0 ** max(0, math.ceil(math.log2(base_peak))) if base_peak else 1.0
            before = scale * 2.0**-22 / (sum(samples) / len(samples))
            for value, mean in zip(got.tolist(), expected, strict=True):
                if tensor.dtype == "F64":  # its products, sum and quotient are rounded too, each by half a last place
                    bound = Fraction(scale * 4) * Fraction(2) ** -53
                else:
                    mantissa = {"F32": 24, "F16": 11, "BF16": 8}[tensor.dtype]
                    bound = Fraction(before) + max(abs(mean), Fraction(2) ** -14) * Fraction(2) ** -mantissa
                assert abs(Fraction(value) - mean) <= bound


def test_nearly_all_float32_values_are_correctly_rounded(files):
    # Uniform values: near zero, means are finer than the step, which is made for the tensor's scale.
    rng = np.random.default_rng(1)
    values = [rng.uniform(0, 1, 20_000).astype(np.float32) for _ in range(8)]
    samples = [int(n) for n in rng.integers(100, 2000, 8)]
    got = mean_of(files, values[0], values, samples)
    expected = [np.float32(float(mean)) for mean in exact_means(values, samples)]
    assert np.mean(got == expected) > 0.997


@given(
    st.lists(
        st.tuples(st.floats(-1000, 1000, width=32), st.integers(1, 2**19)),
        min_size=1,
        max_size=6,
    )
)
def test_float32_error_is_bounded_for_any_values(files, updates):
    values, samples = [np.array([v], np.float32) for v, _ in updates], [n for _, n in updates]
    got = mean_of(files, np.zeros(1, np.float32), values, samples)
    mean = exact_means(values, samples)[0]
    bound = Fraction(2) ** -22 * len(samples) / sum(samples)
    assert abs(Fraction(float(got[0])) - mean) <= bound + abs(mean) * Fraction(2) ** -24 + Fraction(2) ** -149


@given(st.data())
def test_integers_are_rounded_half_to_even_exactly(files, data):
    dtype = data.draw(st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.uint64]))
    info = np.iinfo(dtype)
    numbers = st.integers(max(info.min, -(2**40)), min(info.max, 2**40))
    updates = data.draw(st.lists(st.tuples(numbers, st.integers(1, 8)), min_size=1, max_size=6))
    values, samples = [np.array([v], dtype) for v, _ in updates], [n for _, n in updates]
    assert mean_of(files, np.zeros(1, dtype), values, samples).tolist() == [round(exact_means(values, samples)[0])]


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        pytest.param([(True, 3), (False, 2)], True, id="majority by samples"),
        pytest.param([(True, 2), (False, 1), (False, 2)], False, id="minority by samples"),
        pytest.param([(True, 2), (False, 2)], False, id="a tie is false"),
    ],
)
def test_bool_is_a_weighted_majority(files, votes, expected):
    values, samples = [np.array([v]) for v, _ in votes], [n for _, n in votes]
    assert mean_of(files, np.array([False]), values, samples).tolist() == [expected]


@given(st.lists(st.tuples(st.integers(0, 0x7F7F), st.booleans()), min_size=1, max_size=50))
def test_bfloat16_of_one_update_is_itself(files, values):
    bits = np.array([magnitude | negative << 15 for magnitude, negative in values], np.uint16)
    got = from_bits(mean_of(files, bits, [bits], [1], code="BF16"))
    own = from_bits(bits).astype(np.float64)
    step = 2.0 ** (max(0, math.ceil(math.log2(np.abs(own).max() or 1))) - 21)
    assert np.all(np.abs(got - own) <= step / 2 + np.abs(own) * 2.0**-9 * (np.abs(own) < step * 256))


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        pytest.param((0x3F80, 0x3F81), 0x3F80, id="tie to even, down"),
        pytest.param((0x3F81, 0x3F82), 0x3F82, id="tie to even, up"),
        pytest.param((0xBF81, 0xBF82), 0xBF82, id="negative tie to even"),
        pytest.param((0x3FFF, 0x4000), 0x4000, id="into the next power of two"),
    ],
)
def test_bfloat16_rounds_half_to_even(files, pair, expected):
    values = [np.array([bits], np.uint16) for bits in pair]
    assert mean_of(files, values[0], values, [1, 1], code="BF16").tolist() == [expected]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_largest_values_average_to_themselves(files, dtype):
    largest = np.full(3, np.finfo(dtype).max, dtype)
    largest[1] *= -1
    assert mean_of(files, largest, [largest] * 3, [1, 3, 7]).tolist() == largest.tolist()


def test_float64_keeps_what_float32_cannot(files):
    values = [np.array([1.0 + 2.0**-50, 1e-9 + 2.0**-75]), np.array([1.0, 1e-9])]
    got = mean_of(files, np.ones(2), values, [1, 1])
    assert abs(got[0] - (1.0 + 2.0**-51)) <= 2.0**-52
    assert abs(got[1] - values[1][1]) < 2.0**-70


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_full_round_of_the_largest_terms_stays_within_64_bits(files, dtype, sign):
    largest = 2**51 - 1 if dtype is np.int64 else np.nextafter(dtype(2**30), dtype(0)) if dtype is np.float32 else 2.0**30 - 2.0**-20
    value = np.array([sign * largest], dtype)
    base = files.base({"w": np.zeros(1, dtype)})
    mean = ExactMean(base.grid)
    update = files.update({"w": value}, 1)
    for _ in range(64):
        mean.add(*[update] * (MAX_UPDATES // 64))
    assert next(mean.pieces()).raw.view(dtype).tolist() == value.tolist()
    with pytest.raises(UpdateRefused, match="a round takes 4096 updates"):
        mean.add(update)


def test_pieces_may_be_asked_for_again_and_more_be_added(files):
    base = files.base({"w": np.zeros(2)})
    mean = ExactMean(base.grid)
    mean.add(files.update({"w": np.array([1.0, 2.0])}))
    assert [piece.raw.view(np.float64).tolist() for _ in range(2) for piece in mean.pieces()] == [[1, 2], [1, 2]]
    mean.add(files.update({"w": np.array([3.0, -2.0])}))
    assert next(mean.pieces()).raw.view(np.float64).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("values", "samples", "says"),
    [
        pytest.param(np.zeros(3, np.float32), 1, "update of w: tensor 'w' is F32", id="other shape"),
        pytest.param(np.array([20_000.0, 0], np.float32), 60_000, "update of w: tensor 'w' holds a value", id="out of range"),
    ],
)
def test_an_update_that_does_not_fit_is_refused_whole(files, values, samples, says):
    mean = ExactMean(files.base({"w": np.zeros(2, np.float32)}).grid)
    good = files.update({"w": np.ones(2, np.float32)})
    with pytest.raises(UpdateRefused, match=says):
        mean.add(good, files.update({"w": values}, samples))
    mean.add(good)
    assert (mean.count, next(mean.pieces()).raw.view(np.float32).tolist()) == (1, [1, 1])


def test_a_file_that_cannot_be_read_spoils_the_sum(files):
    mean = ExactMean(files.base({"w": np.zeros(2)}).grid)
    update = files.update({"w": np.zeros(2)})
    object.__setattr__(update, "readinto_at", lambda _offset, _buffer: 0)
    with pytest.raises(EOFError):
        mean.add(update)
    with pytest.raises(RuntimeError, match="broke off"):
        mean.pieces()


def test_neither_lanes_nor_the_last_pass_nor_used_memory_change_a_byte(files):
    base = files.base(large(0))
    updates = [files.update(large(seed), seed) for seed in range(1, 5)]
    expected = files.average(base, updates)
    with ThreadPoolExecutor(3) as pool:
        workspace = Workspace(3, lambda calls: partial(wait_for, [pool.submit(call) for call in calls]))
        for split in range(5):
            aggregation = ALGORITHMS["fedavg"].begin(base, {}, workspace=workspace)
            aggregation.add(*updates[:split])
            out = bytearray()
            aggregation.finish(out.extend, last=updates[split:])
            assert bytes(out) == expected


def wait_for(futures):
    for future in futures:
        future.result()


def large(seed):
    """Tensors of many blocks, so that every lane has some in every stripe, and many small ones of odd sizes."""
    random = np.random.default_rng(seed)
    small = {f"small{size}": random.integers(-128, 128, size).astype(np.int8) for size in range(1, 60)}
    return {
        "weight": random.standard_normal(2_000_001, np.float32),
        "wide": random.standard_normal(300_000),
        **small,
        "bias": np.float32(seed),
    }


def test_a_last_update_that_does_not_fit_leaves_the_sum_as_it_was(files):
    mean = ExactMean(files.base({"w": np.zeros(2, np.float32)}).grid)
    mean.add(files.update({"w": np.ones(2, np.float32)}))
    with pytest.raises(UpdateRefused):
        mean.pieces(files.update({"w": np.zeros(3, np.float32)}))
    pieces = [piece.raw.view(np.float32).tolist() for piece in mean.pieces(files.update({"w": np.full(2, 3, np.float32)}))]
    assert (pieces, mean.count, mean.samples) == ([[2, 2]], 2, 2)


def test_a_mean_of_nothing_is_an_error(files):
    mean = ExactMean(files.base({"w": np.zeros(2)}).grid)
    with pytest.raises(NoUpdates):
        next(mean.pieces())


def test_the_library_reads_the_result(files):
    models = [{k: v for k, v in model(seed).items() if k != "brain"} for seed in (1, 2)]
    updates = [safetensors.numpy.save({k: np.asarray(v) for k, v in m.items()}) for m in models]
    base = files.base(models[0])
    packed = [files.update(models[0], 3), files.update(models[1], 3)]
    arrays = safetensors.numpy.load(files.average(base, packed))
    assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        name: (np.asarray(array).dtype, np.shape(array)) for name, array in models[0].items()
    }
    assert files.checked(updates[0], base.layout).layout.data_bytes == base.layout.data_bytes
