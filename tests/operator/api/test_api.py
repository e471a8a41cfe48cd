"""Names, the job at the border, settings, conditions."""

import pytest

from fedcore.spec import Status
from fedcore_operator.api import names
from fedcore_operator.api.conditions import ConditionType, condition, is_finished, set_condition
from fedcore_operator.api.job import InvalidJob, Job, parse_job
from fedcore_operator.api.settings import InvalidOptions, Settings
from support.operator_objects import NOW, UID, later, make_job, make_status

LEAST = {"FEDCORE_OPERATOR_NAMESPACE": "fedcore", "FEDCORE_COORDINATOR_IMAGE": "c:1", "FEDCORE_WORKER_IMAGE": "w:1"}


def raw(spec=None, status=None, **metadata):
    known = {"name": "mnist", "namespace": "ns", "uid": UID, "creationTimestamp": "2026-11-25T12:00:00Z"}
    least = {"rounds": 5, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 4}}
    return {"metadata": {**known, **metadata}, "spec": {**least, **(spec or {})}, **({} if status is None else {"status": status})}


def test_names_fit_into_what_kubernetes_allows():
    job = make_job(name="x" * 45)
    assert names.pod_name(job, None, 99999) == f"{'x' * 45}-coordinator-99999"
    assert len(names.pod_name(job, None, 99999)) == 63
    assert names.pod_name(job, 999, 99999) == f"{'x' * 45}-worker-999-99999"
    assert len(names.tls_secret_name(job, 99999)) <= 253
    assert names.address(make_job()) == "mnist.ns.svc:8470"


def test_a_job_is_parsed_once():
    labels = {"kueue.x-k8s.io/queue-name": "team"}
    job = parse_job(raw(generation=4, resourceVersion="9", labels=labels, status={"phase": "Running", "fromTheFuture": 1}))
    assert isinstance(job, Job)
    assert (job.name, job.uid, job.generation, job.queue, job.deleting, job.created_at) == ("mnist", UID, 4, "team", False, NOW)
    assert parse_job(raw(status={"phase": "Running", "fromTheFuture": 1})).status == Status(phase="Running")


@pytest.mark.parametrize(
    ("spec", "elsewhere"),
    [
        pytest.param({}, False, id="unset"),
        pytest.param({"managedBy": "fedcore.dev/operator"}, False, id="ours"),
        pytest.param({"managedBy": "kueue.x-k8s.io/multikueue"}, True, id="another's"),
    ],
)
def test_managed_elsewhere(spec, elsewhere):
    assert parse_job(raw(spec)).managed_elsewhere is elsewhere


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"quorum": {"minWorkers": 9}}, "spec.quorum.minWorkers: 9 is above workers.replicas (4)", id="a rule over fields"),
        pytest.param({"rounds": 0}, "spec.rounds: Input should be greater than or equal to 1", id="a bound"),
        pytest.param({"workers": {"replicas": 1, "data": [{"indexes": "3-1"}]}}, "spec.workers.data.0.indexes: the range", id="a range"),
    ],
)
def test_what_the_models_refuse_is_said_by_field(spec, problem):
    job = parse_job(raw(spec))
    assert isinstance(job, InvalidJob)
    assert problem in job.problem


SITE = {"indexes": "0-1", "claimName": "site-{index}", "mountPath": "/data"}
TWICE = {"indexes": "1", "claimName": "other", "mountPath": "/data"}
BACKWARDS = {"indexes": "3-1", "nodeSelector": {"a": "b"}}
MORE = {"indexes": "2-3", "claimName": "more", "mountPath": "/data"}


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        pytest.param([SITE, TWICE, MORE], [SITE, MORE], id="a volume too many"),
        pytest.param([SITE, BACKWARDS], [SITE], id="a range that goes down"),
        pytest.param([BACKWARDS, SITE, TWICE], [SITE], id="two"),
        pytest.param([BACKWARDS], [], id="the first of all"),
    ],
)
def test_data_that_is_wrong_is_left_out_of_a_job_that_has_started(data, kept):
    wrong = raw({"workers": {"replicas": 4, "data": data}, "rounds": 9})
    assert isinstance(parse_job(wrong), InvalidJob), "before it starts there is nothing to lose, and it can be repaired"
    job = parse_job({**wrong, "status": {"startTime": "2026-11-25T11:59:00Z"}})
    assert isinstance(job, Job)
    assert [entry.model_dump(by_alias=True, exclude_defaults=True) for entry in job.spec.workers.data] == kept
    assert job.spec.rounds == 9, "what is right of the change holds"
    assert "spec.workers.data" in job.problem


def test_a_started_job_that_is_wrong_elsewhere_is_invalid():
    wrong = {**raw({"quorum": {"minWorkers": 9}}), "status": {"startTime": "2026-11-25T11:59:00Z"}}
    assert isinstance(parse_job(wrong), InvalidJob)


def test_a_status_that_cannot_be_read_counts_as_none():
    assert parse_job(raw(status={"attemptBase": "many"})).status == Status()


def test_settings():
    settings = Settings.read(
        {**LEAST, "FEDCORE_NAMESPACES": "a, b", "FEDCORE_WORKER_EGRESS": '[{"to": []}]', "FEDCORE_NETWORK_POLICY": "no"}
    )
    assert (settings.namespaces, settings.worker_egress, settings.network_policy) == (("a", "b"), [{"to": []}], False)
    assert Settings.read(LEAST).monitoring_from == []
    assert {name for name, field in Settings.model_fields.items() if not field.description} == set()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, "FEDCORE_WORKER_IMAGE is required", id="missing"),
        pytest.param({**LEAST, "FEDCORE_LOG_LEVEL": "loud"}, "FEDCORE_LOG_LEVEL: ", id="unknown"),
        pytest.param({**LEAST, "FEDCORE_MONITORING_FROM": "[{"}, "FEDCORE_MONITORING_FROM: Invalid JSON", id="broken"),
        pytest.param({**LEAST, "FEDCORE_PROGRESS_POLL_SECONDS": "0"}, "greater than or equal to 1, got '0'", id="bound"),
    ],
)
def test_settings_that_cannot_work(environment, words):
    with pytest.raises(InvalidOptions) as caught:
        Settings.read(environment)
    assert words in str(caught.value)


def test_a_transition_is_a_change_of_state():
    status = set_condition(Status(), ConditionType.QUORUM_MET, "False", "BelowQuorum", "1 of 3", generation=1, now=NOW)
    same = set_condition(status, ConditionType.QUORUM_MET, "False", "BelowQuorum", "2 of 3", generation=2, now=later(5))
    found = condition(same, ConditionType.QUORUM_MET)
    assert (found.last_transition_time, found.message, found.observed_generation) == (NOW, "2 of 3", 2)
    changed = set_condition(same, ConditionType.QUORUM_MET, "True", "Enough", "", generation=2, now=later(5))
    assert condition(changed, ConditionType.QUORUM_MET).last_transition_time == later(5)
    assert len(changed.conditions) == 1


def test_conditions_stand_in_order():
    status = make_status(("Failed", "True", "QuorumLost"), ("Accepted", "True", "Valid"), ("QuorumMet", "False", "BelowQuorum"))
    assert [one.type for one in status.conditions] == ["Accepted", "QuorumMet", "Failed"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [([], False), ([("Complete", "True", "Completed")], True), ([("Failed", "True", "QuorumLost")], True)],
)
def test_is_finished(conditions, expected):
    assert is_finished(make_status(*conditions)) is expected
