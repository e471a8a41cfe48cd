"""A worker's process: set up before numpy is imported, supervised from the first moment, ended with a code and a reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fedcore.log import log_event
from fedcore.worker.ending import Ending, EndWord, write_termination
from fedcore.worker.observer import Observer
from fedcore.worker.ready import ReadyFile
from fedcore.worker.supervision import Supervision

if TYPE_CHECKING:
    from fedcore.worker.options import Options

__all__ = ["run"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def run(options: Options) -> int:
    """Be a worker until there is nothing left to do; return the exit code. Called once, from the main thread of its process."""
    supervision = Supervision(options.drain_seconds)
    supervision.install(options.lifeline_fd)
    for variable in _THREAD_VARIABLES:
        # Many workers share a machine: with a pool of threads in each they fight for its cores. Read by the libraries when imported.
        os.environ.setdefault(variable, "1")
    from fedcore.worker.loop import Worker

    observer = Observer()
    if options.metrics_port is not None:
        from fedcore.worker.meter import Meter

        observer = meter = Meter(options.job)
        try:
            log_event("metrics", port=meter.serve(options.metrics_port))
        except OSError as error:
            ending = Ending(2, EndWord.INVALID, f"--metrics-port: {options.metrics_port} cannot be used: {error.strerror}")
            return _end(options, ending)
    ready = ReadyFile(options.ready_file, options.ready_grace_seconds)
    ready.remove()  # one that an earlier process left says nothing of this one
    worker = Worker(options, supervision, ready, observer)

    def give_up() -> None:
        worker.leave()
        ready.remove()
        write_termination(options.termination_file, Ending(0, EndWord.LEFT, "asked to stop; the task did not return in time"))

    supervision.on_overdue(give_up)
    ending = worker.run()
    ready.remove()
    return _end(options, ending)


def _end(options: Options, ending: Ending) -> int:
    write_termination(options.termination_file, ending)
    log_event("worker_ended", reason=str(ending.reason), exit_code=ending.exit_code, message=ending.message or None)
    return ending.exit_code
