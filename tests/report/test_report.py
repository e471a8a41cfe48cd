"""The report of a run: it is one file, has a bound, and is there whatever became of the run."""

from __future__ import annotations

import base64
import csv
import json
import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest

from fedcore.report.lock import lock_run_dir
from fedcore.report.plots import PLOTS
from fedcore.report.rundir import EVENTS
from fedcore.report.write import NoRun, check_run_dir, locked, rebuild, write_report
from support.browser import opened, references
from support.events import START

pytestmark = pytest.mark.timeout(300)  # a second each, a hundred on a machine that is busy otherwise
PNG = b"\x89PNG\r\n\x1a\n"


def run_of(folder, events):
    (folder / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def report(run_dir):
    return write_report(run_dir, rebuild(run_dir)).read_text()


def many(log, workers, rounds):
    """A run of any size, in which worker-3 is slow and worker-5 never answers."""
    log.add(0, "run_started", run_id="r1", job="many", version=0, rounds=rounds, workers=workers, required=1, seed=0)
    for number in range(1, rounds + 1):
        log.add(number, "round_opened", round=number, version=number - 1, participants=workers, required=1, deadline_s=600)
        for index in range(workers):
            log.add(number, "task_sent", round=number, worker=f"worker-{index}", attempt=1, epochs=1.0 + index % 3, evaluate=False)
            if index != 5:
                log.update(number + 0.5, number, f"worker-{index}", round_trip_s=9.0 if index == 3 else 0.5, train_s=0.25)
        log.closed(number + 0.75, number, accepted=workers - 1, participants=workers, required=1, stragglers=1)
    return log


def test_the_page_holds_all_plots_and_refers_to_nothing_outside(tmp_path, two_rounds):
    html = report(run_of(tmp_path, two_rounds))
    files = {path.name for path in (tmp_path / "plots").iterdir()}
    assert files == {f"{name}.{kind}" for name in PLOTS for kind in ("png", "svg")}
    for name in PLOTS:
        assert (tmp_path / f"plots/{name}.png").read_bytes().startswith(PNG)
        drawn = (tmp_path / f"plots/{name}.svg").read_bytes()
        assert ET.fromstring(drawn).tag.endswith("svg")
        assert f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}" in html
        assert b'href="http' not in drawn
    assert html == report(tmp_path), "the same run gives the same bytes"
    assert len(references(html)) == len(PLOTS)
    assert all(found.startswith("data:image/") for found in references(html))
    for word in ("mnist", "Succeeded: 2 of 2 rounds", "0.875", "worker-1 came back as attempt 2", "f1"):
        assert word in html


def test_a_browser_without_a_network_shows_every_picture(tmp_path, two_rounds):
    page = tmp_path / "report.html"
    report(run_of(tmp_path, two_rounds))
    count = "document.title = [...document.images].filter(one => one.naturalWidth > 100).length"
    probe = f"<script>addEventListener('load', () => {{ {count} }})</script>"
    text = page.read_text()
    assert "default-src 'none'" in text, "the page itself forbids what it would have to fetch, scripts too"
    page.write_text(text.replace("style-src", "script-src 'unsafe-inline'; style-src").replace("</body>", f"{probe}</body>"))
    title = opened(page, tmp_path / "browser").partition("<title>")[2].partition("</title>")[0]
    assert title == str(len(PLOTS)), "pictures that were drawn"


def test_what_a_page_would_fetch_is_found():
    assert references('<img src="https://example.com/a.png"><style>a { background: url(b.png) }</style>') == [
        "https://example.com/a.png",
        "b.png",
    ]


def test_text_of_the_run_is_text_in_the_page(tmp_path, log):
    log.add(0, "run_started", run_id="r1", job="<b>bold</b>", version=0, rounds=1, workers=1, required=1, seed=0)
    log.add(1, "run_finished", phase="Failed", reason="InternalError", message="<script>alert(1)</script>", exit_code=1)
    html = report(run_of(tmp_path, log))
    assert "<script>" not in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html


