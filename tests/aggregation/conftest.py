from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fedcore.aggregation import ALGORITHMS, BaseVersion, Checked, UpdateFile, check_file

CODES = {
    "float32": "F32",
    "float64": "F64",
    "float16": "F16",
    "bool": "BOOL",
    **{f"int{size}": f"I{size}" for size in (8, 16, 32, 64)},
    **{f"uint{size}": f"U{size}" for size in (8, 16, 32, 64)},
}


def pack(tensors, *, codes=None, metadata=None):
    """A safetensors file with the tensors in the dict's order; ``codes`` overrides a dtype, as BF16 for uint16 bits."""
    entries, body = {}, b""
    if metadata is not None:
        entries["__metadata__"] = metadata
    for name, array in tensors.items():
        data = np.asarray(array).tobytes()
        entries[name] = {
            "dtype": (codes or {}).get(name, CODES[np.asarray(array).dtype.name]),
            "shape": list(np.shape(array)),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + body


def read_at(data):
    def read(offset, buffer):
        piece = data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    return read


def checked(data, base=None):
    result = check_file(read_at(data), len(data), base)
    assert isinstance(result, Checked), result
    return result


def base(tensors, **options):
    data = pack(tensors, **options)
    return BaseVersion(checked(data), read_at(data))


def update(tensors, samples=1, worker="w", **options):
    data = pack(tensors, **options)
    return UpdateFile(checked(data), read_at(data), worker, samples)


def average(version, updates):
    """The bytes that fedavg writes."""
    aggregation = ALGORITHMS["fedavg"].begin(version, {})
    for one in updates:
        aggregation.add(one)
    out = bytearray()
    aggregation.finish(out.extend)
    return bytes(out)


@pytest.fixture(scope="session")
def files():
    return SimpleNamespace(pack=pack, read_at=read_at, checked=checked, base=base, update=update, average=average)
