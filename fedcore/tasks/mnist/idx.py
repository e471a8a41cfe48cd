"""The file format of MNIST: a magic number that names type and rank, the sizes, then the bytes.

References
----------
"The IDX file format" at the end of http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["IdxError", "read_idx"]


class IdxError(ValueError):
    """The file is not what its name says."""


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, compressed with gzip or not.

    Parameters
    ----------
    path : Path
        A name that ends in ``.gz`` is unpacked.
    rank : int
        Dimensions that it must have: 3 for images, 1 for labels.

    Raises
    ------
    IdxError
        Not gzip, another type or rank, or not as long as its header says.
    """
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise IdxError(f"{path}: not a complete gzip file: {error}") from error
    header = 4 + 4 * rank
    if len(raw) < header or raw[:4] != bytes([0, 0, 8, rank]):
        raise IdxError(f"{path}: not an idx file of unsigned bytes with {rank} dimensions")
    shape = tuple(int.from_bytes(raw[place : place + 4], "big") for place in range(4, header, 4))
    if len(raw) - header != math.prod(shape):
        raise IdxError(f"{path}: {len(raw) - header} bytes of data where its header says {math.prod(shape)}")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
