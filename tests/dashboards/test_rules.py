"""Recording and alert rules: what they ask for exists, each alert fires and clears, and each has a runbook that helps."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support.prometheus import program
from support.promql import check
from support.rules import ALERTS, ALL, RECORDS, RULES, SERIES
from tests.dashboards.queries import shipped

ROOT = Path(__file__).parents[2]
HISTORIES = Path(__file__).with_name("rules_test.yaml")
RUNBOOKS = ROOT / "docs/runbooks"
HEADINGS = ["Meaning", "Impact", "Look at", "Do"]


def promtool(*arguments):
    return subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_prometheus_reads_the_rules():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stderr
    assert f"{len(ALL)} rules found" in done.stdout


def test_each_alert_fires_at_its_threshold_and_clears_with_the_text_expected():
    done = promtool("test", "rules", HISTORIES)
    assert done.returncode == 0, done.stderr


def test_each_alert_has_a_history_in_which_it_is_silent_fires_and_clears():
    times = {}
    for history in yaml.safe_load(HISTORIES.read_text())["tests"]:
        for case in history["alert_rule_test"]:
            times.setdefault((case["alertname"], history["name"]), []).append((int(case["eval_time"][:-1]), bool(case["exp_alerts"])))
    whole = {alert for (alert, _), cases in times.items() if re.search("01+0", "".join(str(int(fires)) for _, fires in sorted(cases)))}
    assert whole == set(ALERTS)


@pytest.mark.parametrize(
    ("right", "wrong", "alert"),
    [
        pytest.param(", 120)", ", 60)", "RoundStalled", id="a floor that is too low"),
        pytest.param("(fedcore_round_timeout_seconds) + 60", "(fedcore_round_timeout_seconds)", "RoundStalled", id="too soon after it"),
        pytest.param("by (namespace, federatedjob) (fedcore_phase", "by (namespace, federatedjob, pod) (fedcore_phase", "QuorumLost",
                     id="an alert that ends with its pod"),
        pytest.param("workers_live:sum <= max", "workers_live:sum < max", "QuorumAtRisk", id="one worker too few"),
        pytest.param("for: 5m", "for: 4m", "WorkerLost", id="a minute too early"),
        pytest.param("ratio_rate15m > 0.3", "ratio_rate15m > 0.31", "StaleUpdates", id="above the threshold"),
        pytest.param("unless on (namespace, federatedjob)", "unless on (federatedjob)", "CoordinatorDown", id="another namespace's job"),
        pytest.param("< 3600", "<= 3600", "JobFailed", id="a minute too long"),
        pytest.param("> 0) > 0.1", "> 0) > 0.12", "OperatorErrors", id="a share that is too high"),
        pytest.param('absent(fedcore_build_info{component="operator"})', "absent(fedcore_build_info)", "OperatorDown", id="others"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_found(tmp_path, right, wrong, alert):
    rules = RULES.read_text()
    assert right in rules
    (tmp_path / "fedcore.yaml").write_text(rules.replace(right, wrong, 1))
    (tmp_path / "rules_test.yaml").write_text(HISTORIES.read_text().replace("../../charts/fedcore/files/rules/", ""))
    done = promtool("test", "rules", tmp_path / "rules_test.yaml")
    assert done.returncode == 1
    assert set(re.findall(r"alertname: FedCore(\w+)", done.stderr)) == {alert}


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_is_exported(rule):
    assert check(rule["expr"], SERIES).problems == []


@pytest.mark.parametrize("name", RECORDS)
def test_a_recorded_series_is_named_by_level_metric_and_operation(name):
    level, metric, operation = name.split(":")
    assert (level, metric.startswith("fedcore_"), bool(operation)) == ("federatedjob", True, True)
    assert check(RECORDS[name]["expr"]).labels == {"namespace", "federatedjob"}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_with_figures_what_is_wrong(alert):
    rule = ALERTS[alert]
    assert alert.startswith("FedCore")
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"
    assert re.search(r"\$value|\| query|\d", rule["annotations"]["description"])


@pytest.mark.parametrize("alert", ALERTS)
def test_the_text_of_an_alert_uses_labels_and_queries_that_exist(alert):
    rule = ALERTS[alert]
    there = check(rule["expr"], SERIES).labels | {"severity"}
    for text in rule["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= there
        for query in re.findall(r'printf "([^"]+)" (?:\$labels\.\w+ )+\| query', text):
            asked = check(query.replace("%s", ".+"), SERIES)
            assert asked.problems == []
            assert set(re.findall(r"\.Labels\.(\w+)", text)) <= asked.labels or not asked.labels


def headings(text):
    return re.findall(r"^## (.+)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_runbook(alert):
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert headings(text) == HEADINGS
    sections = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    assert all(len(section.split()) > 15 for section in sections)
    assert "kubectl" in text


PANELS = {board["title"]: {panel["title"] for panel in board["panels"]} for board in shipped().values()}


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_names_boards_and_panels_that_exist(alert):
    _, *parts = re.split(r"[Bb]oard \[(FedCore / \w+)\]\(\.\./dashboards\.md#\w+\)", (RUNBOOKS / f"{alert}.md").read_text())
    assert parts
    for board, text in zip(parts[::2], parts[1::2], strict=True):
        named = re.findall(r"\*([^*]+)\*", text.partition("\n")[0]) if text.startswith(":") else []
        assert set(named) <= PANELS[board]


def test_there_is_no_runbook_without_an_alert_and_the_list_has_all():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {*ALERTS, "README"}
    row = re.compile(r"^\| \[(\w+)\]\(\1\.md\) \| .+ \| (at once|\d+ min) \| (\w+) \|$", re.MULTILINE)
    listed = row.findall((RUNBOOKS / "README.md").read_text())
    said = {alert: (rule.get("for", "").replace("m", " min") or "at once", rule["labels"]["severity"]) for alert, rule in ALERTS.items()}
    assert {alert: (wait, severity) for alert, wait, severity in listed} == said


def blocks(path, language):
    return re.findall(rf"^```{language}(?: [^\n]*)?\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [*sorted(RUNBOOKS.glob("*.md")), ROOT / "docs/monitoring.md"], ids=lambda path: path.stem)
def test_expressions_to_paste_ask_for_what_is_exported(path):
    pasted = blocks(path, "promql")
    assert pasted or path.stem == "README"
    for expression in pasted:
        assert check(expression, SERIES).problems == [], expression


def test_the_scrape_file_for_one_machine_is_read_and_labels_its_targets():
    path = ROOT / "examples/monitoring/prometheus.yaml"
    done = promtool("check", "config", path)
    assert done.returncode == 0, done.stderr
    (job,) = yaml.safe_load(path.read_text())["scrape_configs"]
    assert job["static_configs"][0]["labels"] == {"namespace": "local"}


def test_routes_and_inhibitions_in_the_docs_name_alerts_that_exist():
    alertmanager = next(block for block in blocks(ROOT / "docs/monitoring.md", "yaml") if "inhibit_rules" in block)
    named = set(re.findall(r"FedCore\w+", alertmanager))
    assert len(named) > 2
    assert named <= set(ALERTS)
    assert set(yaml.safe_load(alertmanager)) == {"route", "inhibit_rules", "receivers"}
