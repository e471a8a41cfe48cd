"""Asking a coordinator for its progress. What comes back is somebody's program speaking: bounded in time and size, and parsed."""

from __future__ import annotations

import asyncio
from enum import StrEnum

import aiohttp

from fedcore.progress import Progress
from fedcore_operator.api.names import METRICS_PORT

__all__ = ["Silence", "fetch_progress"]

_TIMEOUT = aiohttp.ClientTimeout(total=3)
_MOST_BYTES = 64 * 1024


class Silence(StrEnum):
    """Why there is no progress."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    """Nobody is there, or who is there does not want to say."""
    INVALID = "invalid"
    """Too much, or nonsense."""


async def fetch_progress(session: aiohttp.ClientSession, address: str, port: int = METRICS_PORT) -> Progress | Silence:
    """Return what the coordinator at an address says, or why it is taken for silent."""
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{port}/progress", timeout=_TIMEOUT, allow_redirects=False) as response:
            if response.status != 200:
                return Silence.REFUSED
            body = bytearray()
            async for piece in response.content.iter_chunked(16 * 1024):
                body += piece
                if len(body) > _MOST_BYTES:
                    return Silence.INVALID
        return Progress.model_validate_json(bytes(body))
    except asyncio.TimeoutError:  # noqa: UP041 - aiohttp's name for it
        return Silence.TIMEOUT
    except ValueError:  # among them the models'
        return Silence.INVALID
    except (aiohttp.ClientError, OSError):
        return Silence.REFUSED
