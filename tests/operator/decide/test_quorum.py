"""Counts, the QuorumMet condition and the loss clock."""

import pytest

from fedcore.progress import Progress
from fedcore_operator.api.conditions import condition
from fedcore_operator.decide.observe import Polled, Refusal, Waiting
from fedcore_operator.decide.quorum import count_workers, judge_quorum
from support.operator_objects import NOW, UID, ago, all_pods, exited, make_job, pod, running, seen


def polled(*, met=True, age=5, **said):
    known = {"run_id": "r", "phase": "Running", "round": 7, "rounds": 20, "accepted": 2, "required": 3, "registered": 4, "attempt": 1}
    more = {"quorum_lost_seconds": 0, "late": 0, "metrics": {}, "metrics_version": None, "recent_rounds": [], "slowest_workers": []}
    data = {"schema": 1, "uid": UID, "quorum_met": met, "checkpoint_version": 6, **known, **more, **said}
    return Polled(Progress.model_validate(data), ago(age))


def judge(views, status=None, **observed):
    job = make_job(status=running() if status is None else status)
    observation = seen(*views, **observed)
    return judge_quorum(count_workers(job.status, job, observation, NOW), job, observation, NOW)


def test_count_workers():
    views = all_pods(w0=pod(0, ready=False), w1=pod(1, ended=exited(0, "stopped")), w2=pod(2, attempt=2))
    entries = [
        {"index": 2, "attempt": 2, "restarts": 1, "disruptions": 3},
        {"index": 3, "restarts": 1, "gaveUp": True},
        {"index": 9, "restarts": 1, "gaveUp": True},
    ]
    job = make_job(status=running(workerIndexes=entries, coordinator={"restarts": 2}))
    status = count_workers(job.status, job, seen(*views), NOW)
    assert status.workers.model_dump(exclude={"selector", "started"}) == {
        "desired": 4,
        "active": 3,
        "ready": 2,
        "finished": 1,
        "failed": 1,
        "restarts": 3,
        "disruptions": 3,
        "display": "2/4",
    }
    assert status.restarts == 5
    assert status.workers.selector == "fedcore.dev/job=mnist,fedcore.dev/role=worker"


FEW = all_pods(w0=None, w1=None)


@pytest.mark.parametrize(
    ("views", "said", "state", "reason"),
    [
        pytest.param(all_pods(), polled(), "True", "Enough", id="the engine says so"),
        pytest.param(FEW, polled(), "True", "Enough", id="the engine says so, though pods are not ready"),
        pytest.param(all_pods(), polled(met=False), "False", "BelowQuorum", id="the engine waits for updates"),
        pytest.param(all_pods(), polled(phase="Starting"), "False", "BelowQuorum", id="the engine waits for workers"),
        pytest.param(all_pods(), polled(age=31), "Unknown", "CoordinatorUnreachable", id="what was said is old"),
        pytest.param(all_pods(), polled(attempt=2), "Unknown", "CoordinatorUnreachable", id="another attempt said it"),
        pytest.param(all_pods(), None, "Unknown", "CoordinatorUnreachable", id="nothing was said"),
        pytest.param(FEW, None, "False", "BelowQuorum", id="nothing was said, and pods are missing"),
    ],
)
def test_quorum_met(views, said, state, reason):
    found = condition(judge(views, polled=said), "QuorumMet")
    assert (found.status, found.reason) == (state, reason)


def test_workers_that_leave_when_the_run_is_over_do_not_break_its_quorum():
    over = polled(met=False, phase="Succeeded")
    assert condition(judge(FEW, running(("QuorumMet", "True", "Enough")), polled=over), "QuorumMet").status == "True"
    assert condition(judge(FEW, polled=over), "QuorumMet").status == "False", "nothing was known before"


def test_a_restart_of_the_operator_does_not_make_the_quorum_unknown():
    known = ("QuorumMet", "True", "Enough")
    lately = running(known, progress={"observedTime": "2026-11-25T11:59:35Z"})
    assert condition(judge(all_pods(), lately), "QuorumMet").status == "True"
    long_ago = running(known, progress={"observedTime": "2026-11-25T11:59:25Z"})
    assert condition(judge(all_pods(), long_ago), "QuorumMet").status == "Unknown"


@pytest.mark.parametrize(
    ("views", "said", "fields", "since"),
    [
        pytest.param(all_pods(), None, {}, None, id="enough"),
        pytest.param(FEW, None, {}, NOW, id="too few: the clock starts"),
        pytest.param(FEW, None, {"quorum": {"lostSince": "2026-11-25T11:59:30Z"}}, ago(30), id="still too few: it runs on"),
        pytest.param(all_pods(), None, {"quorum": {"lostSince": "2026-11-25T11:59:30Z"}}, None, id="enough again"),
        pytest.param(FEW, polled(), {}, None, id="the engine has enough"),
        pytest.param(all_pods(), polled(met=False), {}, None, id="what is polled starts no clock"),
        pytest.param(FEW, None, {"quorumFirstMetTime": None}, None, id="before the start there is nothing to lose"),
    ],
)
def test_the_loss_clock(views, said, fields, since):
    assert judge(views, running(**fields), polled=said).quorum.lost_since == since


@pytest.mark.parametrize(
    ("views", "said", "expected"),
    [
        pytest.param(FEW, None, None, id="too few"),
        pytest.param(all_pods(), None, NOW, id="enough pods are ready, though nobody answers polls"),
        pytest.param(FEW, polled(), NOW, id="the engine has begun"),
        pytest.param(FEW, polled(phase="Starting"), None, id="the engine has not"),
    ],
)
def test_when_it_is_first_met(views, said, expected):
    assert judge(views, running(quorumFirstMetTime=None), polled=said).quorum_first_met_time == expected


@pytest.mark.parametrize(
    ("views", "observed", "message"),
    [
        pytest.param(
            all_pods(), {}, "4 of 4 workers are ready, 3 are required; the coordinator does not answer polls", id="nobody says anything"
        ),
        pytest.param(
            all_pods(
                w1=pod(1, ready=False, waiting=Waiting("Unschedulable", "0/3 nodes are available")),
                w2=pod(2, ready=False, waiting=Waiting("ImagePullBackOff")),
                w3=pod(3, ready=False, waiting=Waiting("ContainerCreating")),
            ),
            {},
            "1 of 4 workers are ready, 3 are required; 2 wait, worker-1: Unschedulable: 0/3 nodes are available",
            id="pods that cannot run",
        ),
        pytest.param(
            FEW,
            {"refusals": (Refusal(1, 1, "exceeded quota", NOW),)},
            "2 of 4 workers are ready, 3 are required; 1 wait, worker-1: the pod was refused: exceeded quota",
            id="a quota",
        ),
    ],
)
def test_the_message_has_numbers_and_the_first_trouble(views, observed, message):
    assert condition(judge(views, **observed), "QuorumMet").message == message
