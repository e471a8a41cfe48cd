"""`make images REGISTRY=... PUSH=1` to a real registry, and what comes out of it again: for a puller, for the chart, for the nodes."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
import yaml

from images.build import IMAGES
from tests.cluster import commands, images
from tests.cluster.places import REPOSITORY
from tests.cluster.registry import registry
from tests.e2e.jobs import Job, apply_job
from tests.e2e.pods import Pod, run

pytestmark = pytest.mark.e2e

SMALL = ("operator", "coordinator", "worker-numpy")
TAG = "pushed"
ENTRYPOINTS = {
    "operator": ["python", "-m", "fedcore_operator", "run"],
    "coordinator": ["fedcore", "coordinator"],
    "worker-numpy": ["fedcore", "worker"],
}


@dataclass(frozen=True)
class Pushed:
    """What the command pushed and said."""

    registry: object
    said: str
    values: dict

    def repository(self, name):
        return f"fedcore/fedcore-{IMAGES[name].folder}"

    def reference(self, name):
        """By digest, as the command printed it."""
        printed = re.escape(self.tagged(name)) + "@(sha256:[0-9a-f]{64})"
        found = re.search(rf"^{printed}$", self.said, re.MULTILINE)
        assert found, self.said
        return f"{self.registry.address}/{self.repository(name)}@{found[1]}"

    def tagged(self, name):
        return IMAGES[name].reference(f"{self.registry.address}/fedcore", TAG)


@pytest.fixture(scope="module")
def pushed(local_cluster, operator_image, coordinator_image, numpy_worker_image, tmp_path_factory):
    """The command as users run it, but for the base image: no public one can be pulled here. It finds the layers of the tests' images."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder) as running:
        command = ["make", "images", f"REGISTRY={running.address}/fedcore", "PUSH=1", "PLAIN_HTTP=1", f"TAG={TAG}"]
        command += [f"BASE_IMAGE={images.PYTHON.reference}", f"IMAGES={' '.join(SMALL)}", f"VALUES={folder}/values.yaml"]
        command += [f"PYTHON={sys.executable}"]
        with images.storage() as buildah:
            images.ensure_base(images.PYTHON, buildah)
            said = subprocess.run(
                [*images.PRIVATE_MOUNTS, *command],
                cwd=REPOSITORY,
                env=images.storage_environment(folder),
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert said.returncode == 0, said.stderr[-4000:]
            done = Pushed(running, said.stdout, yaml.safe_load((folder / "values.yaml").read_text()))
            commands.run([*buildah, "rmi", *(done.tagged(name) for name in SMALL)])
        running.offer(local_cluster)
        yield done


@pytest.mark.parametrize("name", SMALL)
def test_a_puller_sees_what_was_pushed(pushed, name):
    repository, (_, digest) = pushed.repository(name), pushed.reference(name).split("@")
    by_tag, manifest = pushed.registry.manifest(repository, pushed.tagged(name).rpartition(":")[2])
    assert (by_tag, pushed.registry.manifest(repository, digest)) == (digest, (digest, manifest))
    raw = pushed.registry.blob(repository, manifest["config"]["digest"])
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == manifest["config"]["digest"]
    image = json.loads(raw)
    assert image["architecture"] == {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "that of the machine that built it, alone"
    seen = image["config"]
    assert (seen["User"], seen["Entrypoint"], seen["WorkingDir"]) == ("65532:65532", ENTRYPOINTS[name], "/tmp")
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in seen["Labels"].items()}
    assert (labels["title"], labels["licenses"]) == (f"fedcore-{IMAGES[name].folder}", "Apache-2.0")
    # Which makes them other images than those that the nodes were given: containerd forgets a name if its image is pulled under another.
    assert labels["version"] == pushed.tagged(name).rpartition(":")[2]
    secrets = [entry["created_by"] for entry in image["history"] if "index-url" in entry.get("created_by", "")]
    assert secrets == [], "where packages came from is nobody's business"


def test_the_chart_takes_what_was_pushed_by_digest(pushed, local_cluster, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(pushed.values))
    rendered = local_cluster.helm("template", "fedcore", REPOSITORY / "charts/fedcore", "--values", values)
    assert {name: pushed.reference(name) in rendered for name in SMALL} == dict.fromkeys(SMALL, True)


def test_nodes_pull_by_digest_and_a_job_runs_on_it(pushed, operator, local_cluster, namespace):
    spec = {"rounds": 1, "coordinator": {"image": pushed.reference("coordinator")}}
    spec["workers"] = {"replicas": 2, "image": pushed.reference("worker-numpy")}
    job = apply_job(local_cluster, namespace, "pulled", spec)
    look = Pod("operator", pushed.reference("operator"), ["python", "-c", "import fedcore_operator.runtime.main"])
    assert run(local_cluster, namespace, look).exit_code == 0
    assert job.wait_end() == "Completed", operator.log()
    notes = [event["note"] for event in job.get("events.v1.events.k8s.io")["items"] if event["reason"] == "Pulled"]
    assert [note for note in notes if note.startswith("Successfully pulled image") and "@sha256:" in note], notes


def test_a_project_of_ones_own_becomes_a_worker(pushed, operator, local_cluster, namespace, tmp_path):
    """`fedcore init`, its Dockerfile on the worker's image, a push, `kubectl apply`: with what it says of further packages switched on."""
    subprocess.run([sys.executable, "-m", "fedcore.cli.main", "init", "fitted", "-C", tmp_path], check=True, timeout=60)
    dockerfile = tmp_path / "fitted/Dockerfile"
    text = dockerfile.read_text()
    assert "# RUN python -m ensurepip && python -m pip install" in text
    # Nothing is fetched: that pip is there and may write is what counts.
    text = re.sub(r"^# (USER .*)$", r"\1", text, flags=re.MULTILINE)
    dockerfile.write_text(re.sub(r"^# (RUN .*) install .*$", r"\1 check && touch /opt/fedcore/written", text, flags=re.MULTILINE))
    image = f"{pushed.registry.address}/team/fitted:1"
    with images.storage() as buildah:
        options = [
            "--isolation=chroot",
            "--tls-verify=false",
            f"--build-arg=BASE_IMAGE={pushed.reference('worker-numpy')}",
            f"--tag={image}",
        ]
        commands.run([*buildah, "build", *options, tmp_path / "fitted"], seconds=120)
        commands.run([*buildah, "push", "--tls-verify=false", image], seconds=120)
        commands.run([*buildah, "rmi", image])
    manifest = yaml.safe_load((tmp_path / "fitted/job.yaml").read_text())
    manifest["spec"]["workers"]["image"] = image
    local_cluster.apply(manifest, namespace=namespace)
    assert Job(local_cluster, namespace, "fitted").wait_end() == "Completed", operator.log()
