"""``kubectl fedjob`` before a real API server, with statuses as an operator writes them: the way there, the view, the errors."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedcore.crd import definition_yaml
from support.fedjob_objects import pod, running
from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.fedjob import Fedjob

pytestmark = pytest.mark.apiserver
NAME = "mnist"


@pytest.fixture(scope="module")
def namespace(apiserver):
    with apiserver.namespace(level="privileged") as name:
        apiserver.kubectl("apply", "--filename=-", stdin=definition_yaml())
        apiserver.kubectl("wait", "--for=condition=Established", "crd/federatedjobs.fedcore.dev", "--timeout=180s")
        yield name


@pytest.fixture(scope="module")
def fedjob(apiserver, namespace, tmp_path_factory):
    return Fedjob.installed(apiserver, namespace, tmp_path_factory.mktemp("bin"))


@pytest.fixture
def job(apiserver, namespace):
    """A job that trains; what a test writes is laid over its status."""
    manifest = {
        "apiVersion": "fedcore.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": NAME},
        "spec": {"rounds": 20, "task": {"entrypoint": "my.task:make"}, "workers": {"replicas": 4}},
    }
    apiserver.apply(manifest, namespace=namespace)
    job = Written(apiserver, namespace)
    job.write(running()["status"])
    yield job
    apiserver.kubectl("delete", "fj,pods", "--all", f"--namespace={namespace}", "--grace-period=0", "--force")


class Written:
    """A job whose operator is the test."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace

    def write(self, status):
        text = json.dumps({"status": status})
        self.cluster.kubectl("patch", "fj", NAME, "--subresource=status", "--type=merge", "-p", text, f"--namespace={self.namespace}")

    def end(self, kind, reason, message=""):
        conditions = [one for one in running()["status"]["conditions"] if one["type"] != kind]
        end = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": conditions[0]["lastTransitionTime"],
        }
        self.write({"conditions": [*conditions, end], "completionTime": end["lastTransitionTime"]})

    def add_pod(self, index):
        uid = self.cluster.get("fj", NAME, f"--namespace={self.namespace}")["metadata"]["uid"]
        made = pod(index)
        owner = {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", "name": NAME, "uid": uid, "controller": True}
        made["metadata"] = {"name": made["metadata"]["name"], "labels": made["metadata"]["labels"], "ownerReferences": [owner]}
        spec = {"containers": [{"name": "worker", "image": "none"}], "schedulingGates": [{"name": "example.com/queue"}]}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": made["metadata"], "spec": spec}, namespace=self.namespace)


class Lines:
    """Lines of a process as they come."""

    def __init__(self, process):
        self.process = process
        self.seen = []

    def until(self, pattern):
        """Read until one matches; the test's own timeout ends a wait in vain."""
        for line in self.process.stderr:
            self.seen.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no {pattern} in {self.seen}")


def test_a_job_is_watched_from_one_status_to_the_next(job, fedjob):
    process = fedjob.start("watch", NAME)
    lines = Lines(process)
    lines.until(r"run_started job=mnist workers=4 required=3 rounds=20$")
    lines.until("job_status phase=Running reason=Enough")
    job.add_pod(2)
    lines.until(r"workers_waiting count=1 workers=worker-2 reason=SchedulingGated")
    rounds = [{"round": number, "seconds": "1.5", "accepted": 3, "required": 3, "late": 1} for number in (1, 2)]
    measured = {"accuracy": "0.91", "metrics": [{"name": "accuracy", "value": "0.91"}], "metricsVersion": 1}
    progress = {"round": 3, "accepted": 1, "observedTime": running()["status"]["startTime"], **measured, "recentRounds": rounds}
    job.write({"progress": progress})
    lines.until(r"round_closed round=1/20 outcome=quorum accepted=3 required=3 stragglers=1 duration_s=1.5$")
    lines.until(r"round_closed round=2/20 .* version=1 accuracy=0.91$")
    exit_ = {"reason": "OOMKilled", "exitCode": 137, "time": progress["observedTime"]}
    job.write({"workerIndexes": [{"index": 1, "attempt": 2, "restarts": 1, "lastExit": exit_}]})
    lines.until(r"worker_exited worker=worker-1 attempt=1 exit_code=137 reason=OOMKilled restart=1 of=3")
    job.cluster.kubectl("scale", "fj/mnist", "--replicas=6", f"--namespace={job.namespace}")
    lines.until(r"spec_changed workers=6 required=5 rounds=20")
    job.end("Failed", "QuorumUnreachable", "5 of 6 workers are required and 2 are given up")
    lines.until(r"run_finished phase=Failed reason=QuorumUnreachable message=")
    out, _ = fedjob.ended(process, 3)
    assert out.splitlines()[0].startswith("✖ Failed: QuorumUnreachable after 2 rounds in ")
    assert out.splitlines()[2] == f"  Next    kubectl fedjob why mnist -n {job.namespace}"


@pytest.mark.parametrize(("reason", "code"), [("Completed", 0), ("OfALaterVersion", 1)])
def test_watching_ends_with_the_code_of_the_outcome(job, fedjob, reason, code):
    job.end("Complete" if reason == "Completed" else "Failed", reason)
    fedjob("watch", NAME, code=code)


def test_ctrl_c_ends_the_watching_alone_and_leaves_nothing(job, fedjob):
    process = fedjob.start("watch", NAME)
    Lines(process).until("run_started")
    proxies = children_of(process.pid)
    assert any("proxy" in command for command in proxies.values()), proxies
    process.send_signal(signal.SIGINT)
    fedjob.ended(process, 130)
    wait_until("end of the proxy", lambda: not any(Path(f"/proc/{pid}").exists() for pid in proxies))
    assert job.cluster.get("fj", NAME, f"--namespace={job.namespace}")["metadata"].get("deletionTimestamp") is None


def test_on_a_terminal_it_draws_a_table_until_ctrl_c(job, fedjob):
    progress = {"round": 3, "accepted": 2, "observedTime": running()["status"]["startTime"]}
    job.write({"progress": progress})
    command = f"{job.cluster.kubectl_program} fedjob watch {NAME} --namespace={job.namespace}"
    terminal = fedjob.program(["script", "--quiet", "--return", "--command", command, "/dev/null"], TERM="xterm", COLUMNS="120")
    shown = ""
    while "2 of 3 in" not in shown or "worker-3" not in shown:
        read = terminal.stdout.read(1)
        assert read, shown
        shown += read
    assert "Round 3/20" in shown
    terminal.stdin.write("\x03")
    terminal.stdin.flush()
    rest, _ = terminal.communicate(timeout=180)
    assert terminal.returncode == 130, shown + rest


def test_killed_it_takes_its_proxy_along(job, fedjob):
    process = fedjob.start("watch", NAME)
    Lines(process).until("run_started")
    proxies = children_of(process.pid)
    process.kill()
    process.communicate()
    wait_until("end of the proxy", lambda: not any(Path(f"/proc/{pid}").exists() for pid in proxies))


def test_a_job_that_is_deleted_ends_the_watching(job, fedjob):
    process = fedjob.start("watch", NAME)
    Lines(process).until("run_started")
    job.cluster.kubectl("delete", "fj", NAME, f"--namespace={job.namespace}")
    assert "deleted before its end" in fedjob.ended(process, 1)[1]


def test_a_job_that_ends_and_is_deleted_at_once_has_ended(job, fedjob):
    process = fedjob.start("watch", NAME)
    lines = Lines(process)
    lines.until("job_status phase=Running")
    job.write({"phase": "Degraded"})
    lines.until("job_status phase=Degraded")  # what happens from now on it will see, however late
    process.send_signal(signal.SIGSTOP)
    job.end("Failed", "QuorumLost")
    job.cluster.kubectl("delete", "fj", NAME, f"--namespace={job.namespace}")
    process.send_signal(signal.SIGCONT)
    assert "✖ Failed: QuorumLost" in fedjob.ended(process, 3)[0]


def test_why_names_what_a_pod_waits_for(job, fedjob):
    job.add_pod(0)
    told = fedjob("why", NAME)
    assert "worker-0 waits: another controller, such as Kueue, holds the pod back (SchedulingGated)" in told


def test_logs_of_a_pod_that_never_ran_say_so(job, fedjob):
    job.add_pod(0)
    _, err = fedjob.ended(fedjob.start("logs", NAME))
    assert "mnist-worker-0-1 has no log yet: SchedulingGated" in err


def test_a_user_who_may_not_is_told_what(job, fedjob, apiserver, namespace):
    job.add_pod(0)
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "jobs"}}
    role["rules"] = [{"apiGroups": ["fedcore.dev"], "resources": ["federatedjobs"], "verbs": ["get", "list", "watch"]}]
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "jobs"}}
    binding |= {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jobs"}}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}]
    config = limited(apiserver, namespace, fedjob.folder / "limited")
    _, err = fedjob.ended(fedjob.start("why", NAME, f"--kubeconfig={config}"), 4)
    assert err.startswith("error: not allowed: federatedjobs.fedcore.dev")
    apiserver.apply(role, binding, namespace=namespace)
    account = f"--as=system:serviceaccount:{namespace}:default"
    wait_until("the right to see jobs", lambda: "yes" in can_i(apiserver, "list", "fj", account, f"--namespace={namespace}"))
    out, err = fedjob.ended(fedjob.start("why", NAME, f"--kubeconfig={config}"))
    assert out.startswith("Job mnist runs")
    assert err.count("note: ") == 2
    assert "pods are left out, not allowed: " in err
    process = fedjob.start("watch", NAME, f"--kubeconfig={config}")
    Lines(process).until("run_started")
    job.end("Complete", "Completed")
    fedjob.ended(process, 0)


def can_i(apiserver, *question):
    try:
        return apiserver.kubectl("auth", "can-i", *question)
    except ClusterError as error:
        return str(error)


def limited(apiserver, namespace, folder):
    """A kubeconfig of the namespace's default account."""
    folder.mkdir()
    token = apiserver.kubectl("create", "token", "default", f"--namespace={namespace}").strip()
    config = folder / "config"
    config.write_text(apiserver.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    for change in (["set-credentials", "limited", f"--token={token}"], ["set-context", "--current", "--user=limited"]):
        apiserver.kubectl("config", *change, f"--kubeconfig={config}")
    return config


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["why", "mnst"], 2, r'no FederatedJob "mnst" in namespace \S+ of context \S+; there are mnist; -n names another'),
        (["watch", NAME, "--context=nowhere"], 2, 'there is no context "nowhere"'),
        (["logs", NAME, "--kubeconfig=/nonexistent"], 2, "there is no file /nonexistent"),
        (["logs", NAME], 2, "job mnist has no pods: `kubectl fedjob why mnist"),
        (["watch", NAME, "--timeout=0s"], 124, "has not ended within --timeout; it goes on"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(job, fedjob, arguments, code, words):
    out, err = fedjob.ended(fedjob.start(*arguments), code)
    assert re.search(words, err), err
    assert out == ""


def test_a_cluster_that_is_not_there(fedjob, apiserver, tmp_path):
    config = tmp_path / "config"
    config.write_text(apiserver.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    cluster = apiserver.kubectl("config", "get-clusters", f"--kubeconfig={config}").split()[-1]
    apiserver.kubectl("config", "set-cluster", cluster, "--server=https://127.0.0.1:1", f"--kubeconfig={config}")
    _, err = fedjob.ended(fedjob.start("why", NAME, f"--kubeconfig={config}"), 4)
    assert "cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused" in err


def test_completion_knows_commands_flags_and_jobs(job, fedjob, namespace):
    def completed(*words):
        program = [sys.executable, "-m", "fedcore.cli.fedjob.complete", *words]
        environment = dict(fedjob.cluster.environment())
        return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=180, check=True).stdout.splitlines()

    assert [line.split("\t")[0] for line in completed("")] == ["watch", "report", "logs", "why", ":4"]
    assert completed("why", "-n", namespace, "mn") == ["mnist", ":4"]
    assert completed("why", "-n", namespace[:-1]) == [namespace, ":4"]
    assert completed("why", "--context", "fedcore-t") == ["fedcore-test", ":4"]
    assert completed("logs", "mnist", "--role", "w") == ["worker", ":4"]
    assert "--previous" in {line.split("\t")[0] for line in completed("logs", "--p")}


def children_of(pid):
    """Return the command lines of all processes below one, by pid."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = int(re.search(r"PPid:\t(\d+)", status.read_text())[1])
            command = (status.parent / "cmdline").read_text().replace("\0", " ")
        except (OSError, TypeError):
            continue
        found[int(status.parent.name)] = (parent, command)
    below, todo = {}, [pid]
    while todo:
        one = todo.pop()
        for child, (parent, command) in found.items():
            if parent == one:
                below[child] = command
                todo.append(child)
    return below
