"""How ``data/mnist-subset.npz`` was made: ``python -m fedcore.tasks.mnist.make_subset FOLDER [OUTPUT]``.

FOLDER has the four original files. Each class has the same share in the subset as in the whole set, to within one image, and the images are
in random order; a fixed seed makes the same file again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedcore.tasks.mnist.dataset import SHIPPED, Digits, load_mnist

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["stratified"]

TRAIN, TEST, SEED = 12_000, 2_000, 20_240_101


def stratified(labels: NDArray[np.uint8], size: int, state: np.random.RandomState) -> NDArray[np.int64]:
    """Return ``size`` places in random order, each class in its own proportion (largest remainders)."""
    counts = np.bincount(labels)
    exact = counts * size / len(labels)
    quotas = np.floor(exact).astype(np.int64)
    for label in np.argsort(quotas - exact, kind="stable")[: size - int(quotas.sum())]:
        quotas[label] += 1
    chosen = [state.permutation(np.flatnonzero(labels == label))[:quota] for label, quota in enumerate(quotas)]
    return state.permutation(np.concatenate(chosen)).astype(np.int64)


def _subset(digits: Digits, size: int, state: np.random.RandomState) -> Digits:
    return digits.take(stratified(digits.labels, size, state))


def main(arguments: list[str]) -> int:
    """Write the subset."""
    if len(arguments) not in {1, 2}:
        print("usage: python -m fedcore.tasks.mnist.make_subset FOLDER [OUTPUT]", file=sys.stderr)
        return 2
    whole = load_mnist("full", Path(arguments[0]))
    state = np.random.RandomState(SEED)
    train, test = _subset(whole.train, TRAIN, state), _subset(whole.test, TEST, state)
    output = Path(arguments[1]) if len(arguments) == 2 else SHIPPED
    np.savez_compressed(output, train_images=train.images, train_labels=train.labels, test_images=test.images, test_labels=test.labels)
    print(f"{output}: {output.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
