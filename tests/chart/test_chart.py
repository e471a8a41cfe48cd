"""The rendered chart against what the code says: rights, ports, probes, labels, settings."""

import json
import re
from pathlib import Path

import pytest
import yaml

from fedcore import __version__
from fedcore.crd import definition_yaml
from fedcore_operator.api import names
from fedcore_operator.api.settings import Settings
from fedcore_operator.io.rights import JOB_RIGHTS, OWN_RIGHTS

pytestmark = pytest.mark.apiserver
CHART = Path(__file__).parents[2] / "charts/fedcore"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def rights(role):
    return {
        (group, resource, verb, tuple(rule.get("resourceNames", ())))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def listed(some):
    return {(one.group, one.resource, verb, one.names) for one in some for verb in one.verbs}


def environment(container):
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_cluster_mode_has_exactly_the_rights_of_the_code(render):
    objects = render()
    assert rights(objects.one("ClusterRole", "own-r")) == listed(JOB_RIGHTS)
    assert rights(objects.one("Role", "r-own")) == listed(OWN_RIGHTS)
    assert [one["metadata"]["namespace"] for one in objects.of("Role")] == ["own"]
    bindings = [*objects.of("ClusterRoleBinding"), *objects.of("RoleBinding")]
    assert {subject["name"] for one in bindings for subject in one["subjects"]} == {"r"}


def test_namespaced_mode_has_the_same_rights_in_each_namespace_and_none_elsewhere(render):
    objects = render("--set=namespaces={a,b}")
    assert objects.of("ClusterRoleBinding") == []
    assert {one["metadata"]["namespace"]: rights(one) for one in objects.of("Role")} == {
        "a": listed(JOB_RIGHTS),
        "b": listed(JOB_RIGHTS),
        "own": listed(OWN_RIGHTS),
    }
    assert {one["metadata"]["namespace"] for one in objects.of("RoleBinding")} == {"a", "b", "own"}
    (container,) = objects.one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    assert environment(container)["FEDCORE_NAMESPACES"] == "a,b"


def test_no_rule_has_a_wildcard(render):
    for role in [*render().of("ClusterRole"), *render().of("Role")]:
        assert "*" not in str(role["rules"])


def test_without_rbac_there_are_no_roles(render):
    objects = render("--set=rbac.create=false")
    assert not [one for one in objects if one["apiVersion"].startswith("rbac.")]


def test_the_operators_pod_passes_the_restricted_level_and_bears_the_labels_of_the_policies(render):
    template = render().one("Deployment", "r")["spec"]["template"]
    assert names.OPERATOR_LABELS.items() <= template["metadata"]["labels"].items()
    spec = template["spec"]
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    (container,) = spec["containers"]
    assert container["securityContext"] == RESTRICTED
    assert spec["enableServiceLinks"] is False


def test_every_variable_is_a_setting_and_the_values_are_read(render):
    (container,) = render("--set=jobs.networkPolicy.enabled=false").one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    given = environment(container)
    variables = {name for name in given if name.startswith("FEDCORE_")}
    assert variables <= {Settings.variable(field) for field in Settings.model_fields}
    texts = {name: value if isinstance(value, str) else "x" for name, value in given.items()}
    settings = Settings.read(texts)
    assert settings.network_policy is False
    assert settings.worker_image == f"fedcore-worker:{__version__}"
    assert settings.ca_secret == "fedcore-ca"


def test_ports_and_probes_are_those_of_the_code(render):
    (container,) = render().one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    defaults = Settings.model_fields
    assert ports == {"metrics": defaults["metrics_port"].default, "health": defaults["health_port"].default}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "ca"]
    assert mount["mountPath"] == defaults["ca_dir"].default


def test_a_digest_wins_over_a_tag(render):
    digest = "sha256:" + "0" * 64
    chosen = [f"--set={place}.digest={digest},{place}.tag=v1" for place in ("image", "jobs.coordinatorImage", "jobs.workerImage")]
    (container,) = render(*chosen).one("Deployment", "r")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"fedcore-operator@{digest}"
    assert environment(container)["FEDCORE_COORDINATOR_IMAGE"] == f"fedcore-coordinator@{digest}"
    assert environment(container)["FEDCORE_WORKER_IMAGE"] == f"fedcore-worker@{digest}"


