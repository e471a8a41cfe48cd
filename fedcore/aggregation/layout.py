"""Which tensors a file holds, and where.

A safetensors header is the first thing an unknown sender controls, so it is parsed strictly. The ``safetensors`` library parses too, but
from a complete file, into arrays; the coordinator never holds a whole update in memory, and has to name the tensor that is wrong.
Format: 8 bytes little-endian length, JSON of that length, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

__all__ = ["DTYPE_BITS", "MAX_HEADER_BYTES", "PREFIX_BYTES", "InvalidHeader", "Layout", "Tensor", "header_size"]

PREFIX_BYTES = 8
MAX_HEADER_BYTES = 16 * 2**20
"""Longest header taken, prefix included. The format allows 100 MB; at some 100 bytes a tensor this is room for 150,000 of them."""
MAX_RANK = 64
MAX_EXTENT = 2**48
"""Bound on one dimension and on a tensor's bytes: beyond any model, and it keeps a hostile header from costing big-number arithmetic."""
DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
"""Every dtype the format names, those included that cannot be averaged: a file is first understood, then refused for the right reason."""
_MEMBERS = {"dtype", "shape", "data_offsets"}
_METADATA = "__metadata__"


class InvalidHeader(ValueError):  # noqa: N818 - says what is invalid, as InvalidJob does
    """The bytes are no safetensors header. The message names the tensor, where there is one."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file; ``offset`` counts from the first byte after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    @property
    def values(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Layout:
    """The tensors of a file in the order of their bytes, which need not be the order of the header's JSON.

    Attributes
    ----------
    tensors : tuple of Tensor
    header_bytes : int
        Prefix and header of the file this was parsed from; a tensor's bytes start at ``header_bytes + offset``.
    data_bytes : int
        Bytes of all tensors.
    """

    tensors: tuple[Tensor, ...]
    header_bytes: int
    data_bytes: int

    @classmethod
    def from_header(cls, header: bytes | bytearray | memoryview) -> Layout:
        """Parse the first ``header_size(...)`` bytes of a file.

        Raises
        ------
        InvalidHeader
            For anything but a header whose tensors lie one after the other, from the first byte on.
        """
        raw = bytes(header)
        if len(raw) < PREFIX_BYTES or header_size(raw) != len(raw):
            raise InvalidHeader(f"the header has {len(raw)} bytes, and says otherwise")
        entries = _load(raw[PREFIX_BYTES:])
        _check_metadata(entries.pop(_METADATA, {}))
        # Sorting keeps empty tensors, which share their offset with the next one, in the header's order.
        tensors = sorted((_tensor(name, entry) for name, entry in entries.items()), key=lambda tensor: (tensor.offset, tensor.nbytes))
        end = 0
        for tensor in tensors:
            if tensor.offset != end:
                raise InvalidHeader(f"tensor {_quote(tensor.name)} starts at byte {tensor.offset}, the bytes before it end at {end}")
            end += tensor.nbytes
        return cls(tuple(tensors), len(raw), end)

    @cached_property
    def places(self) -> dict[str, int]:
        """Each tensor's index in ``tensors``, by name."""
        return {tensor.name: index for index, tensor in enumerate(self.tensors)}

    @property
    def file_bytes(self) -> int:
        """Length of the whole file."""
        return self.header_bytes + self.data_bytes

    def encode(self) -> bytes:
        """Return prefix and header: no metadata, tensors in their order, padded to 8 bytes; the same bytes for the same tensors."""
        entries = {
            tensor.name: {
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "data_offsets": [tensor.offset, tensor.offset + tensor.nbytes],
            }
            for tensor in self.tensors
        }
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(PREFIX_BYTES, "little") + text

    def differs_from(self, base: Layout) -> str | None:
        """Say which tensor is not the base's, by name, dtype and shape; None if all are. Their order may differ."""
        for tensor in base.tensors:
            index = self.places.get(tensor.name)
            if index is None:
                return f"tensor {_quote(tensor.name)} is missing"
            own = self.tensors[index]
            if (own.dtype, own.shape) != (tensor.dtype, tensor.shape):
                return f"tensor {_quote(tensor.name)} is {_shorten(str(own))}, the base has {_shorten(str(tensor))}"
        for tensor in self.tensors:
            if tensor.name not in base.places:
                return f"tensor {_quote(tensor.name)} is not in the base"
        return None


def header_size(prefix: bytes | bytearray | memoryview, limit_bytes: int = MAX_HEADER_BYTES) -> int:
    """Return the bytes of prefix and header together, as the first 8 bytes of a file say.

    Raises
    ------
    InvalidHeader
        More than ``limit_bytes``: most likely the bytes are something else.
    """
    size = PREFIX_BYTES + int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if size > limit_bytes:
        raise InvalidHeader(f"a header of {size} bytes is announced, the limit is {limit_bytes}: is this a safetensors file?")
    return size


def _load(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise InvalidHeader("the header is not a JSON object")
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidHeader(f"the header is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError:
        raise InvalidHeader("the header is nested too deeply") from None
    except ValueError as error:  # also json's own, and integers with too many digits
        raise error if isinstance(error, InvalidHeader) else InvalidHeader(f"the header is not JSON: {error}") from None
    return dict(entries)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidHeader(f"{_quote(name)} appears twice")
            seen.add(name)
    return entries


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidHeader(f"the header is not JSON: {text}")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidHeader("__metadata__ must map strings to strings")


def _tensor(name: str, entry: Any) -> Tensor:
    label = f"tensor {_quote(name)}"
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidHeader(f"{label}: the name is not UTF-8") from None
    if not isinstance(entry, dict) or entry.keys() != _MEMBERS:
        raise InvalidHeader(f"{label} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise InvalidHeader(f"{label} has an unknown dtype {_shorten(repr(dtype))}")
    if not _integers(shape) or len(shape) > MAX_RANK:
        raise InvalidHeader(f"{label} has a shape that is not a list of up to {MAX_RANK} sizes: {_shorten(repr(shape))}")
    if not _integers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InvalidHeader(f"{label} has data_offsets that are no range of bytes: {_shorten(repr(offsets))}")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    nbytes = offsets[1] - offsets[0]
    if bits != nbytes * 8:
        needed = _shorten(str(-(-bits // 8)))
        raise InvalidHeader(f"{label} has {nbytes} bytes, its dtype {dtype} and shape {_shorten(repr(shape))} need {needed}")
    return Tensor(name, dtype, tuple(shape), offsets[0], nbytes)


def _integers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < MAX_EXTENT for value in values)


def _quote(name: str) -> str:
    return _shorten(repr(name))


def _shorten(text: str) -> str:
    """Messages travel into logs and CSV rows, a name may have megabytes."""
    return text if len(text) <= 120 else f"{text[:100]}...{text[-10:]}"
