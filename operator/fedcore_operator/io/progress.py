"""Asking a coordinator for its progress. What comes back is somebody's program speaking: bounded in time and size, and parsed."""

from __future__ import annotations

import asyncio

import aiohttp
from pydantic import ValidationError

from fedcore.progress import Progress
from fedcore_operator.api.names import METRICS_PORT

__all__ = ["fetch_progress"]

_TIMEOUT = aiohttp.ClientTimeout(total=3)
_MOST_BYTES = 64 * 1024


async def fetch_progress(session: aiohttp.ClientSession, address: str, port: int = METRICS_PORT) -> Progress | None:
    """Return what the coordinator at an address says; None if it says nothing, too much or nonsense."""
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{port}/progress", timeout=_TIMEOUT, allow_redirects=False) as response:
            if response.status != 200:
                return None
            body = bytearray()
            async for piece in response.content.iter_chunked(16 * 1024):
                body += piece
                if len(body) > _MOST_BYTES:
                    return None
        return Progress.model_validate_json(bytes(body))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValidationError, ValueError):  # noqa: UP041 - aiohttp's name for it
        return None
