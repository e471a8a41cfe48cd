"""docs/eks.md against what there is: files, make targets and their variables, the chart with the values it names, objects by name."""

import json
import re
import shlex
from itertools import pairwise

import pytest
import yaml

from images.build import IMAGES, chart_values
from tests.cluster.places import REPOSITORY

PAGE = REPOSITORY / "docs/eks.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [line.strip() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.strip()]
INLINE = re.findall(r"`((?:make|helm|kubectl|fedcore|eksctl|aws) [^`]+)`", TEXT)
ALL = [*COMMANDS, *INLINE]


def of(program):
    """Words of each command of a program, variables as they stand."""
    parts = [part.strip() for line in ALL for part in re.split(r"[;|]| do ", line)]
    return [shlex.split(part) for part in parts if part.startswith(f"{program} ")]


def documents(path):
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def test_files_that_it_names_exist():
    named = set(re.findall(r"(?<![\w/])(?:examples|charts|tests|docs)/[\w./-]*\w", TEXT))
    assert len(named) > 8
    for name in named:
        assert (REPOSITORY / name).exists(), name


def test_make_knows_the_targets_and_variables():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert of("make")
    for words in of("make"):
        target, *variables = [word for word in words[1:] if word != "..."]
        recipe = re.search(rf"^{target}:.*\n\t(.*)$", makefile, re.MULTILINE)
        assert recipe, target
        for variable in variables:
            assert f"$({variable.partition('=')[0]})" in recipe[1], variable


def test_the_images_of_the_first_step_are_images():
    (small,) = {word for words in of("make") for word in words if word.startswith("IMAGES=")}
    assert set(small.removeprefix("IMAGES=").split()) <= set(IMAGES)
    loops = re.findall(r"for name in ([\w ]+); do aws ecr (?:create|delete)-repository --repository-name fedcore-\$name", TEXT)
    assert [set(loop.split()) for loop in loops] == [{image.folder for image in IMAGES.values()}] * 2


@pytest.mark.apiserver
def test_the_chart_takes_the_values(apiserver, tmp_path):
    digests = {name: f"sha256:{place:064d}" for place, name in enumerate(IMAGES)}
    registry = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
    (tmp_path / "images.yaml").write_text(json.dumps(chart_values(digests, registry)), encoding="utf-8")
    (install,) = [words for words in of("helm") if words[1] == "install"]
    files = [words for place, words in enumerate(install) if install[place - 1] == "--values"]
    assert files == ["examples/eks/values.yaml", "build/images.yaml"]
    values = [f"--values={REPOSITORY / files[0]}", f"--values={tmp_path / 'images.yaml'}"]
    rendered = apiserver.helm("template", install[2], REPOSITORY / install[3], *values)
    (deployment,) = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == f"{registry}/fedcore-operator@{digests['operator']}"
    assert spec["nodeSelector"] == {"eks.amazonaws.com/capacityType": "ON_DEMAND"}


def test_names_in_the_page_are_those_in_the_files():
    cluster = documents(REPOSITORY / "examples/eks/cluster.yaml")[0]
    groups = {group["name"] for group in cluster["managedNodeGroups"]}
    scaled = [dict(pairwise(words)) for words in of("eksctl") if words[1] == "scale"]
    assert scaled
    assert {one["--name"] for one in scaled} <= groups
    assert {one["--cluster"] for one in scaled} == {cluster["metadata"]["name"]}
    claims = {
        one["metadata"]["name"] for one in documents(REPOSITORY / "examples/eks-gpu-spot.yaml") if one["kind"] == "PersistentVolumeClaim"
    }
    reader = documents(REPOSITORY / "examples/eks/results.yaml")[0]
    assert {reader["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]} == claims
    assert all(f"`{claim}`" in TEXT for claim in claims)
    irsa = {one["kind"]: one for one in documents(REPOSITORY / "examples/eks-irsa.yaml")}
    account = irsa["ServiceAccount"]["metadata"]["name"]
    assert [dict(pairwise(words))["--name"] for words in of("eksctl") if "iamserviceaccount" in words] == [account]
    selected = irsa["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert selected == {"fedcore.dev/job": irsa["FederatedJob"]["metadata"]["name"], "fedcore.dev/role": "worker"}
    bucket = "s3://my-bucket/mnist/"
    assert bucket in irsa["FederatedJob"]["spec"]["workers"]["template"]["spec"]["initContainers"][0]["args"]
    policy = json.loads((REPOSITORY / "examples/eks/s3-read.json").read_text(encoding="utf-8"))
    assert [statement["Resource"] for statement in policy["Statement"]] == ["arn:aws:s3:::my-bucket", "arn:aws:s3:::my-bucket/mnist/*"]


def test_conditions_and_events_in_the_page_exist():
    source = "".join(path.read_text(encoding="utf-8") for path in REPOSITORY.glob("operator/fedcore_operator/**/*.py"))
    source += "".join(path.read_text(encoding="utf-8") for path in REPOSITORY.glob("fedcore/engine/*.py"))
    for word in ("CoordinatorReady", "ImagePullFailed", "QuorumMet", "WorkerDisrupted", "StartupDeadlineExceeded"):
        assert f"`{word}`" in TEXT
        assert f'"{word}"' in source, word
