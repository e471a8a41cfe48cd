"""The rules of the house, on the boards as they are shipped."""

import itertools
import re

import pytest

from charts.dashboards.boards import BOARDS, FOLDER, render
from charts.dashboards.page import PAGE, explained
from tests.dashboards.queries import Source, load, queries

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {"s", "percentunit", "bytes", "Bps", "none", "dateTimeFromNow"}
"""Those that are used, out of those that Grafana knows: of an unknown one it makes a suffix."""
COLOURS_OF_ACTION = {"orange", "red"}
KINDS = {"stat", "timeseries", "bargauge", "table"}


@pytest.fixture(params=BOARDS)
def board(request):
    return load(request.param)


@pytest.fixture(params=[(uid, panel["title"]) for uid in BOARDS for panel in load(uid)["panels"]], ids=": ".join)
def panel(request):
    uid, title = request.param
    (found,) = [panel for panel in load(uid)["panels"] if panel["title"] == title]
    return found


def test_the_files_are_what_the_code_makes():
    made = {f"{uid}.json": render(board()) for uid, board in BOARDS.items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert there == made, "run `make dashboards`"


def test_the_page_explains_the_panels_as_they_are():
    page = there = PAGE.read_text(encoding="utf-8")
    for board in BOARDS.values():
        page = explained(page, board())
    assert there == page, "run `make dashboards`"


def test_a_file_fits_into_a_configmap(board):
    assert (FOLDER / f"{board['uid']}.json").stat().st_size < 256 * 1024


def test_a_board_opens_the_same_everywhere(board):
    assert "id" not in board  # one of the database it came from
    assert not {"apiVersion", "kind"} & set(board)
    assert board["editable"] is False
    assert board["graphTooltip"] == 1
    assert board["timezone"] == ""
    assert board["refresh"] == "10s"
    assert board["time"] == {"from": "now-1h", "to": "now"}
    assert board["schemaVersion"] == 41
    assert board["description"]


def test_boards_find_each_other(board):
    assert board["tags"] == ["fedcore"]
    (link,) = board["links"]
    assert link["type"] == "dashboards"
    assert link["tags"] == ["fedcore"]
    assert link["keepTime"]
    assert link["includeVars"]


def test_panels_do_not_overlap_and_fill_the_width(board):
    boxes = [panel["gridPos"] for panel in board["panels"]]
    for a, b in itertools.combinations(boxes, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, f"{a} and {b}"
    assert sum(box["w"] * box["h"] for box in boxes) == 24 * max(box["y"] + box["h"] for box in boxes)
    assert all(box["x"] + box["w"] <= 24 for box in boxes)


def test_a_board_is_read_without_getting_lost(board):
    assert len(board["panels"]) <= 20
    titles = [panel["title"] for panel in board["panels"]]
    assert len(set(titles)) == len(titles)
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(titles) + 1))


def test_a_panel_says_what_it_shows_and_what_good_looks_like(panel):
    assert panel["type"] in KINDS
    assert panel["title"]
    assert re.search(r"\b[Gg]ood(:| depends|, )|are good\b|is good\b", panel["description"]), panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    for override in panel["fieldConfig"]["overrides"]:
        assert all(each["value"] in UNITS for each in override["properties"] if each["id"] == "unit")


def test_a_panel_asks_the_chosen_data_source(panel):
    assert panel["datasource"] == DATA_SOURCE
    assert all(target["datasource"] == DATA_SOURCE for target in panel["targets"])
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == [chr(ord("A") + place) for place in range(len(letters))]


def test_a_panel_that_shows_one_moment_asks_for_one(panel):
    assert all(target["instant"] == (panel["type"] != "timeseries") for target in panel["targets"])
    assert all((target["format"] == "table") == (panel["type"] == "table") for target in panel["targets"])


def test_thresholds_mean_that_somebody_has_to_act(panel):
    defaults = panel["fieldConfig"]["defaults"]
    steps = [step["color"] for step in defaults["thresholds"]["steps"]]
    assert steps == ["text"] or (panel["type"] == "stat" and COLOURS_OF_ACTION & set(steps))


def test_menus_and_marks_ask_the_chosen_data_source(board):
    first, *rest = board["templating"]["list"]
    assert first["name"] == "datasource"
    assert first["label"] == "Data source"
    assert first["query"] == "prometheus"
    assert all(menu["datasource"] == DATA_SOURCE for menu in rest if menu["type"] == "query")
    assert all(mark["datasource"] == DATA_SOURCE and mark["useValueForTime"] for mark in board["annotations"]["list"])


def test_menus(board):
    menus = {menu["name"]: menu for menu in board["templating"]["list"]}
    of = {
        "fedcore-overview": ["datasource", "namespace", "window"],
        "fedcore-run": ["datasource", "namespace", "federatedjob", "window"],
        "fedcore-workers": ["datasource", "namespace", "federatedjob", "worker", "window"],
    }
    assert list(menus) == of[board["uid"]]
    for name in {"namespace", "federatedjob", "worker"} & set(menus):
        assert menus[name]["refresh"] == 2  # as the time range changes, so that jobs of last week can be chosen
        assert "regex" not in menus[name]
        assert menus[name]["multi"] == menus[name]["includeAll"] == (name != "federatedjob")
        assert menus[name].get("allValue") == (".+" if menus[name]["includeAll"] else None)  # ".*" would match what has no such label
    assert menus["window"]["query"] == "30s,1m,5m,10m,30m,1h"
    assert menus["window"]["current"]["value"] == "10m"


def test_rates_look_back_over_the_window(board):
    for panel in board["panels"]:
        for target in panel["targets"]:
            ranges = re.findall(r"(?:rate|increase)\([^\[]*\[([^\]]*)\]", target["expr"])
            assert set(ranges) <= ({"$__range"} if target["instant"] else {"$window"}), panel["title"]


def test_what_misleads_is_not_drawn(board):
    for query in queries(board):
        assert "fedcore_quorum_accepted_updates" not in query.expr  # between 0 and N in every round, and looks like failure
        if query.source is Source.PANEL and not query.instant:
            assert ("topk" in query.expr) == ("@ end()" in query.expr)  # else other ten at every step, in broken lines


def test_every_selector_of_a_job_is_narrowed_by_the_menus(board):
    if board["uid"] == "fedcore-overview":
        return
    for panel in board["panels"]:
        for target in panel["targets"]:
            for selector in re.findall(r"\{([^}]*)\}", target["expr"]):
                assert 'namespace=~"$namespace", federatedjob=~"$federatedjob"' in selector, panel["title"]
