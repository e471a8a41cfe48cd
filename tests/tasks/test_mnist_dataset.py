import gzip
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fedcore.tasks.mnist import dataset
from fedcore.tasks.mnist.dataset import SHIPPED, DigitsError, DownloadError, count_training_images, load_mnist
from fedcore.tasks.mnist.make_subset import main, stratified

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.fixture
def arrays():
    state = np.random.RandomState(0)
    images = state.randint(0, 256, (70, 28, 28)).astype(np.uint8)
    labels = (np.arange(70) % 10).astype(np.uint8)
    return dict(zip(NAMES, (images[:50], labels[:50], images[50:], labels[50:]), strict=True))


@pytest.fixture
def folder(tmp_path, arrays):
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def test_the_shipped_subset_is_whole_and_small():
    mnist = load_mnist()
    assert mnist.train.images.shape == (12_000, 28, 28)
    assert mnist.test.images.shape == (2_000, 28, 28)
    assert mnist.train.images.dtype == mnist.train.labels.dtype == np.uint8
    assert SHIPPED.stat().st_size < 4_000_000
    for digits in (mnist.train, mnist.test):  # each digit in its own proportion, in random order
        shares = np.bincount(digits.labels, minlength=10) / len(digits)
        assert 0.085 < shares.min() <= shares.max() < 0.12
        assert len(set(digits.labels[:50].tolist())) == 10
        assert 25 < digits.images.mean() < 40


def test_training_images_are_counted_without_reading_them(folder):
    assert count_training_images() == len(load_mnist().train)
    assert count_training_images("full") == 60_000
    assert count_training_images("full", folder) == len(load_mnist("full", folder).train) == 50
    (folder / NAMES[1]).write_bytes(b"<html>")
    with pytest.raises(DigitsError, match="not an idx file"):
        count_training_images("full", folder)


def test_the_licence_lies_beside_the_data():
    text = (SHIPPED.parent / "README.md").read_text()
    assert all(word in text for word in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0", "make_subset"))


def test_no_image_of_the_test_set_is_in_the_training_set():
    mnist = load_mnist()
    assert not {image.tobytes() for image in mnist.train.images} & {image.tobytes() for image in mnist.test.images}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("below", ["", "MNIST/raw"], ids=["in the folder", "in torchvision's layout"])
def test_the_whole_set_comes_from_a_folder(tmp_path, arrays, packed, below):
    place = tmp_path / below
    place.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (place / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(idx(array), 1) if packed else idx(array))
    mnist = load_mnist("full", tmp_path)
    read = (mnist.train.images, mnist.train.labels, mnist.test.images, mnist.test.labels)
    for name, array in zip(NAMES, read, strict=True):
        assert (array == arrays[name]).all()


def test_missing_files_are_named(folder):
    for name in NAMES[1:3]:
        (folder / name).unlink()
    with pytest.raises(DigitsError) as caught:
        load_mnist("full", folder)
    message = str(caught.value)
    assert f"missing {NAMES[1]}, {NAMES[2]} " in message
    assert str(folder) in message
    assert "FEDCORE_DATA" in message


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        pytest.param(NAMES[0], lambda raw: raw[:-1], "bytes of data where its header says", id="truncated"),
        pytest.param(NAMES[0], lambda raw: raw[:3], "not an idx file", id="no header"),
        pytest.param(NAMES[1], lambda _raw: b"<html>not found</html>", "not an idx file", id="a web page"),
        pytest.param(NAMES[2], lambda _raw: idx(np.zeros((20, 4, 4), np.uint8)), "do not go with", id="other images"),
        pytest.param(NAMES[3], lambda _raw: idx(np.zeros(19, np.uint8)), "do not go with", id="other number of labels"),
        pytest.param(NAMES[3], lambda _raw: idx(np.full(20, 11, np.uint8)), "do not go with", id="no digit"),
    ],
)
def test_a_broken_file_is_named(folder, name, spoil, words):
    path = folder / name
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DigitsError, match=words) as caught:
        load_mnist("full", folder)
    assert str(folder) in str(caught.value)


def test_a_broken_gzip_is_named(folder):
    packed = gzip.compress((folder / NAMES[0]).read_bytes(), 1)
    (folder / NAMES[0]).unlink()
    (folder / f"{NAMES[0]}.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DigitsError, match="not a complete gzip file"):
        load_mnist("full", folder)


def test_without_folder_and_torchvision_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DigitsError, match=r"FEDCORE_DATA.*fedcore\[torch\]"):
        load_mnist("full")


def test_a_failed_download_is_told_apart(monkeypatch, tmp_path):
    def refuse(*_args, **_options):
        raise RuntimeError("Error downloading")

    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(MNIST=refuse))
    monkeypatch.setattr(dataset, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(DownloadError, match=r"failed: Error downloading; set FEDCORE_DATA"):
        load_mnist("full")
    assert [path.name for path in tmp_path.iterdir()] == ["fedcore-mnist.lock"]


SLOW_DOWNLOADER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace

source, log = Path(sys.argv[1]), Path(sys.argv[2])

def fetch(root, train, download):
    with log.open("a") as calls:
        calls.write(root + "\\n")
    raw = Path(root) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        content = path.read_bytes()
        with (raw / path.name).open("wb", buffering=0) as file:
            for start in range(0, len(content), 8192):
                file.write(content[start:start + 8192])
                time.sleep(0.02)

sys.modules["torchvision"] = SimpleNamespace()
sys.modules["torchvision.datasets"] = SimpleNamespace(MNIST=fetch)
from fedcore.tasks.mnist.dataset import load_mnist
print("ready", flush=True)
sys.stdin.readline()
print(len(load_mnist("full").train), flush=True)
"""


@pytest.mark.parametrize("torn", [False, True], ids=["nothing there", "a torn download there"])
def test_workers_that_come_at_once_share_one_download(tmp_path, folder, torn):
    source, shared, log = tmp_path / "source", tmp_path / "tmp", tmp_path / "log"
    source.mkdir()
    shared.mkdir()
    for name in NAMES:
        (folder / name).rename(source / name)
    if torn:
        (shared / "fedcore-mnist" / "MNIST" / "raw").mkdir(parents=True)
        (shared / "fedcore-mnist" / "MNIST" / "raw" / NAMES[0]).write_bytes(b"half")
    command = [sys.executable, "-c", SLOW_DOWNLOADER, str(source), str(log)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, env={**os.environ, "TMPDIR": str(shared)}, **pipes) for _ in range(4)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=60)[0] for worker in workers]
    assert said == ["50\n"] * 4
    assert len(log.read_text().splitlines()) == 1
    assert sorted(path.name for path in shared.iterdir()) == ["fedcore-mnist", "fedcore-mnist.lock"]


def test_stratified_keeps_proportions_to_within_one():
    labels = np.repeat(np.arange(3, dtype=np.uint8), (50, 30, 23))
    places = stratified(labels, 20, np.random.RandomState(0))
    assert len(set(places.tolist())) == 20
    assert np.abs(np.bincount(labels[places]) - np.array([50, 30, 23]) * 20 / 103).max() < 1


def test_make_subset_wants_a_folder(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_importing_the_digits_brings_in_no_torch():
    code = "import sys, fedcore.tasks.mnist; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
