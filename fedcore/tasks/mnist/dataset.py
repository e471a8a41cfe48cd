"""The handwritten digits: the subset in the package, or the whole set from a folder or a download.

Kept as unsigned bytes, 28 x 28: a quarter of the memory of floats, and scaling belongs to the model, so that whoever loads a trained one
cannot scale differently.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

import numpy as np

from fedcore.tasks.mnist.idx import IdxError, read_idx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["SHIPPED", "Digits", "DigitsError", "DownloadError", "Mnist", "count_training_images", "load_mnist"]

SHIPPED = Path(__file__).parent / "data" / "mnist-subset.npz"
"""12,000 training and 2,000 test images, see the README beside it."""

_TRAINING_IMAGES = {"shipped": 12_000, "full": 60_000}
_FILES = {"train": "train-{}-ubyte", "test": "t10k-{}-ubyte"}


class DigitsError(Exception):
    """The whole set is not where it was looked for, or is broken, and will be so the next time."""


class DownloadError(Exception):
    """The download of the whole set failed; the next one may not."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Images and what they show."""

    images: NDArray[np.uint8]
    """Shape (n, 28, 28)."""
    labels: NDArray[np.uint8]
    """Shape (n,), 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: NDArray[np.int64]) -> Digits:
        """Return those at ``places``, copied."""
        return Digits(self.images[places], self.labels[places])


@dataclass(frozen=True, slots=True)
class Mnist:
    """A training set and a test set."""

    train: Digits
    test: Digits


def load_mnist(dataset: str = "shipped", data_dir: Path | None = None) -> Mnist:
    """Return a data set.

    Parameters
    ----------
    dataset : str
        ``shipped``: the subset in the package. ``full``: 60,000 and 10,000 images.
    data_dir : Path or None
        Folder of the whole set (``FEDCORE_DATA``): the four idx files, compressed or not, in it or in ``MNIST/raw`` below. None:
        torchvision downloads them once, into its own layout below the folder for temporary files; whoever comes meanwhile waits.

    Raises
    ------
    DigitsError
        The folder lacks files, or one is broken; or there is neither a folder nor torchvision.
    DownloadError
        The download failed.
    """
    if dataset == "shipped":
        with np.load(SHIPPED, allow_pickle=False) as arrays:
            return Mnist(
                Digits(arrays["train_images"], arrays["train_labels"]),
                Digits(arrays["test_images"], arrays["test_labels"]),
            )
    return _read_folder(_download() if data_dir is None else data_dir)


def count_training_images(dataset: str = "shipped", data_dir: Path | None = None) -> int:
    """Return how many images `load_mnist` would train on, without reading one: a folder's labels tell.

    Raises
    ------
    DigitsError
        The folder lacks files, or the labels are broken.
    """
    if dataset == "shipped" or data_dir is None:
        return _TRAINING_IMAGES[dataset]
    try:
        return len(read_idx(find_files(data_dir)["train labels-idx1"], 1))
    except IdxError as error:
        raise DigitsError(str(error)) from error


def find_files(folder: Path) -> dict[str, Path]:
    """Return where the whole set's four files lie, by part and kind.

    Raises
    ------
    DigitsError
        The folder lacks some.
    """
    places: dict[str, Path] = {}
    missing = []
    for part, pattern in _FILES.items():
        for what in ("images-idx3", "labels-idx1"):
            name = pattern.format(what)
            candidates = [below / file for below in (folder, folder / "MNIST" / "raw") for file in (name, f"{name}.gz")]
            found = next((path for path in candidates if path.is_file()), None)
            if found is None:
                missing.append(name)
            else:
                places[f"{part} {what}"] = found
    if missing:
        raise DigitsError(
            f"the whole MNIST set is not in {folder}: missing {', '.join(missing)} (each may end in .gz and may lie in MNIST/raw below); "
            'set FEDCORE_DATA to its folder, or the parameter dataset to "shipped"'
        )
    return places


def _read_folder(folder: Path) -> Mnist:
    places = find_files(folder)
    digits = {}
    for part in _FILES:
        try:
            images, labels = read_idx(places[f"{part} images-idx3"], 3), read_idx(places[f"{part} labels-idx1"], 1)
        except IdxError as error:
            raise DigitsError(str(error)) from error
        if len(images) != len(labels) or images.shape[1:] != (28, 28) or labels.max(initial=0) > 9:
            raise DigitsError(
                f"{places[f'{part} images-idx3']}: images of shape {images.shape} do not go with {len(labels)} labels of 0 to 9"
            )
        digits[part] = Digits(images, labels)
    return Mnist(digits["train"], digits["test"])


def _download() -> Path:
    """Return the folder of the whole set, fetched once for all workers of this machine."""
    folder = Path(gettempdir()) / "fedcore-mnist"
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise DigitsError(
            'dataset "full" needs FEDCORE_DATA, the folder of the MNIST files, or torchvision to fetch them: pip install "fedcore[torch]"'
        ) from error
    try:
        with _alone(folder.with_suffix(".lock")):
            if not _complete(folder):
                with TemporaryDirectory(prefix="fedcore-mnist-", dir=folder.parent) as own:
                    MNIST(own, train=True, download=True)
                    rmtree(folder, ignore_errors=True)  # of a download that was broken off before there was a folder of its own for each
                    Path(own).replace(folder)
                    Path(own).mkdir()  # what the context takes away
    except (OSError, RuntimeError) as error:
        raise DownloadError(f"the download of MNIST failed: {error}; set FEDCORE_DATA to a folder that has its files") from error
    return folder


def _complete(folder: Path) -> bool:
    try:
        find_files(folder)
    except DigitsError:
        return False
    return True


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is in here; a process that ends, however it does, lets the next one in."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
