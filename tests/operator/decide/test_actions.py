"""What has to happen, and when to look again."""

import pytest

from fedcore_operator.decide import actions as act
from fedcore_operator.decide.actions import actions_after_end, actions_for
from fedcore_operator.decide.observe import Refusal
from fedcore_operator.decide.wake import wake_after_end, wake_at
from fedcore_operator.plan.jobinput import job_input
from support.operator_objects import NOW, SETTINGS, UID, ago, all_pods, exited, later, make_job, make_status, pod, running, seen

VOLUME = {"coordinator.checkpoint.volumeClaimTemplate": {"spec": {}}}
TOLD = job_input(make_job(), (), None)


def names(views, status=None, changes=None, refusals=()):
    """Return what is done, in short: applied objects left out."""
    job = make_job(changes, running() if status is None else status)
    short = []
    for action in actions_for(job.status, job, seen(*views, refusals=refusals), SETTINGS, NOW):
        match action:
            case act.CreatePod(_, _, manifest):
                short.append(f"create {manifest['metadata']['name'].removeprefix('mnist-')}")
            case act.DeletePod(name, _):
                short.append(f"delete {name.removeprefix('mnist-')}")
            case act.Apply():
                pass
            case _:
                short.append(type(action).__name__)
    return short


def pods(**changes):
    return all_pods(**{"c": pod(job_input=TOLD), **changes})


NEXT = {"workerIndexes": [{"index": 1, "attempt": 2, "restarts": 1}], "workers": {"started": "0,2-3"}}


RETIRED = {"workerIndexes": [{"index": 3, "attempt": 2}], "workers": {"started": "0-2"}}
ASKED = {"ending": {"reason": "DeadlineExceeded", "since": ago(1)}, "coordinator": {}}
GIVEN_UP = {"workerIndexes": [{"index": 0, "gaveUp": True}]}
FOUR = [f"create worker-{n}-1" for n in range(4)]
SMALL = {"security.tls": False, "workers.replicas": 1}
LEAVING = pod(1, deleting_at=later(5))
AGAIN = pod(1, attempt=2)


def suspended():
    return make_status(("Suspended", "True", "Suspended"), startTime=ago(60), attemptBase=2)


@pytest.mark.parametrize(
    ("views", "status", "changes", "expected"),
    [
        pytest.param(pods(), running(), {}, [], id="all is there"),
        pytest.param(
            [],
            running(coordinator={}, workers={}),
            VOLUME,
            ["CreateJoinSecret", "CreateClaim", "CreateCertificate", "create coordinator-1", *FOUR],
            id="the start",
        ),
        pytest.param(
            [], running(coordinator={}), SMALL, ["CreateJoinSecret", "create coordinator-1", "create worker-0-1"], id="without TLS"
        ),
        pytest.param(pods(w1=pod(1, ended=1)), running(**NEXT), {}, ["CreateJoinSecret", "create worker-1-2"], id="the next attempt"),
        pytest.param([*pods(w1=pod(1, ended=1)), AGAIN], running(**NEXT), {}, [], id="the newest that ended stays for its log"),
        pytest.param([*pods(), AGAIN], running(**NEXT), {}, ["delete worker-1-1"], id="a lower attempt that runs goes"),
        pytest.param([*pods(w1=LEAVING), AGAIN], running(**NEXT), {}, [], id="and is told so once"),
        pytest.param(
            pods(w1=pod(1, exit=exited(1))),
            running(**NEXT),
            {},
            ["CreateJoinSecret", "delete worker-1-1", "create worker-1-2"],
            id="a sidecar does not hold it",
        ),
        pytest.param(pods(), running(**RETIRED), {"workers.replicas": 3}, ["TellCoordinator", "delete worker-3-1"], id="a retired worker"),
        pytest.param(pods(c=pod()), running(), {}, ["TellCoordinator"], id="a coordinator that was told something else"),
        pytest.param(pods(c=pod(deleting_at=later(9))), running(), {}, [], id="one that drains is told nothing"),
        pytest.param(
            pods(),
            suspended(),
            {"suspend": True},
            ["delete coordinator-1", *(f"delete worker-{n}-1" for n in range(4))],
            id="suspended",
        ),
        pytest.param([pod(0, ended=1)], suspended(), {"suspend": True}, [], id="suspended, and all have ended"),
        pytest.param([], make_status(), {}, [], id="not accepted yet"),
        pytest.param(pods(w0=None, c=None), running(**ASKED), {}, [], id="asked to end"),
        pytest.param(pods(w0=None), running(**GIVEN_UP), {}, ["TellCoordinator"], id="a worker that was given up"),
    ],
)
def test_actions(views, status, changes, expected):
    assert names(views, status, changes) == expected


