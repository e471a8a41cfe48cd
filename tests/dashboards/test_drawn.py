"""The boards of one job, drawn from what a real Prometheus has seen of a real run: every panel is there, with data."""

import json
import struct

import pytest

from tests.dashboards.drawing import draw, page
from tests.dashboards.queries import load

pytestmark = pytest.mark.timeout(300)  # the run that is drawn is charged to the first of them

WINDOW = "30s"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module", autouse=True)
def _page():
    page()  # before the run that is to be drawn: without a page there is no need for one


@pytest.fixture
def drawn(watched, tmp_path):
    """Draw a board of the run, or a changed one."""

    def drawn(uid, board=None):
        picture = tmp_path / f"{uid}.png"
        menus = {"federatedjob": watched.job, "window": WINDOW}
        found = draw(uid, watched.prometheus.url, picture, span_seconds=watched.span_seconds, end=watched.end, board=board, **menus)
        return found, picture

    return drawn


@pytest.mark.parametrize("uid", ["fedcore-run", "fedcore-workers"])
def test_every_panel_is_drawn_with_data(drawn, uid):
    found, picture = drawn(uid)
    assert found.complete, found
    assert found.total == len(load(uid)["panels"])
    head = picture.read_bytes()[:24]
    assert head.startswith(PNG)
    width, height = struct.unpack(">II", head[16:])
    assert (width, height > 1000) == (1600, True)


def test_planted_faults_are_seen(drawn):
    board = load("fedcore-run")
    faults = {
        "Round duration": ("fedcore_round_duration_seconds_bucket", "fedcore_round_durations_bucket"),
        "Loss": ("federatedjob=~", "federated_job=~"),
        "Payload": ("direction)", "direction"),
    }
    for panel in board["panels"]:
        for target in panel["targets"]:
            target["expr"] = target["expr"].replace(*faults.get(panel["title"], ("", "")))
    unknown = json.loads(json.dumps(board["panels"][0]["fieldConfig"]["overrides"][0]))
    unknown["properties"][0]["id"] = "colour"
    board["panels"][2]["fieldConfig"]["overrides"].append(unknown)
    found, _ = drawn("fedcore-run", board)
    assert set(found.empty) == {"Round duration", "Loss"}
    assert sorted(error.partition(":")[0] for error in found.errors) == ["Accuracy", "Payload"]
    assert found.ok == found.total - 4
