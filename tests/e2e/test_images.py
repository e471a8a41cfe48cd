"""What is in each image, and what must not be, seen from inside a pod with a read-only root file system."""

import json

import pytest

from tests.e2e.pods import Pod, run

pytestmark = pytest.mark.e2e

LOOK = """
import importlib, json, os, pathlib, sys
names = ["fedcore", "numpy", "torch", "torchvision", "kopf", "kubernetes", "aiohttp", "pip", "hatchling", "pytest"]
built = ["/src", "/opt/build-tools", "/etc/pip.conf"]
def imports(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True
def writable(path):
    try:
        pathlib.Path(path, "probe").touch()
    except OSError:
        return False
    return True
print(json.dumps({
    "modules": [name for name in names if imports(name)],
    "left": [path for path in built if os.path.lexists(path)],
    "uid": os.getuid(),
    "home": os.environ["HOME"],
    "prefix": sys.prefix,
    "writable": [path for path in ("/", "/opt/fedcore", "/tmp", "/var/lib/fedcore") if writable(path)],
}))
"""


@pytest.fixture
def image(request):
    """The image whose fixture the parameter names: made and loaded outside of the test's time."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("image", "modules"),
    [
        pytest.param("coordinator_image", {"fedcore", "numpy"}, id="the coordinator has neither torch nor kopf"),
        pytest.param("numpy_worker_image", {"fedcore", "numpy"}, id="the small worker has no torch"),
        pytest.param("torch_worker_image", {"fedcore", "numpy", "torch", "torchvision"}, id="the worker has torch", marks=pytest.mark.long),
        pytest.param("operator_image", {"fedcore", "numpy", "kopf", "kubernetes", "aiohttp"}, id="the operator has kopf and no torch"),
    ],
    indirect=["image"],
)
def test_image_holds(image, modules, cluster, namespace):
    seen = run(cluster, namespace, Pod("look", image, ["python", "-c", LOOK]))
    assert seen.exit_code == 0, seen.log
    assert json.loads(seen.log.splitlines()[-1]) == {
        "modules": sorted(modules, key=seen.log.index),
        "left": [],
        "uid": 65532,
        "home": "/tmp",
        "prefix": "/opt/fedcore",
        "writable": ["/tmp", "/var/lib/fedcore"],
    }


@pytest.mark.parametrize("image", ["coordinator_image", "numpy_worker_image"], indirect=True)
def test_fedcore_starts(image, cluster, namespace):
    seen = run(cluster, namespace, Pod("version", image, ["fedcore", "--help"]))
    assert seen.exit_code == 0, seen.log


@pytest.mark.long
def test_torch_from_the_base_image_computes(torch_worker_image, cluster, namespace):
    script = "import torch, torchvision; from fedcore.tasks.mnist import task; print(float((torch.ones(3) @ torch.ones(3))))"
    seen = run(cluster, namespace, Pod("torch", torch_worker_image, ["python", "-c", script]))
    assert seen.exit_code == 0, seen.log
    assert seen.log.split()[-1] == "3.0"
