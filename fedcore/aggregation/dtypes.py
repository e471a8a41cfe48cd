"""The dtypes that can be averaged, and what the raw bits of their values say.

numpy has no bfloat16, and comparing floats would trip over NaN, so values are looked at as integers: read without the sign, the bits of an
IEEE number grow with its magnitude, and infinity and NaN lie above every finite one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fedcore.aggregation.kernels import kernels
from fedcore.aggregation.layout import DTYPE_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcore.aggregation.layout import Layout, Tensor

__all__ = ["ELEMENTS", "Element", "Kind", "Raw", "UnsupportedTensor", "element_of", "require_supported"]

Raw: TypeAlias = "NDArray[Any]"
"""One-dimensional, of an element's ``unsigned`` dtype."""


class UnsupportedTensor(ValueError):  # noqa: N818 - says what is unsupported, as InvalidJob says what is invalid
    """A model holds a tensor for which no exact mean is defined."""


class Kind(Enum):
    """By which rule a tensor is averaged."""

    FLOAT = "float"
    DOUBLE = "double"
    INTEGER = "integer"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class Element:
    """One dtype.

    Attributes
    ----------
    code : str
        Its name in safetensors.
    kind : Kind
    native : str
        numpy dtype that reads its values; for bfloat16 that of the bits.
    infinity : int
        Bits of positive infinity, 0 for a dtype that has none.
    """

    code: str
    kind: Kind
    native: str
    infinity: int = 0

    @property
    def size(self) -> int:
        """Bytes of one value."""
        return DTYPE_BITS[self.code] // 8

    @property
    def unsigned(self) -> str:
        """Numpy dtype of the bits."""
        return f"<u{self.size}"

    @property
    def signed(self) -> str:
        """Numpy dtype of the bits, read with a sign."""
        return f"<i{self.size}"

    def peak(self, raw: Raw) -> int:
        """Return the largest magnitude among ``raw``, at least one value: bits for floats, the value itself for integers."""
        if self.code == "F32" and kernels is not None and raw.flags.aligned:
            return kernels.peak(raw)
        high = int(raw.max())
        if self.infinity:
            # Two reductions of integers need no scratch: the unsigned one finds the largest negative, the signed one the largest positive.
            sign = 1 << (8 * self.size - 1)
            return max(high - sign, int(raw.view(self.signed).max()), 0) if high >= sign else high
        if self.native == self.signed:
            values = raw.view(self.signed)
            return max(int(values.max()), -int(values.min()))
        return high

    def magnitude(self, peak: int) -> float:
        """Return what a `peak` stands for: a float, or an int for integers."""
        if not self.infinity:
            return peak
        if self.code == "BF16":
            return float(struct.unpack("<f", (peak << 16).to_bytes(4, "little"))[0])
        return float(struct.unpack(f"<{' efd'[self.size.bit_length() - 1]}", peak.to_bytes(self.size, "little"))[0])

    def first_non_finite(self, raw: Raw) -> int:
        """Return the index of the first infinity or NaN in ``raw``, which has one."""
        magnitudes = raw & np.array((1 << (8 * self.size - 1)) - 1, dtype=raw.dtype)
        return int(np.argmax(magnitudes >= np.array(self.infinity, dtype=raw.dtype)))


ELEMENTS: dict[str, Element] = {
    element.code: element
    for element in (
        Element("F32", Kind.FLOAT, "<f4", 0x7F80_0000),
        Element("F16", Kind.FLOAT, "<f2", 0x7C00),
        Element("BF16", Kind.FLOAT, "<u2", 0x7F80),
        Element("F64", Kind.DOUBLE, "<f8", 0x7FF0_0000_0000_0000),
        *(Element(f"I{8 * size}", Kind.INTEGER, f"<i{size}") for size in (1, 2, 4, 8)),
        *(Element(f"U{8 * size}", Kind.INTEGER, f"<u{size}") for size in (1, 2, 4, 8)),
        Element("BOOL", Kind.BOOL, "<u1"),
    )
}
"""By safetensors code."""


def element_of(tensor: Tensor) -> Element:
    """Return the element of a tensor.

    Raises
    ------
    UnsupportedTensor
        No mean is defined for its dtype.
    """
    try:
        return ELEMENTS[tensor.dtype]
    except KeyError:
        usable = ", ".join(ELEMENTS)
        raise UnsupportedTensor(f"tensor {tensor.name!r} is {tensor.dtype}, which cannot be averaged; use one of {usable}") from None


def require_supported(layout: Layout) -> None:
    """Raise `UnsupportedTensor` for the first tensor that cannot be averaged."""
    for tensor in layout.tensors:
        element_of(tensor)
