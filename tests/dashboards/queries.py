"""Every query of a board, with its variables filled in: what the tests parse, and what they ask a real Prometheus."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum

from charts.dashboards.boards import BOARDS, FOLDER

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<plain>\w+))")
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")


class Source(StrEnum):
    PANEL = "panel"
    VARIABLE = "variable"
    ANNOTATION = "annotation"


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a board.

    A panel's and an annotation's ``expr`` is PromQL; a variable's is a selector, and asked is for the values that ``label`` has in it
    (``/api/v1/label/LABEL/values?match[]=EXPR``).
    """

    board: str
    source: Source
    title: str
    """Of the panel or annotation; of a variable its name."""
    ref: str
    """The query's letter within its panel, else empty."""
    expr: str
    instant: bool
    legend: str
    label: str | None = None

    def __str__(self):
        return " ".join(part for part in (self.board, self.title, self.ref) if part)


def load(uid):
    """Return a board as it is shipped."""
    return json.loads((FOLDER / f"{uid}.json").read_text(encoding="utf-8"))


def shipped():
    """Return all boards by uid."""
    return {uid: load(uid) for uid in BOARDS}


def values(*, namespace=".+", federatedjob=".+", worker=".+", window="30s", span_seconds=600, step_seconds=5):
    """Return what Grafana would fill in, for a time range of so many seconds."""
    return {
        "datasource": "prometheus",
        "namespace": namespace,
        "federatedjob": federatedjob,
        "worker": worker,
        "window": window,
        "__range": f"{span_seconds}s",
        "__range_s": str(span_seconds),
        "__interval": f"{step_seconds}s",
        "__rate_interval": f"{4 * step_seconds}s",
    }


def substitute(text, filled):
    """Fill in variables; one that is not known is a KeyError."""
    return _VARIABLE.sub(lambda match: filled[match["braced"] or match["plain"]], text)


def queries(board, filled=None):
    """List every panel, variable and annotation query of a board.

    Parameters
    ----------
    board : dict
        Its JSON.
    filled : mapping, optional
        What ``values`` returns.

    Returns
    -------
    list of Query
    """
    filled = filled or values()
    uid, menus, marks = board["uid"], board["templating"]["list"], board["annotations"]["list"]
    return [
        *(_of_target(uid, panel["title"], target, filled) for panel in board["panels"] for target in panel["targets"]),
        *(_of_menu(uid, menu, filled) for menu in menus if menu["type"] == "query"),
        *(Query(uid, Source.ANNOTATION, mark["name"], "", substitute(mark["expr"], filled), False, "") for mark in marks),
    ]


def _of_target(uid, title, target, filled):
    expr = substitute(target["expr"], filled)
    return Query(uid, Source.PANEL, title, target["refId"], expr, target["instant"], target["legendFormat"])


def _of_menu(uid, menu, filled):
    asked = _LABEL_VALUES.fullmatch(menu["query"]["query"])
    return Query(uid, Source.VARIABLE, menu["name"], "", substitute(asked["selector"], filled), True, "", asked["label"])
