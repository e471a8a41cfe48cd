"""The models' bounds, defaults and rules over several fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedcore import spec as models
from fedcore.aggregation.registry import ALGORITHMS
from fedcore.engine.quorum import required
from fedcore.spec import API_VERSION, KIND, FederatedJob, local_tls
from fedcore.spec.model import Model
from fedcore.spec.placement import format_indexes, parse_indexes


def job(changes=None, *, name="mnist", **spec):
    """Return a job's data: the least there is, with the fields of ``changes``, by path, laid over."""
    data = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"rounds": 10, "task": {"entrypoint": "my.task:make"}, "workers": {"replicas": 8}, **spec},
    }
    for path, value in (changes or {}).items():
        *way, last = path.split(".")
        around = data["spec"]
        for step in way:
            around = around.setdefault(step, {})
        around[last] = value
    return data


def parse(data):
    return FederatedJob.model_validate(data)


def errors(data):
    """Return what is wrong, as (field, message)."""
    with pytest.raises(ValidationError) as caught:
        parse(data)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


def test_every_default_is_the_documented_one():
    assert parse(job()).model_dump(mode="json", by_alias=True)["spec"] == {
        "seed": 0,
        "rounds": 10,
        "suspend": False,
        "managedBy": None,
        "task": {"entrypoint": "my.task:make", "parameters": {}, "initialWeights": None},
        "workload": {"policy": "aimd", "epochs": 1.0, "minEpochs": 0.1, "maxEpochs": None, "increment": 0.25, "quantile": 0.5},
        "evaluation": {"everyRounds": 1},
        "quorum": {
            "percent": 75,
            "minWorkers": 1,
            "graceSeconds": None,
            "roundTimeoutSeconds": 600,
            "lossGracePeriodSeconds": 900,
        },
        "aggregation": {"algorithm": "fedavg", "parameters": {}},
        "workers": {"replicas": 8, "image": None, "template": None, "data": [], "maxRestartsPerWorker": 3},
        "coordinator": {
            "image": None,
            "template": None,
            "maxRestarts": 3,
            "checkpoint": {"volumeClaimTemplate": None, "claimName": None, "keep": 3},
        },
        "failurePolicy": {"restartBackoffSeconds": 10, "nonRetryableExitCodes": [2]},
        "startupDeadlineSeconds": 1800,
        "activeDeadlineSeconds": None,
        "ttlSecondsAfterFinished": None,
        "cleanPodPolicy": "Running",
        "metrics": {"perWorker": "auto", "lingerSeconds": 45},
        "security": {"tls": True},
    }


BOUNDS = [
    ("seed", 0, 2147483647),
    ("rounds", 1, 100000),
    ("workload.increment", 0.01, 10),
    ("workload.quantile", 0.05, 1),
    ("evaluation.everyRounds", 0, 10000),
    ("quorum.percent", 1, 100),
    ("quorum.lossGracePeriodSeconds", 0, 604800),
    ("workers.replicas", 1, 1000),
    ("workers.maxRestartsPerWorker", 0, 100),
    ("coordinator.maxRestarts", 0, 100),
    ("coordinator.checkpoint.keep", 2, 1000),
    ("failurePolicy.restartBackoffSeconds", 1, 3600),
    ("startupDeadlineSeconds", 0, 604800),
    ("activeDeadlineSeconds", 1, 31536000),
    ("ttlSecondsAfterFinished", 0, 31536000),
    ("metrics.lingerSeconds", 0, 600),
]


@pytest.mark.parametrize(("path", "least", "most"), BOUNDS, ids=[path for path, _, _ in BOUNDS])
def test_numbers_have_both_bounds(path, least, most):
    parse(job({path: least}))
    parse(job({path: most}))
    for value in (least - 1, most + 1):
        assert [field for field, _ in errors(job({path: value}))] == [f"spec.{path}"]