@pytest.mark.parametrize("cut", [0, 1, 4, 9, 20])
def test_a_run_that_stopped_anywhere_has_its_report(tmp_path, two_rounds, cut):
    run_of(tmp_path, two_rounds[:cut])
    with (tmp_path / EVENTS).open("a") as file:
        file.write('{"time": "2026-11-24T09:11:0')  # torn
    html = report(tmp_path)
    assert "Interrupted after" in html
    assert ("No round was opened" in html) == (cut <= 3)


def test_a_failed_and_resumed_run_is_told_with_its_faults(tmp_path, resumed):
    html = report(run_of(tmp_path, resumed))
    for word in ("Failed: QuorumLost after 1 of 2 rounds", "the coordinator started again", "the deadline passed with 1 of 2 updates"):
        assert word in html


def test_plots_that_no_longer_apply_are_removed(tmp_path, two_rounds):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/accuracy.png").write_bytes(PNG)
    report(run_of(tmp_path, two_rounds[:1]))
    assert list((tmp_path / "plots").iterdir()) == []


def test_of_many_the_worst_are_shown_and_the_page_has_a_bound(tmp_path, log):
    html = report(run_of(tmp_path, many(log, workers=70, rounds=101)))
    assert len(html) < 1_500_000
    assert "The 25 worst of 70; the other 45 missed 0 rounds together" in html
    assert "The 100 longest of 101" in html
    rows = html[html.index("<h2>Workers</h2>") : html.index("<h2>Rounds</h2>")]
    assert rows.index("worker-5<") < rows.index("worker-3<") < rows.index("worker-0<")


def test_one_worker_is_enough(tmp_path, log):
    html = report(run_of(tmp_path, many(log, workers=1, rounds=3)))
    assert len(references(html)) == len({"round_trip", "quorum", "round_duration", "epochs", "loss"})


def test_tables_are_rebuilt_and_what_the_supervisor_knew_is_kept(tmp_path, two_rounds):
    run_of(tmp_path, two_rounds[:-1])
    before = rebuild(tmp_path) | {"phase": "Interrupted", "message": "stopped by Ctrl-C", "worker_restarts": 7}
    (tmp_path / "summary.json").write_text(json.dumps(before))
    (tmp_path / "rounds.csv").write_text("nonsense")
    again = rebuild(tmp_path)
    assert (again["message"], again["worker_restarts"]) == ("stopped by Ctrl-C", 7)
    with (tmp_path / "rounds.csv").open(newline="") as file:
        assert [row["round"] for row in csv.DictReader(file)] == ["1"]
    run_of(tmp_path, two_rounds)  # it has gone on since
    assert (rebuild(tmp_path)["phase"], rebuild(tmp_path)["worker_restarts"]) == ("Succeeded", 1)


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_a_summary_that_is_none_is_made_anew(tmp_path, two_rounds, text):
    run_dir = run_of(tmp_path, two_rounds)
    wanted = rebuild(run_dir)
    (run_dir / "summary.json").write_text(text)
    assert rebuild(run_dir) == wanted


def test_a_path_that_is_no_run_is_told_why(tmp_path, two_rounds):
    with pytest.raises(NoRun, match="is not there"):
        check_run_dir(tmp_path / "nowhere")
    with pytest.raises(NoRun, match=r"holds no run: there is no events\.jsonl$"):
        check_run_dir(tmp_path)
    (tmp_path / "runs/one").mkdir(parents=True)
    run_of(tmp_path / "runs/one", two_rounds)
    with pytest.raises(NoRun, match=r"it holds runs, the newest is .*runs/one"):
        check_run_dir(tmp_path / "runs")
    with pytest.raises(NoRun, match="is a file"):
        check_run_dir(tmp_path / "runs/one" / EVENTS)


def test_others_are_kept_out_while_it_is_written(tmp_path):
    with locked(tmp_path), pytest.raises(Exception, match="is locked"):
        lock_run_dir(tmp_path)
    with locked(tmp_path):
        pass


def test_times_of_happenings_are_those_of_the_run(tmp_path, two_rounds):
    assert f"{START + timedelta(seconds=2.3):%H:%M:%S}" in report(run_of(tmp_path, two_rounds))
