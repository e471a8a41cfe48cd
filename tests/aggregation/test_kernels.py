"""What is compiled does what numpy does, to the last bit."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcore.aggregation import dtypes, sums
from fedcore.aggregation.dtypes import ELEMENTS
from fedcore.aggregation.kernels import LIBRARY, kernels, load
from fedcore.aggregation.sums import BLOCK_VALUES, STRIPE_BYTES, Scratch, sum_of

F32 = ELEMENTS["F32"]

must_be_there = os.environ.get("CI") and shutil.which("cc")
compiled = pytest.mark.skipif(kernels is None and not must_be_there, reason="the package was installed without a C compiler")


@contextmanager
def numpy_alone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "kernels", None)
        patch.setattr(dtypes, "kernels", None)
        yield


def both(step):
    rule = sum_of(F32, step, Scratch())
    with numpy_alone():
        return rule, sum_of(F32, step, Scratch())


@compiled
def test_library_is_used():
    assert kernels is not None
    assert type(both(1.0)[0]) is not type(both(1.0)[1])


@pytest.mark.parametrize("content", [None, b"", b"of another machine"], ids=["missing", "empty", "foreign"])
def test_library_that_cannot_be_loaded_is_done_without(tmp_path, content):
    if content is not None:
        (tmp_path / LIBRARY).write_bytes(content)
    assert load(tmp_path) is None


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
updates_of_one_size = st.integers(1, 300).flatmap(
    lambda size: st.lists(st.tuples(arrays(np.float32, size, elements=finite), st.integers(1, 2**29 - 1)), min_size=1, max_size=5)
)


@compiled
@given(updates=updates_of_one_size, coarser=st.integers(0, 4), misplaced=st.booleans())
def test_sums_and_means_have_the_same_bits(updates, coarser, misplaced):
    largest = max(float(np.abs(values).max()) for values, _ in updates) or 1.0
    samples = sum(n for _, n in updates)
    step = float(2.0 ** (np.ceil(np.log2(largest * samples)) - 50 + coarser))
    results = []
    for rule in both(step):
        total = np.full((1, updates[0][0].size), 7, np.int64)  # what an earlier round has left
        for number, (values, n) in enumerate(updates):
            raw = values.view("<u4")
            if misplaced:  # as behind a tensor with an odd number of bytes
                raw = np.frombuffer(b"x" + values.tobytes(), np.uint32, values.size, 1)
            (rule.add if number else rule.begin)(total, raw, n)
        mean = np.empty(total.shape[1], np.uint32)
        rule.mean(total, mean, len(updates), samples)
        results.append((total.tolist(), mean.tolist()))
    assert results[0] == results[1]


LONGEST = STRIPE_BYTES // 4
"""The longest block that the compiled rule takes; numpy's takes it in parts."""


@compiled
@pytest.mark.parametrize("misplaced", [False, True])
@pytest.mark.parametrize("step", [2.0**-40, 2.0**70])  # with the coarse one means are clipped, which numpy does
@pytest.mark.parametrize("size", [1, 7, 1000, BLOCK_VALUES, LONGEST - 1, LONGEST])
def test_whole_blocks_too(size, step, misplaced):
    values = (np.random.default_rng(size).normal(size=size) * step * 2.0**40).astype(np.float32)

    def stored(array):
        return np.frombuffer(b"x" + array.tobytes(), np.uint32, size, 1) if misplaced else array.view("<u4")

    def sums(rule, part):
        limbs, mean = total[:, part], means[part]
        rule.begin(limbs, stored(values)[part], 600)
        rule.add(limbs, stored(values[::-1].copy())[part], 77)
        rule.mean(limbs, mean, 2, 677)

    results = []
    for rule in both(step):
        total, means = np.empty((1, size), np.int64), np.empty(size, np.uint32)
        for start in range(0, size, rule.most):
            sums(rule, slice(start, start + rule.most))
        results.append(total.tobytes() + means.tobytes())
    assert results[0] == results[1]


@compiled
@given(bits=arrays(np.uint32, st.integers(1, 200), elements=st.integers(0, 2**32 - 1)))
def test_peaks_are_the_same(bits):
    peak = F32.peak(bits)
    with numpy_alone():
        assert F32.peak(bits) == peak


@compiled
def test_versions_have_the_same_bytes(files):
    def version():
        tensors = [
            {"odd": np.arange(seed, seed + 3, dtype=np.int8), "w": rng.normal(size=(300, 1500)).astype(np.float32)} for seed in range(4)
        ]
        updates = [files.update(update, 5 + n) for n, update in enumerate(tensors[1:])]
        return files.average(files.base(tensors[0]), updates)

    rng = np.random.default_rng(0)
    made = version()
    rng = np.random.default_rng(0)
    with numpy_alone():
        assert version() == made
