"""The demonstration: handwritten digits, shared out among workers. Each can also measure the averaged model on held-out digits.

Entrypoints are ``fedcore.tasks.mnist:task``, a small convolutional network in PyTorch, and ``fedcore.tasks.mnist:numpy_task``, a perceptron
that needs numpy alone. `fedcore.tasks.mnist.settings.prepare` has their parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.tasks.mnist.mlp import numpy_task

if TYPE_CHECKING:
    from fedcore.tasks.mnist.cnn import task

__all__ = ["numpy_task", "task"]


def __getattr__(name: str) -> Any:
    """Import torch only when the task that needs it is asked for: it takes seconds, and may not be there."""
    if name == "task":
        from fedcore.tasks.mnist.cnn import task

        return task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
