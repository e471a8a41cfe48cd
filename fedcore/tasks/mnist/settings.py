"""What the digits' tasks have in common: their parameters, and a worker's share of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore.tasks.mnist.dataset import Digits, DigitsError, load_mnist
from fedcore.tasks.parameters import InvalidParameter, Parameters
from fedcore.tasks.partition import evaluation_share, parse_partition

if TYPE_CHECKING:
    from fedcore.tasks.task import Context

__all__ = ["Settings", "prepare"]


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
    parameters = Parameters(context.parameters)
    rate = parameters.number("learningRate", learning_rate, above=0)
    batch = parameters.integer("batchSize", 32, at_least=1)
    momentum = parameters.number("momentum", momentum, at_least=0, below=1)
    mu = parameters.number("proximalMu", 0.0, at_least=0)
    partition = parse_partition(parameters.text("partition", "random"))
    dataset = parameters.choice("dataset", "shipped", ("shipped", "full"))
    images_text = parameters.text("images", "")
    parameters.finish()

    try:
        mnist = load_mnist(dataset, context.data_dir)
    except DigitsError as error:
        raise InvalidParameter("dataset", dataset, "shipped, or full where its files are", str(error)) from error
    total = len(mnist.train)
    images = int(images_text) if images_text.isdecimal() else total if not images_text else 0
    if not context.replicas <= images <= total:
        raise InvalidParameter("images", images_text, f"a whole number from {context.replicas} (one for each worker) to {total}")
    share = partition.share(mnist.train.labels, images=images, index=context.index, replicas=context.replicas, seed=context.seed)
    held_out = evaluation_share(len(mnist.test), index=context.index, replicas=context.replicas)
    return Settings(rate, batch, momentum, mu, mnist.train.take(share), mnist.test.take(held_out))
