"""What tests on the cluster measured: lines of JSON in the file that ``FEDCORE_FIGURES`` names, and a table of them.

``python -m tests.e2e.figures FILE`` prints the table for docs/measurements/cluster.md. A figure is recorded, never asserted.
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

VARIABLE = "FEDCORE_FIGURES"


def record_figure(what: str, value: float, unit: str) -> None:
    """Print a figure and add it to the file, if one is named."""
    line = json.dumps({"what": what, "value": round(value, 2), "unit": unit})
    print(f"figure: {line}")
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def table(lines: list[str]) -> str:
    """Lay out recorded lines as a table in Markdown, in order of first mention; several values of one figure as their range."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in lines:
        one = json.loads(line)
        found[one["what"], one["unit"]].append(one["value"])
    rows = [f"| {what} | {_span(values)} {unit} |" for (what, unit), values in found.items()]
    return "\n".join(["| what | figure |", "|---|---|", *rows])


def _span(values: list[float]) -> str:
    least, most = min(values), max(values)
    span = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    return span if len(values) == 1 else f"{len(values)} times {span}"


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text("utf-8").splitlines()))
