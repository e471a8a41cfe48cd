"""What `make images` takes and refuses, before anything is built. That it builds and pushes: tests/e2e/test_registry.py."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedcore import __version__
from images import build

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'0' * 64}"


def images(*arguments):
    return subprocess.run([sys.executable, ROOT / "images/build.py", *arguments], capture_output=True, text=True, timeout=60)


def test_the_default_tag_is_the_version_of_the_package():
    assert build.version() == __version__
    assert build.IMAGES["worker-numpy"].reference("r", build.version()) == f"r/fedcore-worker:{__version__}-numpy"


def test_help_names_every_image_and_option():
    said = images("--help").stdout
    for word in (*build.IMAGES, "--registry", "--tag", "--base-image", "--torch-from", "--push", "--plain-http", "--values"):
        assert word in said, word


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--push"], "--push needs --registry", id="nowhere to push to"),
        pytest.param(["--registry=r.example.com", "--values=f"], "--values needs --push", id="no digest without a push"),
        pytest.param(
            ["--registry=r.example.com", "--push", "--plain-http"], "registries on this machine", id="another machine without TLS"
        ),
        pytest.param(["--registry=localhost.example.com:1/a", "--push", "--plain-http"], "registries on this machine", id="a likely name"),
        pytest.param(["wroker"], "no such image: wroker; there are operator, coordinator, worker", id="a typo"),
        pytest.param(["--torch-from=conda"], "invalid choice", id="another torch"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, words):
    done = images(*arguments)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr


def test_without_buildah_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build.py"])
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.main() == 1
    assert "apt-get install buildah" in capsys.readouterr().err


def test_a_build_that_fails_is_named(monkeypatch, capsys):
    def fails(command, **_):
        raise subprocess.CalledProcessError(125, command)

    monkeypatch.setattr(sys, "argv", ["build.py", "operator"])
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    monkeypatch.setattr(build, "build", lambda *_: fails(["buildah", "build"]))
    assert build.main() == 1
    assert f"localhost/fedcore-operator:{__version__}: `buildah build` ended with 125" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pushed", "worker"),
    [
        pytest.param(["operator", "coordinator", "worker", "worker-numpy"], "worker", id="with torch, if there is one"),
        pytest.param(["operator", "coordinator", "worker-numpy"], "worker-numpy", id="else the small one"),
    ],
)
def test_the_charts_values_name_the_digests(pushed, worker):
    digests = {name: f"sha256:{place:064d}" for place, name in enumerate(pushed)}
    values = build.chart_values(digests, "r.example.com/team")
    assert values["image"] == {"repository": "r.example.com/team/fedcore-operator", "digest": digests["operator"]}
    assert values["jobs"] == {
        "coordinatorImage": {"repository": "r.example.com/team/fedcore-coordinator", "digest": digests["coordinator"]},
        "workerImage": {"repository": "r.example.com/team/fedcore-worker", "digest": digests[worker]},
    }
    assert build.chart_values({"worker-numpy": DIGEST}, "r").keys() == {"jobs"}, "what was not pushed is left to the chart"


@pytest.mark.parametrize("folder", sorted({image.folder for image in build.IMAGES.values()}))
def test_each_dockerfile_has_a_public_base_two_stages_and_no_root(folder):
    text = (ROOT / "images" / folder / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_IMAGE=docker\.io/library/python:3\.\d+-slim$", text, re.MULTILINE)
    assert len(re.findall(r"^FROM \$\{BASE_IMAGE\}", text, re.MULTILINE)) == 2
    assert "\nUSER 65532:65532\n" in text.rpartition("\nFROM ")[2]
