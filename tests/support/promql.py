"""PromQL against the catalogues: every metric, label and known label value of an expression is one that something exports.

`check` follows the labels through an expression, as the server would, so that a label renamed in a catalogue is found in a matcher, a
``by``, an ``on`` and in what a rule's text or a board's legend says of the result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import promql_parser as promql

from fedcore.coordinator import metrics as coordinator
from fedcore.metrics import Kind
from fedcore.worker import metrics as worker
from fedcore_operator.runtime import metrics as operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCRAPE = frozenset({"job", "instance", "namespace", "pod", "container"})
"""Labels of the target, which the scrape adds."""
PROCESS = (
    "process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds",
    "process_virtual_memory_bytes",
)  # fmt: skip
"""What prometheus-client's process collector exports on Linux."""


@dataclass(frozen=True)
class Series:
    """What is known of the series of one name: its labels, each with the values it can have, if they are known."""

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _exported() -> dict[str, Series]:
    job = dict.fromkeys((*SCRAPE, "federatedjob"), ())
    found = {name: Series(job) for name in PROCESS}
    for catalogue, common in ((coordinator.CATALOGUE, job), (worker.CATALOGUE, job), (operator.CATALOGUE, dict.fromkeys(SCRAPE, ()))):
        for metric in catalogue:
            labels = {**common, **{label.name: label.values for label in metric.labels}}
            for name in metric.series_names:
                bucket = {"le": ()} if metric.kind is Kind.HISTOGRAM and name.endswith("_bucket") else {}
                found.setdefault(name, Series({**labels, **bucket}))
    found["up"] = Series(job)
    found["ALERTS"] = Series({**job, "alertname": (), "alertstate": ("pending", "firing"), "severity": ("warning", "critical")})
    return found


EXPORTED: Mapping[str, Series] = _exported()
"""All that can be asked for without recording rules."""


@dataclass
class Checked:
    """What a check found."""

    problems: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Names of the series it asks for."""
    labels: frozenset[str] = frozenset()
    """Labels that its result can have."""


def check(expression: str, series: Mapping[str, Series] = EXPORTED) -> Checked:
    """Say what is wrong with an expression; a variable of Grafana (``$namespace``, ``${window}``) may stand for a value or a duration."""
    checked = Checked()
    try:
        tree = promql.parse(_without_variables(expression))
    except ValueError as error:
        checked.problems.append(f"it does not parse: {error}")
        return checked
    checked.labels = _Walk(series, checked).labels(tree)
    return checked


def _without_variables(expression: str) -> str:
    """Put a duration or a value that matches anything in place of Grafana's variables."""
    durations = re.sub(r"(?<=[\[:])\$(\w+|\{\w+\})", "5m", expression)
    return re.sub(r"\$(\w+|\{\w+(:\w+)?\})", ".+", durations)


class _Walk:
    """Gives the labels of a node's result, and notes what is wrong on the way."""

    def __init__(self, series: Mapping[str, Series], checked: Checked) -> None:
        self._series = series
        self._checked = checked

    def labels(self, node: promql.Expr) -> frozenset[str]:
        match node:
            case promql.VectorSelector():
                return self._selector(node)
            case promql.MatrixSelector():
                return self._selector(node.vector_selector)
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self.labels(node.expr)
            case promql.AggregateExpr():
                return self._aggregate(node)
            case promql.BinaryExpr():
                return self._binary(node)
            case promql.Call():
                return self._call(node)
            case _:
                return frozenset()

    def _selector(self, node: promql.VectorSelector) -> frozenset[str]:
        name = node.name or ""
        self._checked.names.add(name)
        series = self._series.get(name)
        if series is None:
            self._say(f"{name or node} is in no catalogue")
            return frozenset()
        for matcher in (*node.matchers.matchers, *(one for group in node.matchers.or_matchers for one in group)):
            if matcher.name not in series.labels:
                self._say(f"{name} has no label {matcher.name}")
                continue
            known = series.labels[matcher.name]
            for value in known and _values(matcher):
                if value not in known:
                    self._say(f"{name} has no {matcher.name}={value!r}; it has {', '.join(known)}")
        return frozenset(series.labels)

    def _aggregate(self, node: promql.AggregateExpr) -> frozenset[str]:
        inner = self.labels(node.expr)
        by = frozenset(node.modifier.labels) if node.modifier else frozenset()
        self._want(by, inner, str(node.op))
        if node.modifier and node.modifier.type == promql.AggModifierType.Without:
            return inner - by
        return inner if str(node.op) in {"topk", "bottomk"} else by

    def _binary(self, node: promql.BinaryExpr) -> frozenset[str]:
        left, right = self.labels(node.lhs), self.labels(node.rhs)
        modifier = node.modifier
        if modifier is None or modifier.matching is None:
            scalars = isinstance(node.lhs, promql.NumberLiteral) or (isinstance(node.lhs, promql.Call) and node.lhs.func.name == "time")
            return right if scalars else left
        matched = frozenset(modifier.matching.labels)
        self._want(matched, left, f"left of {node.op}")
        self._want(matched, right, f"right of {node.op}")
        included = frozenset(modifier.group_labels or ())
        match modifier.card:
            case promql.VectorMatchCardinality.ManyToOne:
                self._want(included, right, "group_left")
                return left | included
            case promql.VectorMatchCardinality.OneToMany:
                self._want(included, left, "group_right")
                return right | included
            case promql.VectorMatchCardinality.ManyToMany:  # and, or, unless
                return left
            case _:
                return matched if modifier.matching.type == promql.LabelModifierType.Include else left - matched

    def _call(self, node: promql.Call) -> frozenset[str]:
        inner = [self.labels(argument) for argument in node.args]
        name = node.func.name
        if name in {"absent", "absent_over_time", "scalar", "vector", "time"}:
            return frozenset()
        labels = frozenset().union(*inner)
        if name == "histogram_quantile":
            self._want(frozenset({"le"}), labels, name)
            return labels - {"le"}
        if name == "label_replace":
            return labels | {node.args[1].val}
        return labels

    def _want(self, wanted: Iterable[str], there: frozenset[str], where: str) -> None:
        for label in sorted(frozenset(wanted) - there):
            self._say(f"{where}: no label {label} in {', '.join(sorted(there)) or 'a result without labels'}")

    def _say(self, problem: str) -> None:
        self._checked.problems.append(problem)


def _values(matcher: promql.Matcher) -> list[str]:
    """Return the values that a matcher names; none if it takes what comes."""
    if matcher.op == promql.MatchOp.Equal or matcher.op == promql.MatchOp.NotEqual:  # noqa: PLR1714  # they have no hash
        return [] if matcher.value in {"", ".+"} else [matcher.value]
    return [] if re.search(r"[.*+?\[\\]", matcher.value) else matcher.value.strip("()").split("|")