@pytest.mark.parametrize(
    ("changes", "least", "most"),
    [
        pytest.param({"workload.minEpochs": 0.01}, "workload.epochs", 0.01, id="epochs, least"),
        pytest.param({}, "workload.epochs", 1000, id="epochs, most"),
        pytest.param({"quorum.roundTimeoutSeconds": 604800}, "quorum.graceSeconds", 3600, id="grace, most"),
        pytest.param({"workers.replicas": 1000}, "quorum.minWorkers", 1000, id="minWorkers, most"),
    ],
)
def test_bounds_of_fields_that_depend_on_others(changes, least, most):
    parse(job({**changes, least: most}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"rounds": "10"}, "spec.rounds", id="a number as text"),
        pytest.param({"rounds": True}, "spec.rounds", id="true is no number"),
        pytest.param({"rounds": 2.5}, "spec.rounds", id="a fraction where a whole number belongs"),
        pytest.param({"suspend": "yes"}, "spec.suspend", id="text is not true"),
        pytest.param({"suspend": 1}, "spec.suspend", id="1 is not true"),
        pytest.param({"task.parameters": {"learningRate": 0.1}}, "spec.task.parameters.learningRate", id="parameters are text"),
        pytest.param({"workload.epochs": float("nan")}, "spec.workload.epochs", id="not a number"),
        pytest.param({"workload.policy": "amid"}, "spec.workload.policy", id="unknown policy"),
        pytest.param({"metrics.perWorker": True}, "spec.metrics.perWorker", id="on and off are booleans in YAML"),
        pytest.param({"cleanPodPolicy": None}, "spec.cleanPodPolicy", id="null is not None"),
        pytest.param({"workers.data": {}}, "spec.workers.data", id="a mapping for a list"),
        pytest.param(
            {"failurePolicy.nonRetryableExitCodes": [2, 256]}, "spec.failurePolicy.nonRetryableExitCodes.1", id="no such exit code"
        ),
        pytest.param({"task.parameters": {"x" * 65: ""}}, f"spec.task.parameters.{'x' * 65}.[key]", id="a long name"),
        pytest.param({"task.parameters": {"x": "y" * 4097}}, "spec.task.parameters.x", id="a long value"),
        pytest.param({"task.parameters": {str(i): "" for i in range(65)}}, "spec.task.parameters", id="many parameters"),
        pytest.param({"polcy": 1}, "spec.polcy", id="unknown field"),
        pytest.param({"round_timeout": 1}, "spec.round_timeout", id="unknown field, other style"),
    ],
)
def test_values_of_another_kind_are_refused(changes, field):
    assert [found for found, _ in errors(job(changes))] == [field]


@pytest.mark.parametrize(
    "name", ["a", "mnist", "a-b-1", "a" * 45], ids=["one letter", "plain", "with dashes and digits", "as long as can be"]
)
def test_names_that_can_name_a_job(name):
    assert parse(job(name=name)).name == name


@pytest.mark.parametrize("name", ["", "A", "1a", "a-", "-a", "a_b", "a.b", "a" * 46, "a\n", "é"])
def test_names_that_cannot(name):
    assert [field for field, _ in errors(job(name=name))] == ["metadata.name"]


@pytest.mark.parametrize("entrypoint", ["m:a", "my.pkg.task:make", "my.task:Factory.make", "_m:_a"])
def test_entrypoints(entrypoint):
    assert parse(job({"task.entrypoint": entrypoint})).spec.task.entrypoint == entrypoint


@pytest.mark.parametrize("entrypoint", ["", "m", "m:", ":a", "m.py:a b", "my/task.py:make", "m:a:b", "m..n:a", "m:a()", "m:a\n"])
def test_what_is_no_entrypoint(entrypoint):
    ((field, message),) = errors(job({"task.entrypoint": entrypoint}))
    assert field == "spec.task.entrypoint"
    assert "allowed: module:attribute" in message


