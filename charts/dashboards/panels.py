"""Panels as all boards draw them: one way for a figure, for lines, for bars and for a table.

Only these four kinds are used, because the tests can draw them without Grafana.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BAD", "GOOD", "LIMIT", "SOURCE", "WARN", "bars", "colours", "figure", "lines", "prop", "query", "rows", "steps"]

NOTHING: Final = "-"
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GOOD, WARN, BAD = "green", "orange", "red"
NEUTRAL: Final = "text"


def query(expression: str, legend: str = "", *, instant: bool = False, as_table: bool = False) -> prometheus.Dataquery:
    """Return a query; its letter comes from its place in the panel."""
    made = prometheus.Dataquery().datasource(SOURCE).expr(expression).legend_format(legend or "__auto")
    made = made.instant() if instant or as_table else made.range()
    return made.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)


def prop(name: str, value: object) -> model.DynamicConfigValue:
    """Return a property of a field, for an override."""
    return model.DynamicConfigValue(id_val=name, value=value)


def steps(*colours_from: tuple[float | None, str]) -> build.ThresholdsConfig:
    """Return thresholds: each colour from its value on, the first one from below."""
    made = [model.Threshold(value=value, color=colour) for value, colour in colours_from]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


_SCRAPE_MISSED: Final = 60_000
"""Milliseconds; a shorter gap is bridged. A scrape that failed says nothing of the job, a minute without any does."""
_PLAIN: Final = steps((None, NEUTRAL))
"""A colour means that somebody has to act, so most figures have none."""

LIMIT: Final = (
    prop("color", {"mode": "fixed", "fixedColor": BAD}),
    prop("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
    prop("custom.fillOpacity", 0),
    prop("custom.lineWidth", 2),
)
"""How a line that must not be crossed looks."""


def colours(**by_name: str) -> dict[str, tuple[model.DynamicConfigValue, ...]]:
    """Give series the colour of what they mean, the same on every board."""
    return {name: (prop("color", {"mode": "fixed", "fixedColor": colour}),) for name, colour in by_name.items()}


def figure(
    title: str,
    description: str,
    *queries: prometheus.Dataquery,
    width: int,
    unit: str = "none",
    decimals: int | None = None,
    thresholds: build.ThresholdsConfig | None = None,
    mappings: Sequence[model.ValueMapping] = (),
    text: options.BigValueTextMode = options.BigValueTextMode.VALUE,
    overrides: Mapping[str, Sequence[model.DynamicConfigValue]] | None = None,
) -> stat.Panel:
    """Make a panel of one large figure, or a few."""
    panel = stat.Panel().text_mode(text).graph_mode(options.BigValueGraphMode.NONE).color_mode(options.BigValueColorMode.VALUE)
    panel = panel.thresholds(thresholds or _PLAIN).color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)).no_value(NOTHING)
    panel = panel.justify_mode(options.BigValueJustifyMode.AUTO).wide_layout(True).mappings(list(mappings))
    if len(queries) > 1 or text is options.BigValueTextMode.VALUE_AND_NAME:
        panel = panel.text(common.VizTextDisplayOptions().title_size(16).value_size(32))
    if decimals is not None:
        panel = panel.decimals(decimals)
    return _common(panel, title, description, queries, width, unit, overrides)


def lines(
    title: str,
    description: str,
    *queries: prometheus.Dataquery,
    width: int,
    unit: str = "none",
    decimals: int | None = None,
    maximum: float | None = None,
    stacked: bool = False,
    stepped: bool = False,
    logarithmic: bool = False,
    area: bool = False,
    calcs: Sequence[str] = (),
    overrides: Mapping[str, Sequence[model.DynamicConfigValue]] | None = None,
) -> timeseries.Panel:
    """Make a panel of lines over time. With ``calcs`` the legend is a table on the right, otherwise names below."""
    legend = common.VizLegendOptions().show_legend(True).calcs(list(calcs))
    if calcs:
        legend = legend.display_mode(options.LegendDisplayMode.TABLE).placement(options.LegendPlacement.RIGHT)
        legend = legend.sort_by({"mean": "Mean", "lastNotNull": "Last *"}[calcs[0]]).sort_desc(True)
    else:
        legend = legend.display_mode(options.LegendDisplayMode.LIST).placement(options.LegendPlacement.BOTTOM)
    panel = timeseries.Panel().legend(legend)
    panel = panel.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    panel = panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)).thresholds(_PLAIN)
    panel = (
        panel.line_width(2)
        .fill_opacity(60 if stacked else 10 if area else 0)
        .show_points(options.VisibilityMode.AUTO)
        .span_nulls(_SCRAPE_MISSED)
    )
    interpolation = options.LineInterpolation.STEP_AFTER if stepped else options.LineInterpolation.LINEAR
    panel = panel.line_interpolation(interpolation).axis_border_show(False)
    if logarithmic:
        panel = panel.scale_distribution(common.ScaleDistributionConfig().type(options.ScaleDistribution.LOG).log(10))
    else:
        panel = panel.min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A")).line_width(1)
    if maximum is not None:
        panel = panel.max(maximum)
    if decimals is not None:
        panel = panel.decimals(decimals)
    return _common(panel, title, description, queries, width, unit, overrides)


def bars(title: str, description: str, *queries: prometheus.Dataquery, width: int, unit: str = "none", decimals: int) -> bargauge.Panel:
    """Make a panel of one horizontal bar per series."""
    panel = bargauge.Panel().orientation(options.VizOrientation.HORIZONTAL).display_mode(options.BarGaugeDisplayMode.BASIC)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)).show_unfilled(True).min(0)
    panel = panel.value_mode(options.BarGaugeValueMode.TEXT).min_viz_height(16).max_viz_height(24).no_value(NOTHING).decimals(decimals)
    panel = panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color("blue")).thresholds(_PLAIN)
    return _common(panel, title, description, queries, width, unit, None)


def rows(
    title: str,
    description: str,
    columns: Mapping[str, prometheus.Dataquery],
    *,
    keys: Mapping[str, str],
    width: int,
    sort: str,
    overrides: Mapping[str, Sequence[model.DynamicConfigValue]] | None = None,
) -> table.Panel:
    """Make a table with one row per thing.

    Parameters
    ----------
    columns : mapping of str to query
        A query per column, by the column's heading.
    keys : mapping of str to str
        Labels that tell the rows apart, or that the queries bring along, with their headings; they come first.
    sort : str
        Heading of the column that the rows are sorted by.
    """
    names = dict(keys) | {f"Value #{chr(ord('A') + place)}": heading for place, heading in enumerate(columns)}
    shown = [name for name, heading in names.items() if heading]
    organize = {
        "excludeByName": {"Time": True} | {name: True for name, heading in names.items() if not heading},
        "indexByName": {name: place for place, name in enumerate(shown)},
        "renameByName": {name: names[name] for name in shown},
    }
    panel = table.Panel().thresholds(_PLAIN).no_value(NOTHING).cell_height(options.TableCellHeight.SM)
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=organize))
    panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(False)])
    return _common(panel, title, description, tuple(columns.values()), width, "none", overrides)


def _common(
    panel: Any,
    title: str,
    description: str,
    queries: Sequence[prometheus.Dataquery],
    width: int,
    unit: str,
    overrides: Mapping[str, Sequence[model.DynamicConfigValue]] | None,
) -> Any:
    panel = panel.title(title).description(description).datasource(SOURCE).span(width).unit(unit)
    for place, each in enumerate(queries):
        panel = panel.with_target(each.ref_id(chr(ord("A") + place)))
    for name, properties in (overrides or {}).items():
        panel = panel.override_by_name(name, list(properties))
    return panel