def test_names_that_yaml_takes_for_something_else_are_names(helm):
    words = ["--namespace=y", '--set-json=namespaces=["on"]', "--set-string=ca.existingSecret=1", "--set-string=priorityClassName=no"]
    secrets = '--set-json=imagePullSecrets=[{"name": "5"}, {"name": "six"}]'
    objects = [one for one in yaml.safe_load_all(helm("template", "off", str(CHART), *words, secrets).stdout) if one]
    for one in objects:
        texts = [one["metadata"]["name"], one["metadata"].get("namespace", ""), *one["metadata"]["labels"].values()]
        assert all(isinstance(text, str) for text in texts), one["metadata"]
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    assert (spec["priorityClassName"], spec["serviceAccountName"], spec["volumes"][0]["secret"]["secretName"]) == ("no", "off", "1")
    assert environment(spec["containers"][0])["FEDCORE_IMAGE_PULL_SECRETS"] == "5,six"
    assert {one["metadata"]["namespace"] for one in objects if "namespace" in one["metadata"]} == {"y", "on"}


def test_the_pod_is_placed_and_marked_as_the_values_say(render):
    wanted = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "affinity": {"podAffinity": {}}}
    settings = [f"--set-json={name}={json.dumps(value)}" for name, value in {**wanted, "podAnnotations": {"a": "b"}}.items()]
    template = render(*settings).one("Deployment", "r")["spec"]["template"]
    assert {name: template["spec"][name] for name in wanted} == wanted
    assert template["metadata"]["annotations"] == {"a": "b"}


def test_no_budget_holds_up_the_drain_of_the_operators_node(render):
    assert render().of("PodDisruptionBudget") == []


def test_an_older_kubernetes_is_refused(helm):
    done = helm("template", "r", str(CHART), "--kube-version=1.30.0", check=False)
    assert "1.31" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param([], ["helm test r --namespace own", "kubectl get fj --watch", "--take-ownership"], id="defaults"),
        pytest.param(["--set=namespaces={a,b}"], ["in a, b.", "kubectl apply --namespace a -f"], id="some namespaces"),
        pytest.param(["--set=crds.install=false"], ["The CRD is yours", "kubectl apply --server-side -f crds/"], id="no CRD"),
        pytest.param(["--set=jobs.networkPolicy.enabled=false"], ["any pod reaches"], id="no policies"),
    ],
)
def test_the_notes_say_what_to_do_next(apiserver, settings, words):
    said = apiserver.helm("install", "r", CHART, "--namespace=own", "--dry-run=client", *settings)
    notes = said.partition("NOTES:")[2]
    assert [word for word in words if word not in notes] == []


def leaves(values, schema, path=""):
    """Paths of the values that a user sets, as the schema has them: its objects with free keys count as one."""
    for name, value in values.items():
        inner = schema["properties"][name]
        if isinstance(value, dict) and value and (properties := resolved(inner).get("properties")):
            assert value.keys() == properties.keys(), f"{path}{name}"
            yield from leaves(value, resolved(inner), f"{path}{name}.")
        else:
            yield f"{path}{name}"


def resolved(schema):
    reference = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMA["definitions"][reference] if reference else schema


def test_values_schema_and_page_name_the_same():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == SCHEMA["properties"].keys() - {"global"}
    table = (CHART.parents[1] / "docs/install.md").read_text().partition("## Values")[2].partition("\n## ")[0]
    named = [name for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(named) == sorted(leaves(values, SCHEMA))


def test_the_crd_is_that_of_the_models_and_stays_when_the_release_goes(render):
    (crd,) = render().of("CustomResourceDefinition")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert crd["spec"] == yaml.safe_load(definition_yaml())["spec"]
    assert (CHART / "files/crds/federatedjobs.yaml").read_text() == definition_yaml()
    assert render("--set=crds.install=false").of("CustomResourceDefinition") == []


def test_the_policy_lets_out_no_more_than_is_needed(render):
    policy = render("--set-json=monitoring.from=[]").one("NetworkPolicy", "r")["spec"]
    assert (policy["policyTypes"], policy["ingress"]) == (["Ingress", "Egress"], [])
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 6443, names.METRICS_PORT}
    assert render("--set=operatorNetworkPolicy=false").of("NetworkPolicy") == []


def test_versions_are_one(render):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("--set=replica=2", "replica", id="a typo"),
        pytest.param("--set=image.digest=latest", "digest", id="no digest"),
        pytest.param("--set=progress.pollSeconds=0", "pollSeconds", id="too often"),
        pytest.param("--set=namespaces={A}", "namespaces", id="no namespace's name"),
        pytest.param("--set=monitoring.monitors=true", "monitors", id="neither auto nor always nor never"),
        pytest.param("--set=monitoring.interval=often", "interval", id="no interval"),
        pytest.param("--set=monitoring.runbookBaseUrl=docs", "runbookBaseUrl", id="no address"),
    ],
)
def test_wrong_values_are_refused(helm, value, words):
    done = helm("template", "r", str(CHART), value, check=False)
    assert done.returncode != 0
    assert re.search(words, done.stderr)
