"""Which boards there are, and how one becomes a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from charts.dashboards import overview, run, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BOARDS", "FOLDER", "render"]

FOLDER: Final = Path(__file__).parents[1] / "fedcore/files/dashboards"
BOARDS: Final[Mapping[str, Callable[[], Any]]] = {
    "fedcore-overview": overview.board,
    "fedcore-run": run.board,
    "fedcore-workers": workers.board,
}
"""Boards by their uid, which is also the name of their file."""


def render(board: object) -> str:
    """Return the file of a board."""
    return json.dumps(board, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
