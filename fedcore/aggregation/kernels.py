"""The inner loops for float32 in C (``kernels.c``), where they could be built: one pass and one release of the interpreter's lock for each.

Without them numpy does the same in several passes, to the same bits: what is built in has no bearing on any result.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LIBRARY", "Kernels", "kernels", "load"]

LIBRARY = "_kernels.so"
"""Built beside this file when the package is installed, by ``hatch_build.py``."""
Array: TypeAlias = "NDArray[Any]"

_ADDRESS, _COUNT, _BITS, _DOUBLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_double


class Kernels:
    """The library's functions, for arrays that are contiguous and aligned.

    Raises
    ------
    OSError
        It is for another machine.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._begin, self._add, self._mean, self._peak = (library[f"fedcore_{name}_f32"] for name in ("begin", "add", "mean", "peak"))
        self._begin.argtypes = self._add.argtypes = [_ADDRESS, _ADDRESS, _COUNT, _DOUBLE]
        self._mean.argtypes = [_ADDRESS, _ADDRESS, _COUNT, _BITS, _DOUBLE]
        self._peak.argtypes, self._peak.restype = [_ADDRESS, _COUNT], ctypes.c_uint32
        self._begin.restype = self._add.restype = self._mean.restype = None

    def begin(self, sums: Array, values: Array, factor: float) -> None:
        """Set each sum to the term of its value: the low bits of ``value * factor + 1.5 * 2**52``."""
        self._begin(_address(sums), _address(values), values.size, factor)

    def add(self, sums: Array, values: Array, factor: float) -> None:
        """Add the terms to the sums."""
        self._add(_address(sums), _address(values), values.size, factor)

    def mean(self, sums: Array, means: Array, constant: int, divisor: float) -> None:
        """Take ``constant`` off the sums, modulo 2**64, and write them divided to ``means``."""
        self._mean(_address(sums), _address(means), means.size, constant, divisor)

    def peak(self, bits: Array) -> int:
        """Return the largest of these float32, read as integers without their signs."""
        return int(self._peak(_address(bits), bits.size))


def load(folder: Path) -> Kernels | None:
    """Load the library from this folder; None if it is not there or cannot be used."""
    if sys.byteorder != "little":  # what is summed is, and only numpy converts
        return None
    try:
        return Kernels(folder / LIBRARY)
    except (OSError, AttributeError):  # not built, built for another machine, or left over from another version
        return None


def _address(array: Array) -> int:
    # Not by way of __array_interface__: each call interns its keys anew, and the interpreter's table of strings is rebuilt over and over.
    return int(array.ctypes.data)


kernels = load(Path(__file__).parent)
"""What this installation has."""