@pytest.mark.parametrize(
    ("changes", "where", "at", "text"),
    [
        pytest.param(
            {"workload.minEpochs": 2},
            "spec.workload",
            "minEpochs",
            "minEpochs (2) is above epochs (1); allowed: minEpochs <= epochs <= maxEpochs",
            id="minEpochs above epochs",
        ),
        pytest.param(
            {"workload.epochs": 0.05},
            "spec.workload",
            "epochs",
            "minEpochs (0.1) is above epochs (0.05); allowed: minEpochs <= epochs <= maxEpochs",
            id="epochs below the default of minEpochs",
        ),
        pytest.param(
            {"workload.epochs": 3, "workload.maxEpochs": 2},
            "spec.workload",
            "maxEpochs",
            "2 is below epochs (3); allowed: minEpochs <= epochs <= maxEpochs",
            id="epochs above maxEpochs",
        ),
        pytest.param(
            {"quorum.graceSeconds": 61, "quorum.roundTimeoutSeconds": 60},
            "spec.quorum",
            "graceSeconds",
            "61 is above roundTimeoutSeconds (60); allowed: graceSeconds <= roundTimeoutSeconds",
            id="a grace longer than the round",
        ),
        pytest.param(
            {"quorum.minWorkers": 9},
            "spec",
            "quorum.minWorkers",
            "9 is above workers.replicas (8): no round could ever close",
            id="more workers required than declared",
        ),
        pytest.param(
            {"coordinator.checkpoint": {"claimName": "a", "volumeClaimTemplate": {}}},
            "spec.coordinator.checkpoint",
            "claimName",
            "claimName and volumeClaimTemplate exclude each other; leave out one of them",
            id="two places for checkpoints",
        ),
        pytest.param(
            {"aggregation.parameters": {"learningRate": "1"}},
            "spec.aggregation",
            "parameters",
            None,
            id="a parameter that the algorithm does not have",
        ),
    ],
)
def test_rules_over_several_fields_name_the_one_to_look_at(changes, where, at, text):
    with pytest.raises(ValidationError) as caught:
        parse(job(changes))
    (error,) = caught.value.errors()
    assert ".".join(error["loc"]) == where
    assert error["type"] == "broken_rule"
    ((field, message),) = error["ctx"]["problems"]
    assert field == at
    assert message == (text or message) == error["msg"]


def test_an_unknown_algorithm_is_refused_with_those_there_are():
    ((field, message),) = errors(job({"aggregation.algorithm": "fedavgg"}))
    assert field == "spec.aggregation.algorithm"
    assert message.endswith(f'"fedavgg" is unknown; allowed: {", ".join(ALGORITHMS)}')


class Picky:
    """An algorithm that needs five updates."""

    name = "picky"

    def check_parameters(self, parameters):
        return [f'parameter "{name}" is unknown' for name in parameters]

    def min_updates(self, parameters):
        return 5


def test_a_quorum_below_what_the_algorithm_needs_is_refused(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "picky", Picky())
    assert parse(job({"aggregation.algorithm": "picky"})).spec.aggregation.algorithm == "picky"
    assert errors(job({"aggregation.algorithm": "picky", "quorum.percent": 50})) == [
        ("spec", "picky needs 5 updates, but the quorum requires only 4 of 8; raise quorum.percent or quorum.minWorkers")
    ]


def test_each_wrong_parameter_of_an_algorithm_is_a_problem_of_its_own(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "picky", Picky())
    with pytest.raises(ValidationError) as caught:
        parse(job({"aggregation": {"algorithm": "picky", "parameters": {"a": "1", "b": "2"}}}))
    assert [text for _, text in caught.value.errors()[0]["ctx"]["problems"]] == ['parameter "a" is unknown', 'parameter "b" is unknown']


def entry(indexes, **fields):
    return {"indexes": indexes, **fields}


