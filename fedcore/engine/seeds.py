"""Seeds of tasks: functions of what a job declares, never of attempt, session or time, so that a rerun draws the same numbers."""

from __future__ import annotations

import hashlib

__all__ = ["init_seed", "task_seed"]


def init_seed(seed: int) -> int:
    """Return the seed of the first weights, the same whichever worker makes them; 0 to 2**31 - 1."""
    return _derive(f"init:{seed}")


def task_seed(seed: int, index: int, round_number: int) -> int:
    """Return the seed of one worker's work in one round; 0 to 2**31 - 1."""
    return _derive(f"train:{seed}:{index}:{round_number}")


def _derive(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
