"""A safetensors file in memory, whose tensors are views into it.

A task trains on these views; what it returns is put back at the same places. An update so has the base's header to the byte, and a task
that trains in place costs no copy at all. The one dtype that numpy lacks, bfloat16, is handed out as float32, which holds each of its
values, and rounded half to even on its way back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from fedcore.aggregation.layout import PREFIX_BYTES, InvalidHeader, Layout, Tensor, header_size

if TYPE_CHECKING:
    from fedcore.tasks.task import Weights

__all__ = ["UnreadableWeights", "WeightsFile", "WrongWeights"]

Array: TypeAlias = NDArray[Any]

_STORED: dict[str, str] = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
}
"""numpy dtype that reads a tensor's bytes; for bfloat16 that of the bits."""


class UnreadableWeights(Exception):  # noqa: N818 - says what is unreadable
    """The file cannot be read as tensors."""


class WrongWeights(Exception):  # noqa: N818 - says what is wrong
    """A task returned other tensors than those it was given."""


class WeightsFile:
    """Tensors of one safetensors file.

    Parameters
    ----------
    buffer : bytearray
        The whole file; kept, and changed by whoever writes to the tensors.

    Raises
    ------
    UnreadableWeights
        It is no safetensors file, or has a dtype that cannot be trained.
    """

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        try:
            self._layout = Layout.from_header(buffer[: header_size(buffer[:PREFIX_BYTES])])
        except InvalidHeader as error:
            raise UnreadableWeights(f"the weights cannot be read: {error}") from error
        if self._layout.file_bytes != len(buffer):
            raise UnreadableWeights(f"the weights have {len(buffer)} bytes, their header says {self._layout.file_bytes}")
        for tensor in self._layout.tensors:
            if tensor.dtype not in _STORED:
                raise UnreadableWeights(f'tensor "{tensor.name}" has dtype {tensor.dtype}, which no task can be given')

    @classmethod
    def encode(cls, weights: Weights) -> WeightsFile:
        """Make a file of these tensors."""
        # Not ascontiguousarray: it would turn a scalar into a vector.
        return cls(bytearray(safetensors.numpy.save({name: np.asarray(value, order="C") for name, value in weights.items()})))

    def free_room(self) -> bytearray | None:
        """Return the memory for another file, unless somebody still looks at it; this file cannot be used any more.

        Memory fresh from the system costs half a second per gigabyte, each round. A task may keep the arrays it was given, though: a
        bytearray that is being looked at refuses to be resized, and then stays as it is.
        """
        try:
            self._buffer.append(self._buffer.pop())
        except BufferError:
            return None
        return self._buffer

    @property
    def body(self) -> memoryview:
        """The file's bytes, without a copy."""
        return memoryview(self._buffer)

    def tensors(self) -> Weights:
        """Return the tensors: writable views, but for bfloat16."""
        return {tensor.name: self._handed_out(tensor) for tensor in self._layout.tensors}

    def overwrite(self, weights: Weights) -> None:
        """Put these tensors in place of the file's.

        Raises
        ------
        WrongWeights
            Their names, dtypes or shapes differ; nothing was written.
        """
        given = {name: np.asarray(value) for name, value in weights.items()}
        self._require_equal(given)
        targets = {tensor.name: self._stored(tensor) for tensor in self._layout.tensors}
        stored = {t.name: _rounded(given[t.name]) if t.dtype == "BF16" else given[t.name] for t in self._layout.tensors}
        moved = {name: value for name, value in stored.items() if not _same_place(value, targets[name])}
        whole = np.frombuffer(self._buffer, np.uint8)
        # A view of another tensor's place would be overwritten before it is read.
        moved = {name: value.copy() if np.may_share_memory(value, whole) else value for name, value in moved.items()}
        for name, value in moved.items():
            np.copyto(targets[name], value)

    def _require_equal(self, given: dict[str, Array]) -> None:
        expected = {tensor.name: tensor for tensor in self._layout.tensors}
        if given.keys() != expected.keys():
            missing, unknown = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
            raise WrongWeights(f"train returned other tensors than it was given: missing {missing}, unknown {unknown}")
        for name, tensor in expected.items():
            dtype = np.dtype(np.float32 if tensor.dtype == "BF16" else _STORED[tensor.dtype])
            value = given[name]
            if value.dtype != dtype or value.shape != tensor.shape:
                raise WrongWeights(
                    f'train returned "{name}" as {value.dtype} of shape {value.shape}; it was given {dtype} of shape {tensor.shape}'
                )

    def _handed_out(self, tensor: Tensor) -> Array:
        stored = self._stored(tensor)
        if tensor.dtype != "BF16":
            return stored
        return (stored.astype(np.uint32) << 16).view(np.float32)

    def _stored(self, tensor: Tensor) -> Array:
        dtype = np.dtype(_STORED[tensor.dtype])
        if not tensor.values:
            return np.empty(tensor.shape, dtype)
        start = self._layout.header_bytes + tensor.offset
        return np.frombuffer(self._buffer, dtype, tensor.values, start).reshape(tensor.shape)


def _same_place(value: Array, target: Array) -> bool:
    return bool(value.ctypes.data == target.ctypes.data and value.strides == target.strides)


def _rounded(values: Array) -> Array:
    """Return the bits of the nearest bfloat16, ties to even."""
    bits = np.asarray(values, np.float32, order="C").view(np.uint32)
    half_up = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), half_up).astype(np.uint16)
