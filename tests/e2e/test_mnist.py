"""The examples as users run them: `kubectl apply -f` and `fedcore run` of the same file, and the same model out of both.

`pytest tests/e2e/test_mnist.py -rP` prints how long each job took from apply to Complete.
"""

import hashlib
import json
import subprocess
import sys
import time

import pytest
import yaml

from tests.cluster.cluster import LocalCluster
from tests.cluster.commands import PATIENCE
from tests.cluster.places import REPOSITORY
from tests.e2e.jobs import Job

pytestmark = pytest.mark.e2e

EXAMPLES = REPOSITORY / "examples"
CLAIM = {"storageClassName": "local", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
SAME = 0.02
"""Of accuracy: two runs of one file may differ in who was there for the first rounds, since three of four are enough."""


def run_here(folder, example, *options):
    """`fedcore run` of a file; returns its summary."""
    command = [sys.executable, "-m", "fedcore.cli.main", "run", str(example), "--json", "--no-report", f"--run-dir={folder}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def complete(job, began, *, seconds=PATIENCE):
    """Wait as a user would; returns the Accuracy column."""
    waiting = ["wait", f"--namespace={job.namespace}", "--for=condition=Complete", f"--timeout={seconds:.0f}s", f"fj/{job.name}"]
    job.cluster.kubectl(*waiting, seconds=seconds + 10)
    took, status = time.monotonic() - began, job.status()
    started, quorum, ended = status.start_time, status.quorum_first_met_time, status.completion_time
    shown = job.kubectl("get", "fj", job.name, "--no-headers")
    steps = f"first pod to quorum {(quorum - started).seconds} s, quorum to end {(ended - quorum).seconds} s"
    print(f"apply to Complete {took:.1f} s, of it {steps}: {shown.strip()}")
    line = shown.split()
    rounds = status.progress.total_rounds
    assert line[:3] == [job.name, "Succeeded", f"{rounds}/{rounds}"]
    assert line[6] == "0", "no restarts"
    return float(line[5])


def test_the_same_file_trains_on_the_cluster_and_here(operator, cluster, namespace, tmp_path):
    began = time.monotonic()
    cluster.kubectl("apply", "-f", EXAMPLES / "numpy.yaml", f"--namespace={namespace}")
    accuracy = complete(Job(cluster, namespace, "numpy"), began)
    here = run_here(tmp_path / "run", EXAMPLES / "numpy.yaml")
    assert accuracy > 0.93
    assert accuracy == pytest.approx(here["metrics"]["accuracy"], abs=SAME)


def test_the_model_on_the_claim_is_that_of_a_run_here_to_the_last_byte(operator, local_cluster, namespace, coordinator_image, tmp_path):
    assert isinstance(local_cluster, LocalCluster), "other processors add in another order"
    manifest = yaml.safe_load((EXAMPLES / "numpy.yaml").read_text())
    manifest["spec"]["quorum"]["percent"] = 100  # with every update in every round there is one result
    manifest["spec"]["coordinator"] = {"checkpoint": {"claimName": "results"}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "results"}, "spec": CLAIM}
    began = time.monotonic()
    local_cluster.apply(claim, manifest, namespace=namespace)
    job = Job(local_cluster, namespace, "numpy")
    accuracy = complete(job, began)
    here = run_here(tmp_path / "run", EXAMPLES / "numpy.yaml", "--set=spec.quorum.percent=100")
    model = (tmp_path / "run/model.safetensors").read_bytes()
    assert accuracy == pytest.approx(here["metrics"]["accuracy"], abs=0.0001), "shown with four digits"
    assert job.status().result.sha256 == hashlib.sha256(model).hexdigest()
    # As docs/eks.md fetches it.
    reader = yaml.safe_load((EXAMPLES / "eks/results.yaml").read_text())
    reader["spec"]["containers"][0]["image"] = coordinator_image
    reader["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "results"
    local_cluster.apply(reader, namespace=namespace)
    local_cluster.kubectl(
        "wait", f"--namespace={namespace}", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s", "pod/results", seconds=PATIENCE + 10
    )
    job.kubectl("cp", "results:/results", str(tmp_path / "fetched"))
    (fetched,) = (tmp_path / "fetched").glob("numpy-*/model.safetensors")
    assert fetched.read_bytes() == model
    job.kubectl("delete", "pod/results", "--grace-period=0", "--force")


@pytest.mark.long
def test_the_torch_image_trains_the_cnn(operator, cluster, namespace, torch_worker_image):
    """examples/mnist.yaml with the image named in the job: the chart of the tests gives workers the small one."""
    manifest = yaml.safe_load((EXAMPLES / "mnist.yaml").read_text())
    manifest["spec"]["workers"]["image"] = torch_worker_image
    began = time.monotonic()
    cluster.kubectl("apply", f"--namespace={namespace}", "-f", "-", stdin=json.dumps(manifest))
    accuracy = complete(Job(cluster, namespace, "mnist"), began, seconds=2 * PATIENCE)
    assert accuracy > 0.95, "what a perceptron does not reach in these rounds"
