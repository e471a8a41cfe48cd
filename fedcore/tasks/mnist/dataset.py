"""The handwritten digits: the subset in the package, or the whole set from a folder or a download.

Kept as unsigned bytes, 28 x 28: a quarter of the memory of floats, and scaling belongs to the model, so that whoever loads a trained one
cannot scale differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

import numpy as np

from fedcore.tasks.mnist.idx import IdxError, read_idx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SHIPPED", "Digits", "DigitsError", "DownloadError", "Mnist", "load_mnist"]

SHIPPED = Path(__file__).parent / "data" / "mnist-subset.npz"
"""12,000 training and 2,000 test images, see the README beside it."""

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
        torchvision downloads them once, into its own layout below the folder for temporary files.

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
    folder = Path(gettempdir()) / "fedcore-mnist"
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise DigitsError(
            'dataset "full" needs FEDCORE_DATA, the folder of the MNIST files, or torchvision to fetch them: pip install "fedcore[torch]"'
        ) from error
    try:
        MNIST(str(folder), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise DownloadError(f"the download of MNIST failed: {error}; set FEDCORE_DATA to a folder that has its files") from error
    return folder
