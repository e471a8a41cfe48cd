"""Every expression of every board against the catalogues."""

import json
import re

import pytest

from fedcore.coordinator import metrics as coordinator
from fedcore.metrics import Kind
from fedcore_operator.runtime import metrics as operator
from support.promql import EXPORTED, check
from tests.dashboards.queries import Source, queries, shipped, substitute, values

BOARDS = shipped()
QUERIES = [query for board in BOARDS.values() for query in queries(board)]
TOTALS = {metric.name for metric in operator.PER_JOB}
"""Among them counters that come from the status of a job: their value itself says something."""
COUNTERS = {
    name
    for metric in (*coordinator.CATALOGUE, *operator.CATALOGUE)
    if metric.kind is not Kind.GAUGE
    for name in metric.series_names
    if name not in TOTALS
}
"""They begin at 0 with each process."""


def problems(query):
    checked = check(query.expr)
    missing = set(re.findall(r"\{\{(\w+)\}\}", query.legend)) - checked.labels
    return checked.problems + [f"the legend's {label} is not in the result" for label in missing]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_an_expression_has_only_what_the_catalogues_have(query):
    assert problems(query) == []


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_rates_are_of_counters_and_of_counters_only_rates(query):
    rated = set(re.findall(r"\b(?:rate|increase)\((\w+)", query.expr))
    assert rated <= COUNTERS | TOTALS
    assert check(query.expr).names & COUNTERS <= rated


def test_every_panel_variable_and_mark_is_listed():
    for uid, board in BOARDS.items():
        listed = [query for query in QUERIES if query.board == uid]
        panels = {query.title for query in listed if query.source is Source.PANEL}
        assert panels == {panel["title"] for panel in board["panels"]}
        menus = {query.title for query in listed if query.source is Source.VARIABLE}
        assert menus == {menu["name"] for menu in board["templating"]["list"]} - {"datasource", "window"}
        marks = {query.title for query in listed if query.source is Source.ANNOTATION}
        assert marks == {mark["name"] for mark in board["annotations"]["list"]}


def test_no_variable_is_left_over():
    assert not [query for query in QUERIES if "$" in query.expr]


def test_an_unknown_variable_is_an_error():
    with pytest.raises(KeyError):
        substitute('up{namespace=~"$namepsace"}', values())


@pytest.mark.parametrize(
    ("plant", "problem"),
    [
        pytest.param(("fedcore_rounds_total", "fedcore_round_total"), "fedcore_round_total is in no catalogue", id="a misspelt metric"),
        pytest.param(("by (outcome)", "by (result)"), "no label result", id="a label renamed in a grouping"),
        pytest.param(("federatedjob=~", "job_name=~"), "has no label job_name", id="a label renamed in a selector"),
        pytest.param(("{{outcome}}", "{{result}}"), "the legend's result", id="a label renamed in a legend"),
        pytest.param(('$federatedjob\\"}', '$federatedjob\\"'), "does not parse", id="an unbalanced brace"),
    ],
)
def test_a_fault_planted_in_the_file_is_found(plant, problem):
    board = json.loads(json.dumps(BOARDS["fedcore-run"]).replace(*plant))
    found = [each for query in queries(board) if query.source is Source.PANEL for each in problems(query)]
    assert any(problem in each for each in found), found


def test_names_that_overrides_look_for_are_names_that_series_have():
    for board in BOARDS.values():
        for panel in board["panels"]:
            asked = [query for query in queries(board) if query.title == panel["title"]]
            possible = {query.legend for query in asked}
            for query in asked:
                if label := re.fullmatch(r"\{\{(\w+)\}\}", query.legend):
                    possible |= {value for name in check(query.expr).names for value in EXPORTED[name].labels.get(label[1], ())}
            for rearranged in panel.get("transformations", []):
                possible |= set(rearranged["options"].get("renameByName", {}).values())
            named = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
            assert named <= possible, f"{board['uid']}, {panel['title']}"
