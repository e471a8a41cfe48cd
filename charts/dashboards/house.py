"""What all boards have in common: menus, links, marks, and how panels fill the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from charts.dashboards.panels import SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcore.metrics import Metric

__all__ = ["Column", "Row", "make", "mark", "one", "several"]

_WINDOWS: Final = ("30s", "1m", "5m", "10m", "30m", "1h")
_WINDOW: Final = "10m"
_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class Column:
    """Panels of the same width, one below the other."""

    panels: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels beside each other; their widths add up to the page's."""

    height: int
    cells: tuple[Any, ...]


class _Mark(model.AnnotationQuery):
    """An annotation whose time is the value of the query; the builders know no such thing."""

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"useValueForTime": True, "titleFormat": self.name, "step": "10s"}


def mark(name: str, expression: str, colour: str) -> _Mark:
    """Return a vertical line at each time, in Unix milliseconds, that the expression gives."""
    return _Mark(name=name, datasource=SOURCE, enable=True, icon_color=colour, expr=expression)


def several(name: str, label: str, metric: Metric, matchers: str = "") -> build.QueryVariable:
    """Return a menu over the values of the label of that name; several may be chosen, at first all."""
    variable = _menu(name, label, metric, matchers).multi(True).include_all(True).all_value(".+")
    return variable.current(model.VariableOption(selected=True, text="All", value="$__all"))


def one(name: str, label: str, metric: Metric, matchers: str = "") -> build.QueryVariable:
    """Return a menu over the values of the label of that name, of which one is chosen."""
    return _menu(name, label, metric, matchers).multi(False).include_all(False)


def make(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[build.QueryVariable],
    marks: Sequence[_Mark],
    layout: Sequence[Row],
) -> model.Dashboard:
    """Return a board.

    Parameters
    ----------
    variables : sequence of QueryVariable
        The board's own menus, between the one for the data source and the one for the window.
    marks : sequence of annotations
    layout : sequence of Row
        From top to bottom.
    """
    board = build.Dashboard(title).uid(uid).description(description).tags(["fedcore"]).readonly().timezone("")
    board = board.tooltip(model.DashboardCursorSync.CROSSHAIR).time("now-1h", "now").refresh("10s")
    menu = build.DashboardLink("FedCore").type(model.DashboardLinkType.DASHBOARDS).tags(["fedcore"]).icon("dashboard")
    board = board.link(menu.as_dropdown(False).include_vars(True).keep_time(True))
    board = board.with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for variable in variables:
        board = board.with_variable(variable)
    board = board.with_variable(_window())
    made = board.build()
    assert made.schema_version is not None
    made.annotations = model.AnnotationContainer(list_val=list(marks))
    made.panels = _placed(layout)
    return made


def _menu(name: str, label: str, metric: Metric, matchers: str) -> build.QueryVariable:
    selector = f"{metric.name}{{{matchers}}}" if matchers else metric.name
    asked = {"qryType": 1, "query": f"label_values({selector}, {name})", "refId": f"menu-{name}"}
    variable = build.QueryVariable(name).label(label).datasource(SOURCE).query(asked)
    return variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.NATURAL_ASC)


def _window() -> build.IntervalVariable:
    chosen = model.VariableOption(selected=True, text=_WINDOW, value=_WINDOW)
    offered = [model.VariableOption(selected=each == _WINDOW, text=each, value=each) for each in _WINDOWS]
    variable = build.IntervalVariable("window").label("Window").description("How far back rates and quantiles look; longer than a round")
    return variable.values(",".join(_WINDOWS)).current(chosen).options(offered).auto(False)


def _placed(layout: Sequence[Row]) -> list[Any]:
    panels = []
    y = 0
    for row in layout:
        x = 0
        for cell in row.cells:
            built = [each.build() for each in (cell.panels if isinstance(cell, Column) else (cell,))]
            height, rest = divmod(row.height, len(built))
            assert not rest, "the panels of a column share its height"
            for place, panel in enumerate(built):
                panel.grid_pos = model.GridPos(h=height, w=panel.grid_pos.w, x=x, y=y + place * height)
                panel.id_val = len(panels) + 1
                panels.append(panel)
            x += built[0].grid_pos.w
        assert x == _WIDTH, f"the row at {y} is {x} wide"
        y += row.height
    return panels
