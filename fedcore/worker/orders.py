"""Carrying out one task with the user's code: what is handed to it, what is made of its answer, and whose fault a failure is."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore.log import log_event, log_failure
from fedcore.tasks.entrypoint import EntrypointError, load_entrypoint
from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.task import Context, Evaluated, Work
from fedcore.wire.protocol import MAX_SAMPLES, TaskKind, UpdateReport
from fedcore.worker.ending import Ended, Ending, EndWord
from fedcore.worker.pace import Pace
from fedcore.worker.session import Abilities
from fedcore.worker.weights import WeightsFile, WrongWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcore.tasks.task import Task, Weights
    from fedcore.wire.protocol import Task as Order
    from fedcore.wire.protocol import Welcome
    from fedcore.worker.options import Options
    from fedcore.worker.pulse import Busy

__all__ = ["Finished", "Orders", "import_entrypoint"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A report and, for train and init, the file that goes with it."""

    report: UpdateReport
    file: WeightsFile | None = None


class Orders:
    """The user's task, as the worker drives it.

    Parameters
    ----------
    factory : callable (Context) -> Task
        The entrypoint.
    welcome : Welcome
        What the coordinator says of the job.
    options : Options
        Where the data is, and how slow to be.
    """

    def __init__(self, factory: Callable[[Context], Task], welcome: Welcome, options: Options) -> None:
        self._slow = options.slow
        context = Context(
            index=welcome.index,
            replicas=welcome.replicas,
            seed=welcome.seed,
            parameters=welcome.parameters,
            data_dir=options.data_dir,
            log=lambda line: log_event("task", message=line),
        )
        with _users_code("make the task"):
            self._task = factory(context)
            self._samples = int(self._task.samples())
            eval_samples = int(self._task.eval_samples()) if hasattr(self._task, "eval_samples") else 0
        if not 1 <= self._samples <= MAX_SAMPLES:
            raise Ended(Ending(2, EndWord.INVALID, f"the task has {self._samples} samples; a worker needs 1 to {MAX_SAMPLES}"))
        kinds = {TaskKind.INIT, TaskKind.TRAIN}
        if eval_samples > 0 and hasattr(self._task, "evaluate"):
            kinds.add(TaskKind.EVALUATE)
        self.abilities = Abilities(self._samples, max(eval_samples, 0), frozenset(kinds))

    def initialise(self, order: Order) -> Finished:
        """Make the first weights."""
        with _users_code("make the first weights"):
            file = WeightsFile.encode(self._task.initial_weights(order.seed))
        return Finished(UpdateReport(base="", samples=self._samples), file)

    def evaluate(self, order: Order, file: WeightsFile) -> Finished:
        """Measure a version of the model."""
        began = time.monotonic()
        measured = self._measure(file.tensors())
        seconds = time.monotonic() - began
        return Finished(_report(order, measured, samples=self._samples, seconds=seconds))

    def train(self, order: Order, file: WeightsFile, busy: Busy) -> Finished:
        """Measure the base if asked to, train from it, and put the result into its file. When superseded, what comes back is useless."""
        weights = file.tensors()
        measured = self._measure(weights) if order.evaluate else None
        pace = Pace(self._slow, busy.superseded)

        def superseded() -> bool:
            pace.keep()
            return busy.superseded.is_set()

        def report(done: float) -> None:
            busy.done = min(max(float(done), 0.0), 1.0)
            pace.keep()

        began = time.monotonic()
        epochs = order.work.epochs if order.work is not None else 1.0
        with _users_code("train"):
            trained = self._task.train(weights, Work(epochs, order.seed, order.round, superseded, report))
        pace.keep()
        seconds = time.monotonic() - began
        if not busy.superseded.is_set():
            with _users_code("train"):
                file.overwrite(trained.weights)
        loss = trained.loss if trained.loss is not None and math.isfinite(trained.loss) else None
        report_ = _report(order, measured, samples=int(trained.samples), seconds=seconds, train_loss=loss)
        return Finished(report_, file)

    def _measure(self, weights: Weights) -> Evaluated:
        with _users_code("evaluate"):
            measured: Evaluated = self._task.evaluate(weights)  # type: ignore[attr-defined]  # declared only if it is there
        finite = {str(name): float(value) for name, value in measured.metrics.items() if math.isfinite(value)}
        for name in measured.metrics.keys() - finite.keys():
            log_event("metric_dropped", name=name, value=measured.metrics[name])
        return Evaluated(int(measured.samples), finite)


def import_entrypoint(options: Options) -> Callable[[Context], Task]:
    """Import what makes the task; before anything else, so that a typing error costs no time."""
    try:
        return load_entrypoint(options.entrypoint, options.job_dir)
    except EntrypointError as error:
        raise Ended(Ending(2, EndWord.INVALID, str(error))) from error


@contextmanager
def _users_code(doing: str) -> Iterator[None]:
    """Turn what the user's code raises into the worker's end."""
    try:
        yield
    except InvalidParameter as error:
        raise Ended(Ending(2, EndWord.INVALID, str(error))) from error
    except WrongWeights as error:
        raise Ended(Ending(1, EndWord.CRASHED, str(error))) from error
    except (Exception, SystemExit) as error:
        log_failure("task_failed", error, doing=doing)
        raise Ended(Ending(1, EndWord.CRASHED, f"could not {doing}: {type(error).__name__}: {error}")) from error


def _report(order: Order, measured: Evaluated | None, *, samples: int, seconds: float, train_loss: float | None = None) -> UpdateReport:
    return UpdateReport(
        base=order.base.id if order.base is not None else "",
        samples=samples,
        metrics={} if measured is None else measured.metrics,
        eval_samples=0 if measured is None else measured.samples,
        train_loss=train_loss,
        seconds=seconds,
    )
