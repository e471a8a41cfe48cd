"""Sums of one tensor's values that are exact integers, so that neither order nor grouping changes a bit of their mean.

A term w * n is divided by the tensor's step in float64 (exact for float32 and narrower: 24 + 29 bits). Adding 1.5 * 2**52 rounds it, half
to even, to an integer that then stands in the low bits; those are added as int64, modulo 2**64, and what the constant put there is taken
off once, at the end. One-fold pre-rounding of Demmel and Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013, in fixed point.

Rejected: sorting the updates before a float sum (holds N models until the end, cannot be split over relays); compensated sums (still
depend on order).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from fedcore.aggregation.dtypes import Kind
from fedcore.aggregation.kernels import kernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fedcore.aggregation.dtypes import Element, Raw
    from fedcore.aggregation.kernels import Kernels

__all__ = ["BLOCK_VALUES", "STRIPE_BYTES", "Limbs", "Scratch", "TensorSum", "sum_of"]

Limbs: TypeAlias = "NDArray[np.int64]"
"""Accumulators of a block of values, of shape (limbs, values)."""

BLOCK_VALUES = 65_536
"""Most values that numpy handles at once: it passes over them several times, so they have to stay in the cache."""
_BLOCK_BYTES = 4 * BLOCK_VALUES
"""Most bytes of them."""
STRIPE_BYTES = 4 * _BLOCK_BYTES
"""What one lane finishes at once, between two hand-overs."""
_ROUNDER = 1.5 * 2.0**52
_ROUNDER_BITS = 0x4338_0000_0000_0000
_LOW = 2.0**51
"""Steps of the second limb in one of the first."""
_NEAR_LIMIT = 40
"""Bits below the dtype's largest value from which on a rounded mean could step over it: means of such values are clipped."""


class Scratch:
    """Room for one block, used by all tensors in turn and from round to round: nothing is allocated per piece.

    Attributes
    ----------
    stripe : ndarray of uint8
        Room for the blocks that are read or finished at once, twice.
    """

    def __init__(self) -> None:
        self.stripe = np.empty(2 * STRIPE_BYTES, np.uint8)
        self.first = np.empty(BLOCK_VALUES, np.float64)
        self.second = np.empty(BLOCK_VALUES, np.float64)
        self.bits = np.empty(BLOCK_VALUES, np.uint32)


