"""What the digits' tasks have in common: their parameters, and a worker's share of the data."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore.tasks.mnist.dataset import Digits, DigitsError, count_training_images, load_mnist
from fedcore.tasks.parameters import InvalidParameter, Parameters
from fedcore.tasks.partition import evaluation_share, parse_partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcore.tasks.partition import Partition
    from fedcore.tasks.task import Context

__all__ = ["Settings", "check", "prepare"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker trains, and on what."""

    learning_rate: float
    batch_size: int
    momentum: float
    proximal_mu: float
    train: Digits
    """This worker's share; see `fedcore.tasks.partition`."""
    held_out: Digits
    """This worker's share of the test set: disjoint among the workers, together the whole set."""


def prepare(context: Context, *, learning_rate: float, momentum: float) -> Settings:
    """Read the parameters, and take the worker's share of the data.

    ========== ============================================ =========================================================
    parameter  values                                       default
    ========== ============================================ =========================================================
    learningRate, batchSize, momentum                       the model's own, 32, the model's own
    proximalMu 0 or more                                    0: plain FedAvg; above: FedProx
    partition  random | iid | dirichlet(ALPHA)              random
    images     training images in the whole job             all of the data set
    dataset    shipped | full                               shipped
    ========== ============================================ =========================================================

    Raises
    ------
    InvalidParameter
        A parameter is unknown or out of bounds, or the whole set was asked for and is not there.
    DownloadError
        The whole set could not be fetched.
    """
    asked = _read(context, learning_rate, momentum)
    with _no_digits(asked.dataset):
        mnist = load_mnist(asked.dataset, context.data_dir)
    images = _images(asked, context.replicas, len(mnist.train))
    share = asked.partition.share(mnist.train.labels, images=images, index=context.index, replicas=context.replicas, seed=context.seed)
    held_out = evaluation_share(len(mnist.test), index=context.index, replicas=context.replicas)
    return Settings(asked.rate, asked.batch, asked.momentum, asked.mu, mnist.train.take(share), mnist.test.take(held_out))


def check(context: Context) -> None:
    """Find what is wrong with the parameters, or with the folder that was named for the whole set, without reading any image.

    Raises
    ------
    InvalidParameter
        As `prepare` would.
    """
    asked = _read(context, 0.1, 0.0)
    with _no_digits(asked.dataset):
        total = count_training_images(asked.dataset, context.data_dir)
    _images(asked, context.replicas, total)


@dataclass(frozen=True, slots=True)
class _Asked:
    rate: float
    batch: int
    momentum: float
    mu: float
    partition: Partition
    dataset: str
    images: str
    """Checked when the size of the data set is known."""


def _read(context: Context, learning_rate: float, momentum: float) -> _Asked:
    parameters = Parameters(context.parameters)
    asked = _Asked(
        rate=parameters.number("learningRate", learning_rate, above=0),
        batch=parameters.integer("batchSize", 32, at_least=1),
        momentum=parameters.number("momentum", momentum, at_least=0, below=1),
        mu=parameters.number("proximalMu", 0.0, at_least=0),
        partition=parse_partition(parameters.text("partition", "random")),
        dataset=parameters.choice("dataset", "shipped", ("shipped", "full")),
        images=parameters.text("images", ""),
    )
    parameters.finish()
    return asked


def _images(asked: _Asked, replicas: int, total: int) -> int:
    """Return how many training images the job uses, of ``total`` that there are."""
    images = int(asked.images) if asked.images.isdecimal() else total if not asked.images else 0
    if not replicas <= images <= total:
        raise InvalidParameter("images", asked.images, f"a whole number from {replicas} (one for each worker) to {total}")
    return images


@contextmanager
def _no_digits(dataset: str) -> Iterator[None]:
    try:
        yield
    except DigitsError as error:
        raise InvalidParameter("dataset", dataset, "shipped, or full where its files are", str(error)) from error
