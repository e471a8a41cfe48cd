"""The upload's checksum, written down once more in the plainest way."""

from __future__ import annotations

import struct


def sum64(body: bytes) -> str:
    padded = body + bytes(-len(body) % 8)
    return f"{sum(struct.unpack(f'<{len(padded) // 8}Q', padded)) % 2**64:016x}"