class TensorSum(Protocol):
    """How one tensor is summed. ``raw`` and ``limbs`` are the same block of values in an update and in the accumulator."""

    limbs: int = 1
    most: int = BLOCK_VALUES
    """Largest block that it takes, in values; in bytes no more than a stripe."""

    def begin(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        """As `add`, to an accumulator that may hold anything."""
        limbs.fill(0)
        self.add(limbs, raw, samples)

    def add(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        """Add ``samples`` times the values in ``raw``, which are finite and within range."""

    def mean(self, limbs: Limbs, out: Raw, count: int, samples: int) -> None:
        """Write the mean of ``count`` updates with ``samples`` in total to ``out``; the sums stay as they are."""


def sum_of(element: Element, step: float, scratch: Scratch) -> TensorSum:
    """Return the rule for a tensor of this dtype and step."""
    match element.kind:
        case Kind.FLOAT:
            if element.code == "F32" and kernels is not None:
                return _CompiledSum(element, step, scratch, kernels)
            return _FloatSum(element, step, scratch)
        case Kind.DOUBLE:
            return _DoubleSum(element, step, scratch)
        case Kind.INTEGER:
            return _IntegerSum(element, scratch)
        case Kind.BOOL:
            return _BoolSum(element, scratch)


def _constant_bits(count: int) -> np.int64:
    """Return what ``count`` rounding constants have added to an accumulator, modulo 2**64."""
    bits = count * _ROUNDER_BITS % 2**64
    return np.int64(bits - 2**64 if bits >= 2**63 else bits)


class _FloatSum(TensorSum):
    """float32, float16 and bfloat16: one limb."""

    def __init__(self, element: Element, step: float, scratch: Scratch) -> None:
        self._element = element
        self._step = step
        self._scratch = scratch
        self._clip = element.code == "F32" and step > 2.0 ** (128 - 21 - _NEAR_LIMIT)

    def add(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        terms = self._scratch.first[: raw.size]
        if self._element.code == "BF16":
            bits = self._scratch.bits[: raw.size]
            np.copyto(bits, raw)
            np.left_shift(bits, 16, out=bits)
            np.copyto(terms, bits.view("<f4"))
        else:
            np.copyto(terms, raw.view(self._element.native))
        np.multiply(terms, samples / self._step, out=terms)
        np.add(terms, _ROUNDER, out=terms)
        np.add(limbs[0], terms.view(np.int64), out=limbs[0])

    def mean(self, limbs: Limbs, out: Raw, count: int, samples: int) -> None:
        means = self._scratch.first[: out.size]
        sums = self._scratch.second[: out.size].view(np.int64)
        np.subtract(limbs[0], _constant_bits(count), out=sums)
        np.copyto(means, sums, casting="same_kind")
        np.divide(means, samples / self._step, out=means)
        if self._clip:
            limit = float(np.finfo(np.float32).max)
            np.clip(means, -limit, limit, out=means)
        if self._element.code == "BF16":
            self._narrow(means, out)
        else:
            np.copyto(out.view(self._element.native), means, casting="same_kind")

    def _narrow(self, means: NDArray[np.float64], out: Raw) -> None:
        """Round to bfloat16, half to even, on the bits: by way of float32 would round twice.

        A mean other than 0 is at least 2**-62 (a step over the largest total), so subnormal results do not occur.
        """
        bits = means.view(np.uint64)
        half = self._scratch.second[: out.size].view(np.uint64)
        np.right_shift(bits, 45, out=half)
        np.bitwise_and(half, 1, out=half)
        np.add(half, 2**44 - 1, out=half)
        np.add(bits, half, out=bits)
        narrow = self._scratch.bits[: out.size]
        # What float64 has beyond bfloat16's 7 bits is cut off, then float32 is exact and its upper half is the answer.
        np.bitwise_and(bits, (2**64 - 1) ^ (2**45 - 1), out=bits)
        np.copyto(narrow.view("<f4"), means, casting="same_kind")
        np.right_shift(narrow, 16, out=narrow)
        np.copyto(out, narrow, casting="same_kind")


class _CompiledSum(_FloatSum):
    """float32, in one pass over the block. A call costs about 10 us, as much as 25,000 values: hence long blocks."""

    most = STRIPE_BYTES // 4

    def __init__(self, element: Element, step: float, scratch: Scratch, compiled: Kernels) -> None:
        super().__init__(element, step, scratch)
        self._compiled = compiled

    def begin(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        if raw.flags.aligned:
            self._compiled.begin(limbs[0], raw, samples / self._step)
        else:
            super().begin(limbs, raw, samples)

    def add(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        if raw.flags.aligned:
            self._compiled.add(limbs[0], raw, samples / self._step)
        else:
            for part in _parts(raw.size):
                super().add(limbs[:, part], raw[part], samples)

    def mean(self, limbs: Limbs, out: Raw, count: int, samples: int) -> None:
        if self._clip or not out.flags.aligned:
            for part in _parts(out.size):
                super().mean(limbs[:, part], out[part], count, samples)
        else:
            self._compiled.mean(limbs[0], out, count * _ROUNDER_BITS % 2**64, samples / self._step)


def _parts(size: int) -> Iterator[slice]:
    """Yield what numpy can handle of so many values."""
    for start in range(0, size, BLOCK_VALUES):
        yield slice(start, min(start + BLOCK_VALUES, size))


class _DoubleSum(TensorSum):
    """float64: the second limb sums what rounding to the step left over, in 2**-51 of a step."""

    limbs = 2
    most = _BLOCK_BYTES // 8

    def __init__(self, element: Element, step: float, scratch: Scratch) -> None:
        self._element = element
        self._step = step
        self._scratch = scratch
        self._clip = step > 2.0 ** (1024 - 21 - _NEAR_LIMIT)

    def add(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        terms = self._scratch.first[: raw.size]
        whole = self._scratch.second[: raw.size]
        np.multiply(raw.view(self._element.native), samples / self._step, out=terms)
        np.add(terms, _ROUNDER, out=whole)
        np.add(limbs[0], whole.view(np.int64), out=limbs[0])
        np.subtract(whole, _ROUNDER, out=whole)
        np.subtract(terms, whole, out=terms)
        np.multiply(terms, _LOW, out=terms)
        np.add(terms, _ROUNDER, out=terms)
        np.add(limbs[1], terms.view(np.int64), out=limbs[1])

    def mean(self, limbs: Limbs, out: Raw, count: int, samples: int) -> None:
        means = self._scratch.first[: out.size]
        rest = self._scratch.second[: out.size]
        sums = rest.view(np.int64)
        constant = _constant_bits(count)
        # The first limb may have 63 bits: what float64 does not hold of it joins the second.
        np.subtract(limbs[0], constant, out=sums)
        np.copyto(means, sums, casting="same_kind")
        np.subtract(sums, means.astype(np.int64), out=sums)
        low = (limbs[1] - constant).astype(np.float64)
        np.divide(low, _LOW, out=low)
        np.copyto(rest, sums.astype(np.float64))
        np.add(rest, low, out=rest)
        np.add(means, rest, out=means)
        if self._clip:
            np.divide(means, float(samples), out=means)
            limit = sys.float_info.max / self._step
            np.clip(means, -limit, limit, out=means)
            np.multiply(means, self._step, out=out.view(self._element.native))
        else:
            np.divide(means, samples / self._step, out=out.view(self._element.native))


class _IntegerSum(TensorSum):
    """Integers of any width: the weighted mean, rounded half to even, exact throughout."""

    def __init__(self, element: Element, scratch: Scratch) -> None:
        self.most = min(BLOCK_VALUES, _BLOCK_BYTES // element.size)
        self._element = element
        self._scratch = scratch

    def add(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        terms = self._scratch.first[: raw.size].view(np.int64)
        # Unsigned 64-bit values are below 2**51 here, so reading them as signed changes nothing.
        np.copyto(terms, raw.view(self._element.native), casting="same_kind")
        np.multiply(terms, samples, out=terms)
        np.add(limbs[0], terms, out=limbs[0])

    def mean(self, limbs: Limbs, out: Raw, count: int, samples: int) -> None:
        del count
        total = np.int64(samples)
        means = self._scratch.first[: out.size].view(np.int64)
        twice = self._scratch.second[: out.size].view(np.int64)
        np.floor_divide(limbs[0], total, out=means)
        np.multiply(means, total, out=twice)
        np.subtract(limbs[0], twice, out=twice)
        # Twice the remainder, plus one where the quotient is odd: above the total means up, ties to even included.
        np.multiply(twice, 2, out=twice)
        np.add(twice, means & 1, out=twice)
        np.add(means, twice > total, out=means)
        np.copyto(out, means, casting="unsafe")


class _BoolSum(TensorSum):
    """Bool: a weighted majority, a tie is false."""

    def __init__(self, element: Element, scratch: Scratch) -> None:
        self._integers = _IntegerSum(element, scratch)
        self._scratch = scratch

    def add(self, limbs: Limbs, raw: Raw, samples: int) -> None:
        self._integers.add(limbs, raw, samples)

    def mean(self, limbs: Limbs, out: Raw, count: int, samples: int) -> None:
        del count
        twice = self._scratch.first[: out.size].view(np.int64)
        np.multiply(limbs[0], 2, out=twice)
        np.copyto(out, twice > samples)
