"""The benches run and say what they promise to say. What they measure is for docs/benchmarks.md; no time is asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.table import render

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(120)


def bench(*arguments):
    done = subprocess.run([sys.executable, "-m", "bench", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=110)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("tls", [[], ["--tls"]], ids=["plain", "TLS"])
def test_round(tls):
    found = bench("round", "--workers", 2, "--mb", 1, "--rounds", 3, "--repeats", 1, *tls)
    assert {"ratio", "ratio_min", "ratio_max", "round_s", "control_s", "fsync_s", "ratio_durable", "peak_rss_mb", "machine"} <= found.keys()
    assert (found["workers"], found["mb"], found["tls"], found["repeats"]) == (2, 1.0, bool(tls), 1)
    assert 0 < found["ratio"] < found["ratio_durable"]
    assert found["fsync_s"] > 0


def test_wire_needs_hardly_more_than_the_parameters():
    found = bench("wire", "--workers", 1, "--mb", 10)
    assert 1 <= found["up_ratio"] <= 1.01
    assert 1 <= found["down_ratio"] <= 1.01


def test_memory_costs_two_models():
    found = bench("memory", "--workers", 2, 17, "--mb", 20)
    assert [row["workers"] for row in found["rows"]] == [2, 17]
    for row in found["rows"]:
        assert row["models"] > 1.5, "the accumulator alone has eight bytes for four of the model's"
        assert row["below_bound_mb"] > 0


def test_scale_costs_no_thread_per_worker():
    found = bench("scale", "--workers", 150, "--rounds", 1, "--repeats", 1)
    assert found["threads"] < 30
    assert found["descriptors"] < 2 * 150 + 100
    assert found["cost_ratio"] > 0


def test_report():
    found = bench("report", "--workers", 70, "--rounds", 3, "--repeats", 1)
    assert {"end_s", "longer_s", "few", "many"} <= found.keys()
    assert (found["many"]["workers"], found["many"]["rounds"]) == (70, 3)
    assert all(0 < found[size]["html_mb"] < 2 for size in ("few", "many"))


def test_scrape_shows_few_of_many_workers():
    found = bench("scrape", "--workers", 210, "--policies", "auto", "--repeats", 2)
    (row,) = found["rows"]
    assert 300 < row["series"] < 6 * 210
    assert 0 < row["gzip_bytes"] < row["bytes"] / 4
    assert row["plain_ms"] > 0


def test_start():
    found = bench("start", "--workers", 2, "--repeats", 1)
    assert found["start_s"] > 0
    assert found["ratio"] > 0


def test_soak_says_what_grew():
    found = bench("memory", "--workers", 2, "--minutes", 0.1)
    assert found["rounds"] > 3
    assert {"rss_mb_growth", "descriptors_growth", "threads_growth"} <= found.keys()


def ones(*keys):
    return {f"{key}{end}": 1.0 for key in keys for end in ("", "_min", "_max")}


def test_table_has_a_row_for_each_result():
    row = {
        **ones("ratio", "ratio_durable", "cpu_ratio", "round_s", "control_s", "fsync_s"),
        "workers": 8,
        "mb": 0.1,
        "tls": False,
        "peak_rss_mb": 60.0,
    }
    few = ones("cost_ratio", "round_s", "registration_s", "start_s", "ratio")
    results = {
        "small": row,
        "rounds": [{**row, "mb": 10.0, "tls": True}],
        "wire": [{"tls": True, "up_ratio": 1.001, "down_ratio": 1.0}],
        "memory": {"rows": [{"workers": 4, "peak_mb": 1.0, "base_mb": 1.0, "models": 2.0, "below_bound_mb": 50.0}]},
        "scale": {**few, "workers": 1000, "control_workers": 100, "threads": 3, "descriptors": 2000, "peak_rss_mb": 80.0},
        "start": {**few, "workers": 4},
    }
    page = render(results)
    assert "| 8 x 0.1 MB | 1.00 (1.00 to 1.00) |" in page
    assert "| 8 x 10 MB, TLS |" in page
    assert "up 1.001, down 1.0" in page
