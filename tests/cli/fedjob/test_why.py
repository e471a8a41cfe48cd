"""What `kubectl fedjob why` says, reason by reason; and that no reason of the operator is without words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedcore.cli.fedjob.attempts import named, span
from fedcore.cli.fedjob.pods import IMAGE_PULL_FAILED
from fedcore.cli.fedjob.why import explain
from fedcore.cli.fedjob.words import CONDITIONS, ENDS, EXIT_CODES, EXITS, WAITS
from fedcore.engine.reasons import EXIT_CODE, EndReason
from fedcore.spec.processes import FailurePolicy
from fedcore.wire.protocol import FaultCode
from fedcore.worker.ending import EndWord, after_fault
from fedcore_operator.api.conditions import ConditionType, Reason
from fedcore_operator.decide import classify
from fedcore_operator.decide.answers import Answer, verdict
from fedcore_operator.decide.readiness import IMAGE_PROBLEMS
from support.fedjob_objects import NOW, VALID, ago, ended, event, job, last_exit, later, pod, running, scene, unschedulable, up, waiting

ROOT = Path(__file__).parents[3]


def told(raw, pods=(), events=()):
    return explain(scene(raw, pods, events), NOW)


def failed(reason, message="it is so", **status):
    return job(VALID, ("Failed", "True", reason, message), phase="Failed", startTime=ago(300), completionTime=ago(120), **status)


def accepted(status, reason, message="spec.workers.template: no"):
    return job(("Accepted", status, reason, message), phase="Pending")


# -- no reason without words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", EndReason)
def test_every_end_has_words(reason):
    text = told(failed(reason))
    assert ENDS[reason].say in text
    assert f"({reason})" in text
    assert "It is so." in text or "it is so" in text
    assert ("What to do: " in text) == bool(ENDS[reason].do)
    assert reason is EndReason.COMPLETED or ENDS[reason].do, "who is told that it failed wants to know what to do"


def test_no_end_is_explained_that_there_is_not():
    assert set(ENDS) == set(EndReason) == set(EXIT_CODE)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_condition_has_words(reason):
    shown = {
        Reason.VALID: running(),
        Reason.VALID_NOT_DRY_RUN: running(),
        Reason.RESUMED: running(("Suspended", "False", reason, "")),
        Reason.READY: running(),
        Reason.ENOUGH: running(),
        Reason.FINISHED: failed("QuorumLost"),
        Reason.SUSPENDED: job(VALID, ("Suspended", "True", reason, "pods are deleted"), spec={"suspend": True}),
    }
    refused = {Reason.INVALID_JOB, Reason.INVALID_POD_TEMPLATE, Reason.POD_FORBIDDEN, Reason.NAME_CONFLICT}
    about = ConditionType.QUORUM_MET if reason in {Reason.BELOW_QUORUM, Reason.NOT_STARTED, Reason.COORDINATOR_UNREACHABLE} else None
    if reason in refused:
        text = told(accepted("False", reason))
        assert "What to do: " in text
    elif reason in shown:
        text = told(shown[reason])
    else:
        text = told(running((about or "CoordinatorReady", "False", reason, "it is so")))
    assert text
    if reason not in shown or reason is Reason.SUSPENDED:
        say = CONDITIONS[reason].say
        assert say in text or say[0].upper() + say[1:] in text


def test_no_reason_is_explained_that_there_is_not():
    assert set(CONDITIONS) == set(Reason)


@pytest.mark.parametrize("code", [200, 400, 403, 409, 422, 500])
def test_every_verdict_of_a_dry_run_has_words(code):
    found = verdict(Answer(code, "no"))
    assert found is None or CONDITIONS[found.reason].say


@pytest.mark.parametrize("word", [*EndWord, *sorted(classify._DISRUPTED_PODS), "OOMKilled", "Error", "Deleted", "Failed"])
def test_every_end_of_an_attempt_has_words(word):
    entries = [{"index": 2, "attempt": 2, "restarts": 1, "lastExit": last_exit(word, 1, "so it was")}]
    text = told(running(workers={"restarts": 1}, workerIndexes=entries))
    assert f"worker-2 {EXITS[word].say} ({word}, exit code 1: it failed) 40 s ago" in text
    assert "40 s ago: so it was." in text


def test_who_was_refused_is_told_what_makes_a_new_secret():
    """Such an end is not retried by default, so no next attempt brings a new token or certificate."""
    end = after_fault(FaultCode.UNAUTHORIZED, "unauthorized: no")
    assert end.exit_code in FailurePolicy().non_retryable_exit_codes
    entries = [{"index": 2, "attempt": 1, "lastExit": last_exit(end.reason, end.exit_code, end.message)}]
    text = told(failed("NonRetryableExit", workerIndexes=entries))
    assert "worker-2 was refused by the coordinator" in text
    assert "Somebody has changed the job's Secret or the authority behind it: delete the job and apply it again, it gets new ones" in text
    assert "next attempt" not in text


@pytest.mark.parametrize("reason", sorted(IMAGE_PROBLEMS))
def test_every_word_of_the_kubelet_for_an_image_is_one_reason(reason):
    text = told(running(workers={"ready": 3}), [waiting(1, reason=reason, message="no such manifest")])
    assert f"worker-1 waits: {WAITS[IMAGE_PULL_FAILED].say} ({IMAGE_PULL_FAILED}): no such manifest" in text


def test_events_of_the_operator_are_all_known():
    """An event is shown by the status that it goes with, or needs words of its own: a new one has to be thought of here."""
    source = (ROOT / "operator/fedcore_operator/decide/events.py").read_text("utf-8")
    posted = set(re.findall(r'Event\("\w+", "(\w+)"', source))
    by_status = {"NotAccepted", "Suspended", "Resumed", "Started", "CoordinatorRestarted", "WorkerRestarted", "WorkerDisrupted"}
    by_status |= {"WorkerGaveUp", "BelowQuorum", "QuorumRegained", "RoundCompleted"}
    assert posted - by_status == {"PodCreateFailed", "RestartedFromRoundOne"}


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_exit_codes_have_words(code):
    entries = [{"index": 0, "attempt": 2, "restarts": 1, "lastExit": last_exit("Error", code)}]
    assert f"exit code {code}: {EXIT_CODES[code]}" in told(running(workerIndexes=entries))


# -- what is said when ------------------------------------------------------------------------------------------------------------------

IMAGE = [waiting(index, reason="ImagePullBackOff", message='Back-off pulling image "x:typo"') for index in (0, 1)]


@pytest.mark.parametrize(
    ("raw", "pods", "events", "words"),
    [
        pytest.param(job(metadata={"creationTimestamp": ago(5)}), [], [], ["applied 5 s ago", "not looked at it yet"], id="just applied"),
        pytest.param(job(), [], [], ["applied 100 s ago", "What to do", "component=operator"], id="no operator"),
        pytest.param(job(spec={"managedBy": "kueue.x-k8s.io/multikueue"}), [], [], ["left alone", "multikueue"], id="managed elsewhere"),
        pytest.param(job(metadata={"deletionTimestamp": ago(1)}), [], [], ["is being deleted"], id="deleted"),
        pytest.param(
            running(("Accepted", "False", "InvalidJob", "spec.workers.data.1: twice at /data")),
            [up()],
            [],
            ["Job mnist runs: ", "newest change is not accepted (InvalidJob), and it goes on with what it had: spec.workers.data.1"],
            id="a change of a running job is not accepted",
        ),
        pytest.param(accepted("False", "InvalidJob"), [], [], ["is not accepted", "spec.workers.template: no"], id="not accepted"),
        pytest.param(
            running(("QuorumMet", "False", "BelowQuorum", "2 of 4 workers are ready"), phase="Degraded", workers={"ready": 2})
            | {"spec": {"rounds": 20, "workers": {"replicas": 4}, "quorum": {"lossGracePeriodSeconds": 100}}},
            [up(), up(2), up(3), *IMAGE],
            [],
            ["runs below its quorum: 2 of 4 workers are ready and 3 are required", "worker-0 and worker-1 wait: the image cannot be"],
            id="image typo",
        ),
        pytest.param(
            running(phase="Starting", quorumFirstMetTime=None, workers={"ready": 0}),
            [up(), unschedulable(3, message="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")],
            [],
            ["is starting", "worker-3 waits: no node takes the pod (Unschedulable)", "Insufficient nvidia.com/gpu", "Make room or lower"],
            id="no node",
        ),
        pytest.param(
            running(quorumFirstMetTime=None), [up(), pod(1)], [event("FailedMount", "no claim x", about="Pod/mnist-worker-1-1")],
            ["worker-1 waits: a volume cannot be mounted (FailedMount)", "no claim x"], id="the reason is in the pod's events",
        ),
        pytest.param(
            running(quorumFirstMetTime=None), [up()], [event("PodCreateFailed", "mnist-worker-2-1: exceeded quota: pods")],
            ["The API server refuses pods", "exceeded quota", "kubectl describe quota -n ns"], id="quota",
        ),
        pytest.param(
            running(quorumFirstMetTime=None), [up(2)], [event("PodCreateFailed", "mnist-worker-2-1: exceeded quota: pods")],
            ["If 3 workers are not ready within 29 min, it fails with StartupDeadlineExceeded"], id="the refusal is over",
        ),
        pytest.param(
            running(quorumFirstMetTime=None, spec={"startupDeadlineSeconds": 0}), [], [], ["for ever, since startupDeadlineSeconds is 0"],
            id="no deadline",
        ),
        pytest.param(
            running(quorum={"required": 3, "lostSince": ago(60)}, spec={"quorum": {"lossGracePeriodSeconds": 100}}), [], [],
            ["If they are not back within 40 s, it fails with QuorumLost"], id="loss clock",
        ),
        pytest.param(
            running(quorum={"required": 3, "lostSince": ago(60)}, spec={"quorum": {"lossGracePeriodSeconds": 0}}), [], [],
            ["for ever, since quorum.lossGracePeriodSeconds is 0"], id="no loss clock",
        ),
        pytest.param(running(spec={"activeDeadlineSeconds": 3660}), [], [], ["It has 1 h left of activeDeadlineSeconds"], id="deadline"),
        pytest.param(
            running(progress={"round": 7, "accepted": 2, "accuracy": "0.93", "late": 3, "observedTime": ago(90)}), [up()], [],
            ["Round 7 of 20 has 2 of 3 updates, accuracy 0.93", "That was 90 s ago", "3 updates came late"], id="a silent coordinator",
        ),
        pytest.param(
            running(
                workers={"restarts": 3, "disruptions": 1},
                workerIndexes=[
                    {"index": 1, "attempt": 3, "restarts": 2, "notBefore": later(8), "lastExit": last_exit("OOMKilled", 137)},
                    {"index": 2, "attempt": 2, "restarts": 1, "lastExit": last_exit("OOMKilled", 137)},
                    {"index": 3, "attempt": 2, "disruptions": 1, "lastExit": last_exit("Evicted")},
                ],
            ),
            [up(), up(2, 2), up(3, 2)],
            [],
            [
                "Workers were restarted 3 times (at most 3 times each), pods were taken away once by others, which costs no restart",
                "After a pause that doubles with each restart there starts worker-1 in 8 s",
                "worker-1 and worker-2 ran out of memory (OOMKilled, exit code 137: it was killed (SIGKILL)",
                "worker-3 was evicted by its node",
                "Raise the memory limit",
            ],
            id="restarts and disruptions",
        ),
        pytest.param(
            failed("QuorumUnreachable", "3 of 4 workers are required and 2 are given up: worker-0, worker-1")
            | {"spec": {"rounds": 20, "workers": {"replicas": 4, "maxRestartsPerWorker": 0}}},
            [ended(0)],
            [],
            ["Job mnist failed 2 min ago after 0 of 20 rounds", "logs mnist --role worker -n ns", "3 of 4 workers are required"],
            id="out of reach",
        ),
        pytest.param(
            failed("StartupDeadlineExceeded", "0 of 2 required workers after 20 s"),
            [],
            [
                event("Failed", 'Failed to pull image "x:tpyo"', about="Pod/mnist-worker-0-1", at=9),
                event("Failed", 'Failed to pull image "x:typo"', about="Pod/mnist-worker-0-1"),
                event("Failed", "Error: ErrImagePull", about="Pod/mnist-worker-0-1", at=4),
                event("Unhealthy", "Readiness probe failed", about="Pod/mnist-worker-1-1"),
                event("Failed", "of another job", about="Pod/mnist2-worker-0-1"),
            ],
            ['Kubernetes said of mnist-worker-0-1 (Failed): Failed to pull image "x:typo"'],
            id="what pods waited for that are gone",
        ),
        pytest.param(
            failed("CoordinatorFailed", coordinator={"restarts": 3, "attempt": 4, "lastExit": last_exit("Error", 1, "no space")}), [], [],
            ["The coordinator was restarted 3 times", "The coordinator ended with an error (Error, exit code 1: it failed) 40 s ago"],
            id="the coordinator's budget",
        ),
        pytest.param(
            running(ending={"reason": "DeadlineExceeded", "message": "the job has run for 15 s", "since": ago(2)}), [], [],
            ["Job mnist is being ended: the job ran longer than activeDeadlineSeconds allows"], id="asked to end",
        ),
        pytest.param(
            running(coordinator={"disruptions": 1, "attempt": 2}), [up(attempt=2)], [event("RestartedFromRoundOne", "attempt 1 ended")],
            ["began again at round 1", "volumeClaimTemplate"], id="begun again",
        ),
        pytest.param(
            job(VALID, ("Complete", "True", "Completed", "20 rounds, accuracy 0.97"), startTime=ago(400), completionTime=ago(100)), [], [],
            ["Job mnist is complete since 100 s: 20 rounds, accuracy 0.97 in 5 min."], id="complete",
        ),
    ],
)  # fmt: skip
def test_what_is_said(raw, pods, events, words):
    text = told(raw, pods, events)
    for word in words:
        assert word in text, text
    assert "{" not in text
    assert ".." not in text
    assert "None" not in text


def test_a_complete_job_leaves_nothing_to_do():
    entries = [{"index": 1, "attempt": 2, "restarts": 1, "lastExit": last_exit("OOMKilled", 137)}]
    raw = job(VALID, ("Complete", "True", "Completed", "20 rounds"), workers={"restarts": 1}, workerIndexes=entries)
    text = told(raw)
    assert "restarted once" in text
    assert "What to do" not in text


def test_a_reason_it_does_not_know_is_said_as_it_is():
    assert "BrandNew" in told(failed("BrandNew", "of a later version"))
    assert "BrandNew. Of a later version" in told(accepted("False", "BrandNew", "of a later version"))
    entries = [{"index": 1, "attempt": 2, "restarts": 1, "lastExit": last_exit("BrandNew", 99)}]
    assert "worker-1 ended: BrandNew (BrandNew, exit code 99)" in told(running(workerIndexes=entries))


def test_pods_of_an_earlier_job_of_that_name_are_not_looked_at():
    assert "wait" not in told(running(), [{**one, "metadata": {**one["metadata"], "ownerReferences": [{"uid": "other"}]}} for one in IMAGE])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (330, "5 min 30 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (90000, "1 d 1 h"),
        (10**6, "11 d"),
    ],
)
def test_spans(seconds, text):
    assert span(seconds) == text


def test_many_names_are_counted():
    assert named(["a"]) == "a"
    assert named(["a", "b", "c"]) == "a, b and c"
    assert named([f"w{i}" for i in range(9)]) == "w0, w1, w2, w3 and 5 more"
