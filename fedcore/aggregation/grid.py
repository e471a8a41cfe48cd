"""The step on which a round's values are summed, and which values fit.

Each tensor's step follows from the base version's values alone, never from who arrived, so that a restarted coordinator, or a relay,
computes the same one. It moves with the weights: a step fixed for the whole job would one day refuse honest, grown ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore.aggregation.dtypes import Kind, element_of
from fedcore.wire.protocol import MAX_SAMPLES

if TYPE_CHECKING:
    from fedcore.aggregation.check import Checked
    from fedcore.aggregation.layout import Layout

__all__ = ["MAX_UPDATES", "Grid", "out_of_range"]

MAX_UPDATES = 4096
"""Updates of one round whose sum cannot leave 64 bits, each term being below 2**51."""
_TERM_LIMIT = 2**51 - 1
"""Largest term in steps. Not 2**51, which a term just below would be rounded to: 4,096 of those leave 64 bits by one."""
_RANGE_BITS = 30
_STEP_BITS = _RANGE_BITS - 51


@dataclass(frozen=True, slots=True)
class Grid:
    """Steps for the tensors of a base version.

    Attributes
    ----------
    layout : Layout
        Of the base version.
    exponents : tuple of int
        For each tensor the e of its scale s = 2**e, the smallest power of two >= max(1, largest magnitude in the base). A value w with n
        samples fits if n * abs(w) < 2**30 * s; the step is 2**-21 * s. Unused for integers and bool, whose step is 1.
    """

    layout: Layout
    exponents: tuple[int, ...]

    @classmethod
    def of(cls, version: Checked) -> Grid:
        """Return the grid of a version.

        Raises
        ------
        UnsupportedTensor
            A tensor has a dtype without a mean.
        """
        exponents = (
            _exponent(peak) if element_of(tensor).infinity else 0
            for tensor, peak in zip(version.layout.tensors, version.peaks, strict=True)
        )
        return cls(version.layout, tuple(exponents))

    def step(self, index: int) -> float:
        """Return the step of the tensor at ``index``: a power of two."""
        return math.ldexp(1.0, self.exponents[index] + _STEP_BITS)


def _exponent(peak: float) -> int:
    """Return the smallest e >= 0 with 2**e >= peak."""
    fraction, exponent = math.frexp(peak)
    return max(0, exponent - (fraction == 0.5))


def out_of_range(checked: Checked, grid: Grid, samples: int) -> str | None:
    """Say which tensor of an update has a value too large to be summed exactly with this many samples; None if all fit.

    Parameters
    ----------
    checked : Checked
        An update with the tensors of ``grid.layout``, in any order.
    grid : Grid
        Of the base version.
    samples : int
        The update's weight, 1 to 2**29 - 1.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise ValueError(f"samples must be 1 to {MAX_SAMPLES}, not {samples}")
    for tensor, peak in zip(checked.layout.tensors, checked.peaks, strict=True):
        kind = element_of(tensor).kind
        index = grid.layout.places[tensor.name]
        if kind is Kind.BOOL:
            if peak > 1:
                return f"tensor {tensor.name!r} holds the byte {peak}, bool is 0 or 1"
        elif kind is Kind.INTEGER:
            if peak > (most := _TERM_LIMIT // samples):
                return f"tensor {tensor.name!r} holds a value of magnitude {peak}, the bound for {samples} samples is {most}"
        elif peak * (samples / grid.step(index)) > _TERM_LIMIT:
            bound = math.ldexp(1.0 / samples, grid.exponents[index] + _RANGE_BITS)
            return f"tensor {tensor.name!r} holds a value of magnitude {peak:.9g}, the bound for {samples} samples is {bound:.9g}"
    return None
