"""The digits with PyTorch: two convolutions and two linear layers, the network of the well-known PyTorch example, 21,840 numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedcore.tasks.mnist.settings import check, prepare
from fedcore.tasks.precheck import checked_by
from fedcore.tasks.torch import TorchTask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcore.tasks.mnist.dataset import Digits
    from fedcore.tasks.task import Context

__all__ = ["DigitsNet", "task"]


@checked_by(check)
def task(context: Context) -> TorchTask:
    """Make the task for one worker: the entrypoint. Parameters as `prepare` has them, learningRate 0.05 and momentum 0.5 by default."""
    settings = prepare(context, learning_rate=0.05, momentum=0.5)

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum)

    return TorchTask(
        module=DigitsNet,
        optimizer=optimizer,
        loss=functional.cross_entropy,
        train_data=_tensors(settings.train),
        eval_data=_tensors(settings.held_out),
        batch_size=settings.batch_size,
        proximal_mu=settings.proximal_mu,
    )


class DigitsNet(nn.Module):
    """Scores of the ten digits for images of bytes, shape (n, 28, 28); scaling is part of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.linear1 = nn.Linear(320, 50)
        self.linear2 = nn.Linear(50, 10)
        self.dropout = nn.Dropout(0.25)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores of shape (n, 10)."""
        # Mean and standard deviation of the training set's pixels.
        x = (images.float().unsqueeze(1) / 255 - 0.1307) / 0.3081
        x = functional.relu(functional.max_pool2d(self.conv1(x), 2))
        x = functional.relu(functional.max_pool2d(self.conv2(x), 2))
        x = functional.relu(self.linear1(x.flatten(1)))
        scores: Tensor = self.linear2(self.dropout(x))
        return scores


def _tensors(digits: Digits) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(digits.images), torch.from_numpy(digits.labels).long()
