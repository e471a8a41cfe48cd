"""The digits with numpy alone: 784 inputs, 64 rectified units, 10 outputs, trained by stochastic gradient descent written out.

For machines without PyTorch, and for tests of everything around a task: a worker is up in a fraction of a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.tasks.batches import Batches
from fedcore.tasks.mnist.settings import Settings, check, prepare
from fedcore.tasks.precheck import checked_by
from fedcore.tasks.task import Context, Evaluated, Trained, Weights, Work

__all__ = ["DigitsPerceptron", "numpy_task"]

Floats = NDArray[np.float32]

_INPUTS, _HIDDEN, _CLASSES = 784, 64, 10
_EVALUATION_BATCH = 1000


@checked_by(check)
def numpy_task(context: Context) -> DigitsPerceptron:
    """Make the task for one worker: the entrypoint. Parameters as `prepare` has them, learningRate 0.1 and momentum 0.9 by default."""
    return DigitsPerceptron(prepare(context, learning_rate=0.1, momentum=0.9))


class DigitsPerceptron:
    """A task with one hidden layer: float32 ``hidden.weight`` (784, 64), ``hidden.bias``, ``output.weight`` (64, 10), ``output.bias``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._images = _scaled(settings.train.images)
        self._labels = settings.train.labels

    def samples(self) -> int:
        """Return the size of this worker's share."""
        return len(self._labels)

    def initial_weights(self, seed: int) -> Weights:
        """Return normal weights with the variance for rectified units (He et al. 2015, arXiv:1502.01852, section 2.2), biases 0."""
        state = np.random.RandomState(seed)
        return {
            "hidden.weight": (state.standard_normal((_INPUTS, _HIDDEN)) * np.sqrt(2 / _INPUTS)).astype(np.float32),
            "hidden.bias": np.zeros(_HIDDEN, np.float32),
            "output.weight": (state.standard_normal((_HIDDEN, _CLASSES)) * np.sqrt(2 / _HIDDEN)).astype(np.float32),
            "output.bias": np.zeros(_CLASSES, np.float32),
        }

    def train(self, weights: Weights, work: Work) -> Trained:
        """Descend from ``weights``, with momentum and the proximal pull of FedProx where the parameters say so."""
        rate = np.float32(self._settings.learning_rate)
        momentum, mu = np.float32(self._settings.momentum), np.float32(self._settings.proximal_mu)
        new = {name: np.array(value, np.float32) for name, value in weights.items()}
        velocity = {name: np.zeros_like(value) for name, value in new.items()}
        batches = Batches(self.samples(), self._settings.batch_size, work.epochs, work.seed)
        loss_sum, seen = 0.0, 0
        for done, places in enumerate(batches, 1):
            loss, gradients = _gradients(new, self._images[places], self._labels[places])
            for name, gradient in gradients.items():
                # The gradient of mu/2 * |w - base|^2, Li et al. 2020, arXiv:1812.06127, section 3.
                full = gradient + mu * (new[name] - weights[name]) if mu else gradient
                velocity[name] = momentum * velocity[name] + full
                new[name] -= rate * velocity[name]
            loss_sum += loss * len(places)
            seen += len(places)
            work.report(done / len(batches))
            if work.superseded():
                break
        return Trained(dict(new), self.samples(), _finite(loss_sum / seen))

    def eval_samples(self) -> int:
        """Return the number of held-out digits."""
        return len(self._settings.held_out)

    def evaluate(self, weights: Weights) -> Evaluated:
        """Return accuracy and cross-entropy on this worker's held-out digits."""
        digits = self._settings.held_out
        right, loss_sum = 0, 0.0
        for start in range(0, len(digits), _EVALUATION_BATCH):
            labels = digits.labels[start : start + _EVALUATION_BATCH]
            _hidden, scores = _forward(weights, _scaled(digits.images[start : start + _EVALUATION_BATCH]))
            right += int((scores.argmax(1) == labels).sum())
            loss_sum += float(_cross_entropy(scores, labels).sum(dtype=np.float64))
        if not len(digits):
            return Evaluated(0)
        return Evaluated(len(digits), {"accuracy": right / len(digits), "loss": loss_sum / len(digits)})


def _scaled(images: NDArray[np.uint8]) -> Floats:
    return images.reshape(len(images), _INPUTS).astype(np.float32) / np.float32(255)


def _forward(weights: Weights, images: Floats) -> tuple[Floats, Floats]:
    hidden: Floats = np.maximum(images @ weights["hidden.weight"] + weights["hidden.bias"], 0)
    return hidden, hidden @ weights["output.weight"] + weights["output.bias"]


def _cross_entropy(scores: Floats, labels: NDArray[np.uint8]) -> Floats:
    shifted = scores - scores.max(1, keepdims=True)
    losses: Floats = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    return losses


def _gradients(weights: Weights, images: Floats, labels: NDArray[np.uint8]) -> tuple[float, dict[str, NDArray[Any]]]:
    """Return the mean cross-entropy of a batch, and its gradient by tensor."""
    hidden, scores = _forward(weights, images)
    error = np.exp(scores - scores.max(1, keepdims=True))
    error /= error.sum(1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error /= np.float32(len(labels))
    back = (error @ weights["output.weight"].T) * (hidden > 0)
    gradients = {
        "hidden.weight": images.T @ back,
        "hidden.bias": back.sum(0),
        "output.weight": hidden.T @ error,
        "output.bias": error.sum(0),
    }
    return float(_cross_entropy(scores, labels).mean()), gradients


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
