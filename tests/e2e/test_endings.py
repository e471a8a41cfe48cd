"""How jobs end, or do not begin: the condition, the event, and ``kubectl fedjob`` that says it in words.

All jobs are applied at once, in one namespace, and end beside each other.
"""

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.fedjob import Fedjob
from tests.e2e.jobs import apply_job, apply_slow_job

pytestmark = pytest.mark.e2e

FAILS = {"spec": {"containers": [{"name": "worker", "command": ["sh", "-c", "echo it does not work >&2; exit 1"]}]}}
COORDINATOR_FAILS = {"spec": {"containers": [{"name": "coordinator", "command": ["sh", "-c", "echo no luck >&2; exit 1"]}]}}
ONCE = '[ "$FEDCORE_ATTEMPT" = 1 ] && exec fedcore worker; exec sleep 600'
"""A worker whose later attempts never come: quorum is lost, and nobody is given up."""
GOOD_ROUNDS = 30
"""Of 0.4 s each: longer than it takes for a status to be written for mere progress."""
NOWHERE = "localhost/nowhere/nothing:typo"
SOON = {"restartBackoffSeconds": 1}


@pytest.fixture(scope="module")
def namespace(cluster):
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="module")
def fedjob(cluster, namespace, tmp_path_factory):
    return Fedjob.installed(cluster, namespace, tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def watchers():
    return {}


@pytest.fixture(scope="module")
def jobs(operator, cluster, namespace, fedjob, watchers):
    two = {"replicas": 2}
    applied = [
        apply_slow_job(
            cluster,
            namespace,
            "lost",
            {"workers": two, "quorum": {"percent": 100, "lossGracePeriodSeconds": 5}},
            command=["sh", "-c", ONCE],
        ),
        apply_slow_job(cluster, namespace, "good", {"workers": two, "rounds": GOOD_ROUNDS}),
        apply_slow_job(cluster, namespace, "late", {"workers": two, "activeDeadlineSeconds": 15}),
        apply_job(cluster, namespace, "spent", {"workers": two | {"template": FAILS, "maxRestartsPerWorker": 1}, "failurePolicy": SOON}),
        apply_job(
            cluster,
            namespace,
            "headless",
            {"workers": two, "coordinator": {"template": COORDINATOR_FAILS, "maxRestarts": 1}, "failurePolicy": SOON},
        ),
        apply_job(cluster, namespace, "absent", {"task": {"entrypoint": "no_such_module:task"}, "workers": two}),
        apply_job(cluster, namespace, "typo", {"workers": two | {"image": NOWHERE}, "startupDeadlineSeconds": 20}),
        apply_job(cluster, namespace, "stuck", {"workers": two | {"image": NOWHERE}, "startupDeadlineSeconds": 0}),
        apply_job(
            cluster, namespace, "homeless", {"workers": two, "coordinator": {"template": {"spec": {"nodeSelector": {"no": "such-node"}}}}}
        ),
        apply_job(
            cluster,
            namespace,
            "wrong",
            {"workers": two | {"template": {"spec": {"containers": [{"name": "worker", "resorces": {}}]}}}},
        ),
        apply_job(cluster, namespace, "forbidden", {"workers": two | {"template": {"spec": {"hostNetwork": True}}}}),
    ]
    by_name = {job.name: job for job in applied}
    for name in ("good", "spent"):
        watchers[name] = fedjob.start("watch", name, "--timeout=10m")
    by_name["lost"].wait_quorum()
    by_name["lost"].delete_pod("worker-1-1")
    yield by_name
    for process in watchers.values():
        with process:
            process.kill()


@pytest.mark.parametrize(
    ("name", "reason", "message", "words"),
    [
        ("lost", "QuorumLost", "quorum lost for ", ["too few workers answered for longer than quorum.lossGracePeriodSeconds"]),
        ("late", "DeadlineExceeded", "15 s", ["ran longer than activeDeadlineSeconds allows", "Raise activeDeadlineSeconds"]),
        (
            "spent",
            "QuorumUnreachable",
            "2 workers",
            ["given up after 1 restart", "(at most once each)", "ended with an error", "it does not work"],
        ),
        (
            "headless",
            "CoordinatorFailed",
            "no luck",
            ["more often than coordinator.maxRestarts allows", "logs headless --role coordinator"],
        ),
        ("absent", "NonRetryableExit", "no_such_module", ["Correct task.entrypoint", "cannot work as it is"]),
        ("typo", "StartupDeadlineExceeded", "0 of 2", ["too few workers came before startupDeadlineSeconds", NOWHERE]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.islower() else "",
)
def test_a_job_fails_and_says_why(jobs, operator, fedjob, namespace, name, reason, message, words):
    job = jobs[name]
    assert job.wait_end() == reason, operator.log()
    status, condition_reason, said = job.condition("Failed")
    assert (status, condition_reason) == ("True", reason)
    assert message in said
    assert message in note_of(job, reason)
    assert job.status().phase == "Failed"
    told = fedjob("why", name)
    assert told.startswith(f"Job {name} failed ")
    assert f"({reason})" in told
    assert "What to do: " in told
    for word in words:
        assert word in told, told


@pytest.mark.parametrize(
    ("name", "reason", "message", "words"),
    [
        ("wrong", "InvalidPodTemplate", "resorces", ["a pod template", "nothing has to be deleted"]),
        ("forbidden", "PodForbidden", "hostNetwork", ["this namespace does not allow its pods", "host namespaces"]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.islower() else "",
)
def test_a_job_is_not_accepted_and_says_why(jobs, operator, fedjob, name, reason, message, words):
    job = jobs[name]
    job.wait("verdict", lambda status: status.conditions)
    status, condition_reason, said = job.condition("Accepted")
    assert (status, condition_reason) == ("False", reason), operator.log()
    assert message in said
    assert message in note_of(job, "NotAccepted")
    told = fedjob("why", name)
    assert told.startswith(f"Job {name} is not accepted: ")
    for word in (f"({reason})", message, *words):
        assert word in told, told


def note_of(job, reason):
    """Return what an event says; it is posted a moment after the status."""
    wait_until(f"event {reason} of {job.name}", lambda: reason in job.events())
    return job.events()[reason]


def test_what_a_job_waits_for_is_said(jobs, fedjob):
    jobs["stuck"].wait("image trouble", lambda _: "2 wait, worker-0: " in jobs["stuck"].condition("QuorumMet")[2])
    told = fedjob("why", "stuck")
    for words in (
        "Job stuck is starting",
        "worker-0 and worker-1 wait: the image cannot be pulled",
        NOWHERE,
        "for ever",
        "Correct workers.image",
    ):
        assert words in told, told
    jobs["homeless"].wait("no node", lambda _: jobs["homeless"].condition("CoordinatorReady")[1] == "Unschedulable")
    told = fedjob("why", "homeless")
    for words in (
        "No node takes the pod of the coordinator (Unschedulable)",
        "didn't match Pod's node affinity/selector",
        "StartupDeadlineExceeded",
        "nodeSelector",
    ):
        assert words in told, told


def test_watched_to_its_end_a_job_tells_its_rounds_and_its_outcome(jobs, fedjob, watchers):
    assert jobs["good"].wait_end() == "Completed"
    out, err = fedjob.ended(watchers["good"])
    lines = [line.split(" ", 1)[1] for line in err.splitlines()]
    assert lines[0] == f"run_started job=good workers=2 required=2 rounds={GOOD_ROUNDS}"
    assert [line for line in lines if line.startswith("round_closed round=")], lines
    assert lines[-1].startswith("run_finished phase=Succeeded reason=Completed")
    assert out.startswith(f"✔ Succeeded: {GOOD_ROUNDS} rounds in ")
    assert "\x1b" not in out + err
    told = fedjob("why", "good")
    assert told.startswith("Job good is complete since "), told
    assert "What to do" not in told
    assert fedjob("watch", "good").startswith("✔ Succeeded"), "one that has ended already"


def says(job, pod, word):
    """Whether a word is in a pod's log, if it has one yet."""
    try:
        return word in job.kubectl("logs", pod)
    except ClusterError:
        return False


def test_a_job_that_runs_is_reported_from_its_coordinator(jobs, fedjob, tmp_path):
    """One that never ends by itself; tests/e2e/test_faults.py reports those that have ended."""
    wait_until("the coordinator's first event", lambda: says(jobs["stuck"], "stuck-coordinator-1", "run_started"))
    told = fedjob("report", "stuck", f"--run-dir={tmp_path / 'stuck'}")
    assert told.startswith("Starting: 0 rounds of "), told
    assert "The job was Starting when this was fetched" in (tmp_path / "stuck/report.html").read_text()
    assert '"event":"run_started"' in (tmp_path / "stuck/events.jsonl").read_text()


def test_the_exit_code_of_watching_is_that_of_the_job(jobs, fedjob, watchers):
    jobs["spent"].wait_end()
    out, err = fedjob.ended(watchers["spent"], 3)
    assert "worker_gave_up worker=worker-" in err
    assert "run_finished phase=Failed reason=QuorumUnreachable" in err
    assert out.startswith("✖ Failed: QuorumUnreachable after 0 rounds")
    assert "kubectl fedjob why spent" in out


def test_logs_are_those_of_the_pods_each_line_with_its_name(jobs, fedjob):
    jobs["good"].wait_end()
    everyone = fedjob("logs", "good").splitlines()
    assert {line.split("]")[0] for line in everyone} == {"[good-coordinator-1", "[good-worker-0-1", "[good-worker-1-1"}
    followed = fedjob("logs", "good", "--role=coordinator", "--follow")
    assert "run_finished" in followed
    assert all(line.startswith("[good-coordinator-1] ") for line in followed.splitlines())
    assert len(fedjob("logs", "good", "--role=worker", "--index=1", "--tail=1").splitlines()) == 1
    jobs["spent"].wait_end()
    spent = next(one.index for one in jobs["spent"].status().worker_indexes if one.gave_up)
    which = ("logs", "spent", "--role=worker", f"--index={spent}")
    assert fedjob(*which, "--previous") == f"[spent-worker-{spent}-1] it does not work\n"
    assert fedjob(*which, "--attempt=2") == f"[spent-worker-{spent}-2] it does not work\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["why", "god"], 2, 'no FederatedJob "god" in namespace'),
        (["logs", "good", "--attempt=7"], 2, "job good has no such pod; there are good-coordinator-1"),
        (["logs", "wrong"], 2, "job wrong has no pods"),
        (["watch", "stuck", "--timeout=1s"], 124, "has not ended within --timeout; it goes on"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said(jobs, fedjob, arguments, code, words):
    out, err = fedjob.ended(fedjob.start(*arguments), code)
    assert words in err
    assert out == ""