@pytest.mark.parametrize(
    ("old", "changes", "made"),
    [
        pytest.param(pod(deleting_at=ago(999)), VOLUME, False, id="on a volume, while the old one may write"),
        pytest.param(pod(deleting_at=ago(999)), {}, True, id="without a volume"),
        pytest.param(pod(ended=1), VOLUME, True, id="on a volume, when the old one has ended"),
    ],
)
def test_two_coordinators_never_share_a_volume(old, changes, made):
    status = running(coordinator={"attempt": 2})
    assert ("create coordinator-2" in names(all_pods(c=old), status, changes)) is made


@pytest.mark.parametrize(
    ("entry", "refusals", "wakes", "made"),
    [
        pytest.param({"notBefore": later(4)}, (), 4, False, id="it waits for its time"),
        pytest.param({"notBefore": ago(1)}, (), 10, True, id="its time has come"),
        pytest.param({}, (Refusal(1, 2, "quota", ago(24)),), 6, False, id="it was refused a moment ago"),
        pytest.param({}, (Refusal(1, 2, "quota", ago(30)),), 10, True, id="it is tried again"),
        pytest.param({}, (Refusal(1, 1, "quota", ago(2)),), 10, True, id="its predecessor was refused"),
    ],
)
def test_when_an_attempt_is_made(entry, refusals, wakes, made):
    status = running(workerIndexes=[{"index": 1, "attempt": 2, **entry}], workers={"started": "0,2-3"})
    job, views = make_job(status=status), pods(w1=None)
    assert ("create worker-1-2" in names(views, status, refusals=refusals)) is made
    assert wake_at(status, job, seen(*views, refusals=refusals), SETTINGS, NOW) == later(wakes)


@pytest.mark.parametrize(
    ("views", "status", "changes", "expected"),
    [
        pytest.param(pods(), running(), {}, later(10), id="to poll"),
        pytest.param(pods(), running(), {"activeDeadlineSeconds": 63}, later(3), id="for a deadline"),
        pytest.param(pods(w0=pod(0, deleting_at=ago(28))), running(), {}, later(2), id="for a lost node"),
        pytest.param([], make_status(), {}, later(30), id="while it is not accepted"),
        pytest.param(pods(), make_status(), {"suspend": True}, later(30), id="while its pods go"),
        pytest.param([], make_status(), {"suspend": True}, None, id="suspended for good"),
    ],
)
def test_wake_at(views, status, changes, expected):
    assert wake_at(status, make_job(changes, status), seen(*views), SETTINGS, NOW) == expected


ENDED = [pod(ended=0), pod(0, ended=0), pod(1), pod(2, deleting_at=later(3))]


@pytest.mark.parametrize(
    ("policy", "since", "deleted"),
    [
        pytest.param("Running", 14, [], id="they may leave by themselves"),
        pytest.param("Running", 15, ["worker-1-1"], id="what still runs"),
        pytest.param("All", 15, ["coordinator-1", "worker-0-1", "worker-1-1"], id="all"),
        pytest.param("None", 15, [], id="none"),
    ],
)
def test_after_the_end(policy, since, deleted):
    job = make_job({"cleanPodPolicy": policy}, make_status(("Complete", "True", "Completed"), completionTime=ago(since)))
    actions = actions_after_end(job.status, job, seen(*ENDED), NOW)
    assert [one.pod.removeprefix("mnist-") for one in actions] == deleted


@pytest.mark.parametrize(("ttl", "since", "due"), [(0, 0, True), (60, 59, False), (60, 60, True), (None, 9999, False)])
def test_time_to_live(ttl, since, due):
    job = make_job({"ttlSecondsAfterFinished": ttl}, make_status(("Failed", "True", "QuorumLost"), completionTime=ago(since)))
    assert (actions_after_end(job.status, job, seen(), NOW) == (act.DeleteJob(UID),)) is due
    wakes = wake_after_end(job.status, job, seen(), NOW)
    assert wakes == (None if due or ttl is None else ago(since - ttl))


def test_what_is_applied_is_there_from_the_start():
    job = make_job(status=running())
    applied = [one.manifest for one in actions_for(job.status, job, seen(), SETTINGS, NOW) if isinstance(one, act.Apply)]
    assert [one["kind"] for one in applied] == ["Service", "NetworkPolicy", "NetworkPolicy", "PodDisruptionBudget"]
