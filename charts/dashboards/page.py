"""The boards' page of the documentation: what each panel shows, in its own words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

__all__ = ["PAGE", "explained"]

PAGE: Final = Path(__file__).parents[2] / "docs/dashboards.md"
_BETWEEN: Final = "(<!-- panels of {uid} -->\n).*?(<!-- end -->)"


def explained(page: str, board: Dashboard) -> str:
    """Return the page with the table of a board's panels made anew.

    Parameters
    ----------
    page : str
        Has the lines ``<!-- panels of UID -->`` and ``<!-- end -->`` around the table.
    board : Dashboard
    """
    rows = ["| panel | shows |", "|---|---|"]
    rows += [f"| {panel.title} | {panel.description} |" for panel in board.panels or ()]
    table = "\n".join(rows) + "\n"
    made, found = re.subn(_BETWEEN.format(uid=board.uid), lambda match: f"{match[1]}\n{table}\n{match[2]}", page, flags=re.DOTALL)
    assert found == 1, f"{board.uid}: {found} places for its table"
    return made
