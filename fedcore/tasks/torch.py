"""A task from a PyTorch module: hand over what makes the model, the optimizer and the data, and `TorchTask` does the rest.

PyTorch 1.13 and later. On a CPU the result of an order is a function of the weights, the seed and the data, to the last byte, as long as
the number of threads stays the same; it is ``FEDCORE_TORCH_THREADS``, 1 by default: several workers on a machine would otherwise fight for
its cores.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fedcore.tasks.batches import Batches
from fedcore.tasks.task import Evaluated, Trained, Weights, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["Data", "TorchTask", "classification", "from_state", "to_state"]

Data: TypeAlias = "Dataset[Any] | Sequence[Tensor]"
"""A map-style data set whose items are tuples, the target last; or such tensors, the samples along their first axis."""

_EVALUATION_BATCH = 512


class TorchTask:
    """Train and measure a module with the weights of the job.

    The optimizer is made anew for each order, so nothing but the weights goes from round to round.

    Parameters
    ----------
    module : callable () -> nn.Module
        Makes the model; called once, and once more for the first weights.
    optimizer : callable (parameters) -> Optimizer
        Makes the optimizer over the trainable parameters: ``lambda p: torch.optim.SGD(p, lr=0.1)``.
    loss : callable (output, target) -> scalar Tensor
        Mean loss of a batch.
    train_data : Data, or callable () -> Data
        This worker's training data; a callable is asked when the size is first needed.
    eval_data : Data, callable () -> Data, or None
        Its held-out data, if it has any.
    batch_size : int
        Samples in a batch.
    proximal_mu : float
        Above 0, each step adds the gradient of mu/2 * |w - base|^2, which holds a worker near the model it was given: FedProx.
    metrics : callable (output, target) -> mapping, or None
        Means over a batch, by name. None: `classification` where targets are whole numbers; where not, only the loss, under that name.
    device : str or None
        None: CUDA if it is there, else the CPU.
    loader_workers : int
        Processes that read a data set whose items are slow to make; 0: this one.

    References
    ----------
    Li, Sahu, Zaheer, Sanjabi, Talwalkar and Smith, Federated Optimization in Heterogeneous Networks, MLSys 2020, arXiv:1812.06127,
    section 3.
    """

    def __init__(
        self,
        *,
        module: Callable[[], nn.Module],
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        loss: Callable[[Tensor, Tensor], Tensor],
        train_data: Data | Callable[[], Data],
        eval_data: Data | Callable[[], Data] | None = None,
        batch_size: int = 32,
        proximal_mu: float = 0.0,
        metrics: Callable[[Tensor, Tensor], Mapping[str, float | Tensor]] | None = None,
        device: str | None = None,
        loader_workers: int = 0,
    ) -> None:
        torch.set_num_threads(_threads(os.environ.get("FEDCORE_TORCH_THREADS", "1")))
        self._make_module = module
        self._make_optimizer = optimizer
        self._loss = loss
        self._train_data = _LazyData(train_data)
        self._eval_data = None if eval_data is None else _LazyData(eval_data)
        self._batch_size = batch_size
        self._mu = proximal_mu
        self._metrics = metrics
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._loader_workers = loader_workers
        self._module: nn.Module | None = None

    def samples(self) -> int:
        """Return the size of this worker's training data."""
        return len(self._train_data)

    def initial_weights(self, seed: int) -> Weights:
        """Return the state of a new module, made right after seeding PyTorch with ``seed``."""
        torch.manual_seed(seed)
        return from_state(self._make_module())

    def train(self, weights: Weights, work: Work) -> Trained:
        """Train from ``weights`` for the epochs of ``work``; the loss is without the proximal term."""
        module = self._loaded(weights).train()
        # After the module was made, which draws numbers too, and only the first time.
        torch.manual_seed(work.seed)
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        base = [parameter.detach().clone() for parameter in trainable] if self._mu else []
        optimizer = self._make_optimizer(trainable)
        batches = Batches(self.samples(), self._batch_size, work.epochs, work.seed)
        loss_sum, seen = torch.zeros((), device=self._device), 0
        for done, (inputs, target) in enumerate(self._batches(self._train_data.get(), batches, work.seed), 1):
            optimizer.zero_grad(set_to_none=True)
            loss = self._loss(module(*inputs), target)
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in PyTorch 2
            if self._mu:
                _pull(trainable, base, self._mu)
            optimizer.step()
            # Kept on the device: reading a number would wait for a GPU after each batch.
            loss_sum += loss.detach().float() * len(target)
            seen += len(target)
            work.report(done / len(batches))
            if work.superseded():
                break
        mean = float(loss_sum) / seen
        return Trained(from_state(module), self.samples(), mean if math.isfinite(mean) else None)

    def eval_samples(self) -> int:
        """Return the size of this worker's held-out data, 0 without any."""
        return 0 if self._eval_data is None else len(self._eval_data)

    def evaluate(self, weights: Weights) -> Evaluated:
        """Return the means of the metrics over the held-out data."""
        if self._eval_data is None or not len(self._eval_data):
            return Evaluated(0)
        module = self._loaded(weights).eval()
        places = np.split(np.arange(len(self._eval_data)), range(_EVALUATION_BATCH, len(self._eval_data), _EVALUATION_BATCH))
        sums: dict[str, float] = {}
        with torch.no_grad():
            for inputs, target in self._batches(self._eval_data.get(), places, 0):
                for name, value in self._measure(module(*inputs), target).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(target)
        return Evaluated(len(self._eval_data), {name: value / len(self._eval_data) for name, value in sums.items()})

    def _measure(self, output: Tensor, target: Tensor) -> Mapping[str, float | Tensor]:
        if self._metrics is not None:
            return self._metrics(output, target)
        if target.is_floating_point() or target.is_complex():
            return {"loss": self._loss(output, target)}
        return classification(self._loss)(output, target)

    def _loaded(self, weights: Weights) -> nn.Module:
        if self._module is None:
            self._module = self._make_module().to(self._device)
        to_state(self._module, weights)
        return self._module

    def _batches(self, data: Dataset[Any], batches: Iterable[Any], seed: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        loaded: Iterable[Sequence[Tensor]]
        if isinstance(data, TensorDataset):
            # Whole batches at once: a DataLoader would pick and stack the samples one by one.
            loaded = ([tensor[places] for tensor in data.tensors] for places in map(torch.from_numpy, batches))
        else:
            # A generator of its own seeds the reading processes: without it, one draw is taken from the module's random numbers.
            generator = torch.Generator().manual_seed(seed)
            sampler = [places.tolist() for places in batches]
            loaded = DataLoader(data, batch_sampler=sampler, num_workers=self._loader_workers, generator=generator)
        for batch in loaded:
            *inputs, target = (tensor.to(self._device) for tensor in batch)
            yield inputs, target


class _LazyData:
    """Data that may still have to be made."""

    def __init__(self, source: Data | Callable[[], Data]) -> None:
        self._source = source
        self._data: Dataset[Any] | None = None

    def get(self) -> Dataset[Any]:
        if self._data is None:
            made = self._source() if callable(self._source) else self._source
            self._data = made if isinstance(made, Dataset) else TensorDataset(*(torch.as_tensor(part) for part in made))
        return self._data

    def __len__(self) -> int:
        return len(self.get())  # type: ignore[arg-type]  # map-style: sized, which Dataset does not declare


def classification(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Mapping[str, float | Tensor]]:
    """Return the metrics of a classifier: ``accuracy`` of the highest score along axis 1, and ``loss``."""

    def measure(output: Tensor, target: Tensor) -> Mapping[str, float | Tensor]:
        return {"accuracy": (output.argmax(1) == target).double().mean(), "loss": loss(output, target)}

    return measure


def from_state(module: nn.Module) -> Weights:
    """Return a module's parameters and buffers as arrays of their own, by name.

    dtypes are kept: BatchNorm's counter stays int64. numpy has no bfloat16; such a tensor becomes float32, which holds each of its values.

    Raises
    ------
    TypeError
        The module keeps extra state that is no tensor, so it has no place in a safetensors file.
    """
    weights: Weights = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise TypeError(f"the state {name!r} of {type(module).__name__} is {type(value).__name__}, not a tensor")
        tensor = value.detach().cpu()
        weights[name] = np.array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    return weights


def to_state(module: nn.Module, weights: Weights) -> None:
    """Copy arrays into a module's parameters and buffers; names and shapes must be the module's own.

    Raises
    ------
    RuntimeError
        PyTorch's own, which lists missing and unexpected names and wrong shapes.
    """
    # Copied where read-only, as arrays over a file's bytes are: PyTorch knows no such tensors and warns.
    arrays = {name: array if array.flags.writeable else array.copy() for name, array in weights.items()}
    module.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape)) for name, array in arrays.items()})


def _pull(trainable: list[nn.Parameter], base: list[Tensor], mu: float) -> None:
    """Add the gradient of mu/2 * |w - base|^2."""
    with torch.no_grad():
        for parameter, start in zip(trainable, base, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=mu)


def _threads(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ValueError(f"FEDCORE_TORCH_THREADS is {text!r}; allowed: a whole number from 1 on")