CLAIM = {"claimName": "site-{index}", "mountPath": "/data"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param([entry("3-1", **CLAIM)], 'the range "3-1" goes down; write "1-3"', id="a range that goes down"),
        pytest.param([entry("0,x", **CLAIM)], '"x" is no index or range', id="no number"),
        pytest.param([entry("0,,1", **CLAIM)], '"" is no index or range', id="a comma too many"),
        pytest.param([entry("1000", **CLAIM)], '"1000" is no index or range; allowed: indexes from 0 to 999', id="beyond every job"),
        pytest.param([entry("0", claimName="a")], "mountPath belongs to claimName or volume", id="a claim without a path"),
        pytest.param([entry("0", mountPath="/data")], "mountPath belongs to claimName or volume", id="a path without a claim"),
        pytest.param([entry("0", **CLAIM, volume={"nfs": {}})], "claimName and volume exclude each other", id="claim and volume"),
        pytest.param([entry("0", claimName="a", mountPath="data")], '"data" is no absolute path', id="a relative path"),
        pytest.param([entry("0", volume={"hostPath": {}}, mountPath="/d")], "has hostPath; allowed: exactly one of", id="hostPath"),
        pytest.param([entry("0", volume={}, mountPath="/d")], "has nothing; allowed: exactly one of", id="an empty volume"),
        pytest.param([entry("0", volume={"nfs": {}, "csi": {}}, mountPath="/d")], "has nfs, csi; allowed", id="two volumes in one"),
        pytest.param(
            [entry("0-3", **CLAIM), entry("3-4", claimName="b", mountPath="/data/")],
            "data[0] and data[1] both match index 3 and mount two volumes at /data",
            id="two volumes at one path",
        ),
        pytest.param(
            [entry("0-3", nodeSelector={"zone": "a"}), entry("5", nodeSelector={"zone": "c"}), entry("2", nodeSelector={"zone": "b"})],
            "data[0] and data[2] both match index 2 and want zone to be both a and b",
            id="a worker in two zones",
        ),
    ],
)
def test_placements_that_cannot_be(data, message):
    ((_, found),) = errors(job({"workers.data": data}))
    assert message in found


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([entry("0-3,7", **CLAIM)], id="one entry"),
        pytest.param([entry("0-3", **CLAIM), entry("4-7", claimName="b", mountPath="/data")], id="one path, different workers"),
        pytest.param([entry("0", **CLAIM), entry("0", claimName="b", mountPath="/more")], id="two paths, one worker"),
        pytest.param([entry("0", nodeSelector={"zone": "a"}), entry("0", nodeSelector={"zone": "a", "disk": "fast"})], id="agreeing"),
        pytest.param([entry("0", resources={"limits": {"memory": "8Gi"}})], id="resources alone"),
        pytest.param([entry("900-999", **CLAIM)], id="waits for a scale-up"),
    ],
)
def test_placements_that_can(data):
    assert len(parse(job({"workers.data": data})).spec.workers.data) == len(data)


@given(st.sets(st.integers(0, 999), min_size=1, max_size=20))
def test_indexes_read_back(indexes):
    assert parse_indexes(",".join(map(str, indexes))) == indexes
    assert parse_indexes(format_indexes(indexes)) == indexes


@given(st.integers(1, 100), st.integers(1, 20), st.integers(1, 20))
def test_a_valid_quorum_can_be_met(percent, floor, replicas):
    data = job({"quorum": {"percent": percent, "minWorkers": floor}, "workers.replicas": replicas})
    if floor <= replicas:
        spec = parse(data).spec
        assert 1 <= required(spec.quorum, replicas) <= replicas
    else:
        assert errors(data)


def test_the_ceiling_is_epochs_unless_set():
    assert parse(job({"workload.epochs": 2})).spec.workload.ceiling == 2
    assert parse(job({"workload.epochs": 2, "workload.maxEpochs": 5})).spec.workload.ceiling == 5


def test_templates_are_kept_as_they_are():
    template = {"spec": {"containers": [{"name": "worker", "emptyDir": None, "n": 1}]}}
    parsed = parse(job({"workers.template": template}))
    assert parsed.spec.workers.template == template
    assert parsed.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]["workers"]["template"] == template


def test_what_kubernetes_adds_is_kept():
    data = job()
    data["metadata"] |= {"uid": "u", "resourceVersion": "12", "managedFields": []}
    assert parse(data).model_dump(by_alias=True)["metadata"]["resourceVersion"] == "12"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, False, id="unset"),
        pytest.param({"security": {}}, False, id="empty"),
        pytest.param({"security": {"tls": False}}, False, id="off"),
        pytest.param({"security": {"tls": True}}, True, id="asked for"),
    ],
)
def test_a_local_run_has_tls_only_if_the_file_asks(spec, expected):
    assert local_tls(parse(job(**spec))) is expected


def test_a_job_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        parse(job()).spec.rounds = 3


def _models():
    return [model for name in models.__all__ if isinstance(model := getattr(models, name), type) and issubclass(model, Model)]


@pytest.mark.parametrize("model", [*_models(), models.DataEntry, models.Metadata], ids=lambda model: model.__name__)
def test_every_field_is_documented_where_it_is_declared(model):
    assert {name: field.description for name, field in model.model_fields.items() if not field.description} == {}
