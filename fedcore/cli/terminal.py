"""What the terminal can show."""

from __future__ import annotations

import os
import sys

__all__ = ["can_draw"]


def can_draw(*, color: bool) -> bool:
    """Say whether stderr takes a view that moves its cursor.

    Without colors it does not: rich would leave those out, and move the cursor all the same.
    """
    return color and not os.environ.get("NO_COLOR") and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
