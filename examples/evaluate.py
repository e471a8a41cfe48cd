"""Measure a trained model without FedCore's machinery: ``python examples/evaluate.py RUN_DIR | model.safetensors``.

What a run leaves is a plain safetensors file: whoever knows the network can use it. Here the network of ``fedcore.tasks.mnist:task`` is
written out once more, so that this script needs only torch, safetensors, and the test images that lie in the package.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class DigitsNet(nn.Module):
    """Two convolutions and two linear layers; images of bytes in, scores of ten digits out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.linear1 = nn.Linear(320, 50)
        self.linear2 = nn.Linear(50, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float().unsqueeze(1) / 255 - 0.1307) / 0.3081
        x = functional.relu(functional.max_pool2d(self.conv1(x), 2))
        x = functional.relu(functional.max_pool2d(self.conv2(x), 2))
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python evaluate.py RUN_DIR | model.safetensors", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    if path.is_dir():
        path /= "model.safetensors"
    if not path.is_file():
        print(f"error: there is no file {path}", file=sys.stderr)
        return 2
    model = DigitsNet()
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        print(f"error: {path} is no model of the task fedcore.tasks.mnist:task: {error}", file=sys.stderr)
        return 1
    model.eval()
    with np.load(str(files("fedcore.tasks.mnist") / "data" / "mnist-subset.npz")) as test, torch.no_grad():
        scores = model(torch.from_numpy(test["test_images"]))
        labels = torch.from_numpy(test["test_labels"]).long()
    right = int((scores.argmax(1) == labels).sum())
    print(f"accuracy {right / len(labels):.4f} ({right} of {len(labels)} images), loss {functional.cross_entropy(scores, labels):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
