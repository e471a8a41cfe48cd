from __future__ import annotations

import json

import pytest

from fedcore.coordinator.jobinput import JobInput, changes, read_job_input
from fedcore.engine.events import EndAsked, SpecChanged, WorkerGone, WorkerRevived
from fedcore.engine.reasons import EndReason
from fedcore.jobfile import InvalidJob

SPEC = {"rounds": 3, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 4}}
JOB = {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": "demo"}, "spec": SPEC}
INPUT = {"name": "demo", "namespace": "ns", "uid": "abc", "generation": 7, "spec": SPEC}


@pytest.fixture
def read(tmp_path):
    def read(data, name="input.json"):
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return read_job_input(path)

    return read


@pytest.fixture
def job_input(read):
    def make(**more):
        return read({**INPUT, **more})

    return make


@pytest.mark.parametrize("name", ["job.json", "job.yaml"])
def test_plain_job_has_nothing_beside_it(read, name):
    plain = read(JOB, name)
    assert plain == JobInput(plain.job)
    assert plain.job.spec.workers.replicas == 4


def test_input_is_the_job_and_what_the_supervisor_says(read):
    full = read({**INPUT, "gone": "3,1, 3", "end": {"reason": "BackoffLimitExceeded", "message": "enough"}} | {"end": None})
    assert (full.job.name, full.uid, full.generation, full.gone, full.end) == ("demo", "abc", 7, frozenset({1, 3}), None)
    assert full.job.spec == read(JOB).job.spec


@pytest.mark.parametrize("reason", list(EndReason))
def test_supervisor_may_ask_for_any_end(job_input, reason):
    asked = job_input(end={"reason": str(reason), "message": "because"})
    assert asked.end == (reason, "because")
    assert job_input(end={"reason": str(reason)}).end == (reason, "")


@pytest.mark.parametrize("missing", ["uid", "generation", "namespace"])
def test_what_a_supervisor_need_not_say(job_input, read, missing):
    data = {key: value for key, value in INPUT.items() if key != missing}
    assert read(data).job == job_input().job
    assert job_input(gone=None, end=None, uid=None, generation=None).gone == frozenset()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param({**INPUT, "spec": {**SPEC, "rounds": 0}}, "spec.rounds", id="value out of bounds"),
        pytest.param({**INPUT, "spec": {**SPEC, "polcy": 1}}, "spec.polcy", id="unknown field"),
        pytest.param({**INPUT, "spec": None}, "spec", id="no spec"),
        pytest.param({**INPUT, "spec": [1]}, "spec", id="spec a list"),
        pytest.param({**INPUT, "gone": "3,x"}, "gone", id="gone no numbers"),
        pytest.param({**INPUT, "gone": [3]}, "gone", id="gone a list"),
        pytest.param({**INPUT, "generation": [1]}, "generation", id="generation a list"),
        pytest.param({**INPUT, "generation": "new"}, "generation", id="generation a word"),
        pytest.param({**INPUT, "end": "now"}, "end", id="end a word"),
        pytest.param({**INPUT, "end": {}, "generation": {"a": 1}}, "generation", id="generation an object"),
        pytest.param({**INPUT, "end": {"message": "x"}}, "end", id="end without reason"),
        pytest.param({**INPUT, "end": {"reason": "Whim"}}, "end", id="end for a reason of its own"),
        pytest.param({**INPUT, "end": [1]}, "end", id="end a list"),
        pytest.param('{"name": "demo", "spec"', "input.json", id="torn"),
        pytest.param("", "input.json", id="empty"),
        pytest.param("[1]", "input.json", id="no object"),
    ],
)
def test_wrong_input_is_invalid_and_says_where(read, data, said):
    with pytest.raises(InvalidJob) as raised:
        read(data)
    assert said in "\n".join(str(problem) for problem in raised.value.problems)


@pytest.mark.parametrize("name", ["missing.json", "missing.yaml"])
def test_missing_file_is_invalid(tmp_path, name):
    with pytest.raises(InvalidJob) as raised:
        read_job_input(tmp_path / name)
    assert name in str(raised.value.problems[0])


@pytest.mark.parametrize("name", ["binary.json", "binary.yaml"])
def test_file_that_is_no_text_is_invalid(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\0")
    with pytest.raises(InvalidJob):
        read_job_input(tmp_path / name)


# -- changes ----------------------------------------------------------------------------------------------------------------------------


def test_equal_inputs_change_nothing(job_input):
    assert changes(job_input(), job_input()) == []
    said = {"gone": "1,2", "end": {"reason": "DeadlineExceeded"}}
    assert changes(job_input(**said), job_input(**said, generation=8)) == []


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({**SPEC, "rounds": 9}, id="more rounds"),
        pytest.param({**SPEC, "workers": {"replicas": 2}}, id="fewer workers"),
        pytest.param({**SPEC, "quorum": {"percent": 50}}, id="another quorum"),
    ],
)
def test_other_spec_is_one_event(job_input, spec):
    after = job_input(spec=spec)
    assert changes(job_input(), after) == [SpecChanged(after.job.spec)]


def test_default_that_is_written_out_changes_nothing(job_input):
    assert changes(job_input(), job_input(spec={**SPEC, "seed": 0})) == []


def test_workers_that_are_gone_are_told_once(job_input):
    events = changes(job_input(gone="3"), job_input(gone="3,10,2"))
    assert [event.index for event in events] == [2, 10]
    assert all(isinstance(event, WorkerGone) for event in events)
    assert events[0].message == "worker-2 has spent its restart budget"


def test_workers_that_are_tried_again_are_told_too(job_input):
    assert changes(job_input(gone="3,4"), job_input(gone="4")) == [WorkerRevived(3)]


def test_end_is_asked_for_once(job_input):
    asked = job_input(end={"reason": "DeadlineExceeded", "message": "too long"})
    assert changes(job_input(), asked) == [EndAsked(EndReason.DEADLINE_EXCEEDED, "too long")]
    assert changes(asked, asked) == []


def test_spec_comes_before_the_workers_and_the_end(job_input):
    after = job_input(spec={**SPEC, "rounds": 9}, gone="0", end={"reason": "DeadlineExceeded"})
    assert [type(event) for event in changes(job_input(), after)] == [SpecChanged, WorkerGone, EndAsked]
