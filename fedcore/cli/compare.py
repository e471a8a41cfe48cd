"""``fedcore compare RUN RUN...``: runs side by side, as text, as JSON, as a page."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from fedcore.cli.report import find_run
from fedcore.report.rundir import write_atomically
from fedcore.report.write import GET_IT, NoRun, can_draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcore.report.content import Table

__all__ = ["compare"]

_USAGE = 2


def compare(texts: Sequence[str], *, as_one_object: bool, html: Path | None) -> int:
    """Print the comparison and return the exit code: 0, 1 if the page could not be written, 2 if a run is none."""
    if html is not None and not can_draw():
        print(f"error: --html needs matplotlib and jinja2: {GET_IT}", file=sys.stderr)
        return 1
    from fedcore.report.compare import as_json, compare_tables, read_runs

    try:
        runs = read_runs([find_run(text) for text in texts])
    except NoRun as problem:
        print(f"error: {problem}", file=sys.stderr)
        return _USAGE
    if as_one_object:
        print(json.dumps(as_json(runs), ensure_ascii=False, default=str))
    else:
        print("\n\n".join(_text(table) for table in compare_tables(runs)))
    if html is not None:
        from fedcore.report.compare import compare_page
        from fedcore.report.page import render
        from fedcore.report.plots import draw_compared

        try:
            write_atomically(html, render(compare_page(runs, draw_compared({run.name: run.history for run in runs}))))
        except OSError as error:
            print(f"error: {html} cannot be written: {error.strerror or error}", file=sys.stderr)
            return 1
        print(f"Report  {html}", file=sys.stderr)
    return 0


def _text(table: Table) -> str:
    """Lay a table out in columns: the first one to the left, the others to the right."""
    rows = [[str(cell) for cell in row] for row in (table.head, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)
