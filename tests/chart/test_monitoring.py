"""What the chart gives to Prometheus and Grafana: what is made when, whom it selects, and that a real API server takes it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from fedcore_operator.api import names
from fedcore_operator.api.settings import Settings
from fedcore_operator.plan.pods import coordinator_pod, images
from support.operator_objects import SETTINGS, make_job
from tests.cluster import fixtures, modules
from tests.cluster.apiserver import apiserver as run_apiserver
from tests.cluster.errors import Unavailable
from tests.e2e.conftest import CHART

pytestmark = pytest.mark.apiserver

RULES = CHART / "files/rules/fedcore.yaml"
BOARDS = sorted((CHART / "files/dashboards").glob("*.json"))
MONITORS = ("PodMonitor", "ServiceMonitor")
KINDS = (*MONITORS, "PrometheusRule")
CONFIG_MAP_BYTES = 256 * 1024


def having(*kinds):
    """Arguments for an API server that has kinds of the Prometheus operator."""
    return [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in kinds]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        pytest.param([], set(), id="auto, and the API server has none"),
        pytest.param(having(*KINDS), set(KINDS), id="auto, and it has all"),
        pytest.param(having("PodMonitor"), {"PodMonitor"}, id="auto, and it has one"),
        pytest.param(["--set=monitoring.monitors=always"], set(MONITORS), id="monitors always"),
        pytest.param(["--set=monitoring.rules=always"], {"PrometheusRule"}, id="rules always"),
        pytest.param(["--set=monitoring.monitors=never", *having(*KINDS)], {"PrometheusRule"}, id="monitors never"),
        pytest.param(["--set=monitoring.rules=never", *having(*KINDS)], set(MONITORS), id="rules never"),
    ],
)
def test_monitors_and_rules_are_made_where_they_can_be_or_shall_be(render, given, made):
    objects = render(*given)
    assert {kind for kind in KINDS if objects.of(kind)} == made
    (container,) = objects.one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    said = {one["name"]: one.get("value", "x") for one in container["env"]}
    assert Settings.read(said).metrics_monitored is ("PodMonitor" in made), "coordinators wait for a scrape only if one may come"


def test_the_operator_is_found_and_its_jobs_keep_their_namespaces(render):
    objects = render(*having(*KINDS))
    monitor = objects.one("ServiceMonitor", "r-operator")
    service = objects.one("Service", "r-metrics")
    pod = objects.one("Deployment", "r")["spec"]["template"]
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"] == "own"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (port,), (endpoint,) = service["spec"]["ports"], monitor["spec"]["endpoints"]
    assert (port["name"], port["port"]) == (endpoint["port"], Settings.model_fields["metrics_port"].default)
    assert port["targetPort"] in {one["name"] for one in pod["spec"]["containers"][0]["ports"]}
    assert endpoint["honorLabels"] is True


def test_coordinators_are_found_and_speak_for_their_own_job_only(render):
    monitor = render(*having(*KINDS)).one("PodMonitor", "r-coordinators")["spec"]
    job = make_job()
    pod = coordinator_pod(job, SETTINGS, images(job, SETTINGS), 1, "{}")
    assert monitor["namespaceSelector"] == {"any": True}
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {one["name"] for one in pod["spec"]["containers"][0]["ports"]}
    assert (endpoint["honorLabels"], monitor["sampleLimit"]) == (False, 10_000)
    label = "__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", names.JOB)
    assert endpoint["relabelings"] == [{"action": "replace", "sourceLabels": [label], "targetLabel": "federatedjob"}]
    assert endpoint["metricRelabelings"] == [{"action": "labeldrop", "regex": "exported_federatedjob"}]


def test_coordinators_are_looked_for_only_where_jobs_are_served(render):
    monitor = render(*having(*KINDS), "--set=namespaces={a,b}").one("PodMonitor", "r-coordinators")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}


def test_a_prometheus_that_selects_by_labels_gets_them_and_ours_stay(render):
    wanted = {"release": "stack", "app.kubernetes.io/name": "other"}
    objects = render(*having(*KINDS), f"--set-json=monitoring.labels={json.dumps(wanted)}", "--set=monitoring.interval=1m")
    for kind in KINDS:
        (one,) = objects.of(kind)
        assert (one["metadata"]["labels"]["release"], one["metadata"]["labels"]["app.kubernetes.io/name"]) == ("stack", "fedcore")
    assert objects.of("PodMonitor")[0]["spec"]["podMetricsEndpoints"][0]["interval"] == "1m"
    assert objects.of("ServiceMonitor")[0]["spec"]["endpoints"][0]["interval"] == "1m"


def test_the_rules_are_those_of_the_file(render):
    (rule,) = render("--set=monitoring.rules=always").of("PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())


@pytest.mark.parametrize("base", ["https://git.example.com/ml/fedcore", "https://git.example.com/ml/fedcore/"])
def test_runbooks_are_links_where_their_place_is_known(render, base):
    (rule,) = render("--set=monitoring.rules=always", f"--set=monitoring.runbookBaseUrl={base}").of("PrometheusRule")

    def runbooks(groups):
        return [one["annotations"]["runbook_url"] for group in groups for one in group["rules"] if "alert" in one]

    ours = runbooks(yaml.safe_load(RULES.read_text())["groups"])
    assert runbooks(rule["spec"]["groups"]) == [f"https://git.example.com/ml/fedcore/{path}" for path in ours]
    assert ours


def test_each_board_is_a_config_map_that_the_sidecar_finds(render):
    maps = render().of("ConfigMap")
    assert {Path(name).name: text for one in maps for name, text in one["data"].items()} == {
        board.name: board.read_text() for board in BOARDS
    }
    for one in maps:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "FedCore"}
        assert sum(len(text.encode()) for text in one["data"].values()) < CONFIG_MAP_BYTES
    assert render("--set=monitoring.dashboards.enabled=false").of("ConfigMap") == []
    other = render('--set-json=monitoring.dashboards.labels={"board": "yes"}', "--set=monitoring.dashboards.annotations=null")
    assert all(one["metadata"]["labels"]["board"] == "yes" for one in other.of("ConfigMap"))


@pytest.mark.parametrize("unset", ["labels", "dashboards.labels", "runbookBaseUrl", "from"])
def test_a_value_may_be_unset(render, unset):
    objects = render(*having(*KINDS), f"--set=monitoring.{unset}=null")
    labelled = [objects.of(kind)[0] for kind in KINDS] + objects.of("ConfigMap")
    assert {one["metadata"]["labels"]["app.kubernetes.io/name"] for one in labelled} == {"fedcore"}
    (container,) = objects.one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    assert (unset == "from") == (Settings.read({one["name"]: one.get("value", "x") for one in container["env"]}).monitoring_from == [])


def test_the_namespace_monitoring_may_scrape_and_no_other(render):
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render()
    assert objects.one("NetworkPolicy", "r")["spec"]["ingress"] == [{"from": peers, "ports": [{"port": 8080, "protocol": "TCP"}]}]
    (container,) = objects.one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    said = {one["name"]: one.get("value", "x") for one in container["env"]}
    assert Settings.read(said).monitoring_from == peers, "the same may scrape coordinators"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(
            [],
            [
                "No PodMonitor and no ServiceMonitor",
                "No PrometheusRule",
                '"kubernetes.io/metadata.name":"monitoring"',
                "searchNamespace: ALL",
            ],
            id="nothing there",
        ),
        pytest.param(
            ["--set=monitoring.monitors=always,monitoring.rules=always"],
            ["Monitors are there", "Alerts are there; monitoring.runbookBaseUrl"],
            id="all there",
        ),
        pytest.param(
            ["--set=monitoring.monitors=never,monitoring.rules=never,monitoring.dashboards.enabled=false", "--set-json=monitoring.from=[]"],
            ["No monitors (", "No alerts (", "No boards (", "let nobody in"],
            id="nothing wanted",
        ),
        pytest.param(
            ["--set=monitoring.dashboards.labels.board=yes"],
            ["grafana_dashboard=1", "board=yes", "folderAnnotation: grafana_folder", "foldersFromFilesStructure"],
            id="boards",
        ),
    ],
)
def test_the_notes_say_what_was_left_out_and_how_boards_are_found(apiserver, given, words):
    said = apiserver.helm("install", "r", CHART, "--namespace=own", "--dry-run=client", *given)
    notes = said.partition("NOTES:")[2]
    assert [word for word in words if word not in notes] == []


def crds():
    try:
        files = modules.PROMETHEUS_OPERATOR.files("example/prometheus-operator-crd")
    except Unavailable as reason:
        fixtures._do_without(reason)
    return [files[f"monitoring.coreos.com_{kind.lower()}s.yaml"] for kind in KINDS]


@pytest.fixture
def monitored(apiserver, tmp_path):
    """An API server with the kinds of the Prometheus operator, as it defines them."""
    with run_apiserver(tmp_path / "monitored") as running:
        running.kubectl("apply", "--server-side", "--filename=-", stdin="\n---\n".join(crds()))
        running.kubectl(
            "wait", "--for=condition=Established", "--timeout=180s", *(f"crd/{kind.lower()}s.monitoring.coreos.com" for kind in KINDS)
        )
        running.kubectl("create", "namespace", "own")
        yield running


def test_a_real_api_server_takes_what_is_made_for_the_prometheus_operator(render, monitored):
    monitored.helm("install", "r", CHART, "--namespace=own", "--set=replicas=0")
    rendered = render(*having(*KINDS))
    for kind in KINDS:
        (ours,) = rendered.of(kind)
        stored = monitored.get(kind.lower(), ours["metadata"]["name"], "--namespace=own")
        assert stored["spec"] == ours["spec"], "an unknown field would have been dropped"
    env = monitored.get("deployment/r", "--namespace=own")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "FEDCORE_METRICS_MONITORED", "value": "true"} in env
    assert monitored.get("configmaps", "--namespace=own", "--selector=grafana_dashboard=1")["items"] or not BOARDS
    monitored.helm("uninstall", "r", "--namespace=own")
    left = monitored.get(",".join(kind.lower() for kind in KINDS), "--namespace=own")
    assert left["items"] == []
