"""``fedcore run``: everything that can be wrong is found before the first process starts; then the job runs, watched."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedcore import __version__
from fedcore.cli.closing import closing, short
from fedcore.cli.plain import PlainView, SilentView
from fedcore.cli.terminal import can_draw
from fedcore.cli.validate import check_draft_and_entrypoint, count_problems
from fedcore.engine.quorum import required
from fedcore.jobfile import InvalidJob, read_job
from fedcore.local.directory import RunDirectoryError, open_run_directory
from fedcore.local.faults import problems, worker_name
from fedcore.local.interrupts import interruptible
from fedcore.local.plan import Plan
from fedcore.local.ports import METRICS_PORT, RPC_PORT, PortInUseError, reserve
from fedcore.local.runner import run_job
from fedcore.report.trackers import UnusableTracker, find_trackers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcore.cli.live import LiveView
    from fedcore.local.faults import Kill, Slow
    from fedcore.local.plan import View
    from fedcore.spec import FederatedJob

__all__ = ["RunOptions", "run"]

_INVALID = 2


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the flags of ``fedcore run`` say."""

    job: Path | None = None
    overrides: Sequence[tuple[str, str]] = ()
    run_dir: Path | None = None
    port: int | None = None
    metrics_port: int | None = None
    kills: Sequence[Kill] = ()
    slows: Sequence[Slow] = ()
    trackers: Sequence[str] = ()
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    log_format: Literal["text", "json"] = "text"
    report: bool = True


class _Refused(Exception):  # noqa: N818 - not an error of ours: the answer to a wrong job
    """The run does not start; the message says why, a line for each problem."""


def run(options: RunOptions) -> int:
    """Run a job and return the exit code; 2 means that nothing was started."""
    with ExitStack() as stack:
        try:
            plan = _prepare(options, stack)
        except _Refused as refused:
            print(refused, file=sys.stderr)
            return _INVALID
        with _view(plan, options) as view:
            summary = run_job(plan, view)
        page = _report(plan.directory.path, summary) if options.report else None
    if options.json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print("\n".join(closing(summary, _next_commands(options, summary["phase"], summary["run_dir"]), page)))
    return int(summary["exit_code"])


def _report(run_dir: Path, summary: Mapping[str, Any]) -> Path | None:
    """Write the report while the directory is still ours. Whatever keeps it from being written does not change how the run has ended."""
    from fedcore.report.write import GET_IT, can_draw, write_report

    again = f"`fedcore report {short(run_dir)}`"
    if not can_draw():
        print(f"note: for plots and report.html: {GET_IT}, then {again}", file=sys.stderr)
        return None
    try:
        with interruptible():
            return write_report(run_dir, summary)
    except KeyboardInterrupt:
        print(f"note: the report was interrupted; {again} writes it", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - the run has ended, and a picture that cannot be drawn is no reason to say otherwise
        print(f"note: the report could not be written: {error}; {again} tries again", file=sys.stderr)
    return None


def _prepare(options: RunOptions, stack: ExitStack) -> Plan:
    path, shipped = options.job, options.job is None
    if path is None:
        name = "mnist-torch.yaml" if find_spec("torch") else "mnist-numpy.yaml"
        path = stack.enter_context(as_file(files("fedcore.cli") / "jobs" / name))
        if not options.quiet:
            kind = "a convolutional network in PyTorch" if find_spec("torch") else "a perceptron in numpy (PyTorch is not installed)"
            print(f"No job file given: training the shipped one, handwritten digits with {kind}.", file=sys.stderr)
    job_dir = None if shipped else path.resolve().parent
    job = _load(path, job_dir, options)
    wrong_faults = problems(options.kills, options.slows, job.spec.workers.replicas, job.spec.rounds)
    if wrong_faults:
        raise _Refused("\n".join(f"error: {problem}; nothing was started" for problem in wrong_faults))
    try:
        find_trackers(options.trackers)
    except UnusableTracker as error:
        raise _Refused(f"error: --tracker (or FEDCORE_TRACKERS): {error}; nothing was started") from None
    try:
        rpc = reserve(options.port, RPC_PORT)
        stack.callback(rpc.release)
        metrics = reserve(options.metrics_port, METRICS_PORT)
        stack.callback(metrics.release)
        directory = open_run_directory(job, options.run_dir, Path("runs"))
    except (PortInUseError, RunDirectoryError) as error:
        raise _Refused(f"error: {error}; nothing was started") from None
    stack.callback(directory.close)
    return Plan(
        job,
        job_dir,
        directory,
        rpc.port,
        metrics.port,
        kills=options.kills,
        slows=options.slows,
        trackers=options.trackers,
        log_format=options.log_format,
    )


def _load(path: Path, job_dir: Path | None, options: RunOptions) -> FederatedJob:
    try:
        job = check_draft_and_entrypoint(read_job(path, options.overrides), job_dir, _data_dir())
    except InvalidJob as error:
        problems_of_job = [str(problem) for problem in error.problems]
        raise _Refused("\n".join([*problems_of_job, f"error: {count_problems(error, path)}; nothing was started"])) from None
    return job


def _data_dir() -> Path | None:
    folder = os.environ.get("FEDCORE_DATA")
    return Path(folder) if folder else None


def _view(plan: Plan, options: RunOptions) -> AbstractContextManager[View | LiveView]:
    if options.quiet:
        return nullcontext(SilentView())
    spec = plan.job.spec
    if not can_draw(color=options.color) or options.verbose or options.log_format == "json":
        extras = {"run_started": {"metrics": plan.metrics_url}, "run_finished": {"run_dir": str(plan.directory.path)}}
        return nullcontext(PlainView(verbose=options.verbose, log_format=options.log_format, rounds=spec.rounds, extras=extras))
    from rich.console import Console

    from fedcore.cli.board import Board, Standing
    from fedcore.cli.live import LiveView

    replicas = spec.workers.replicas
    need = required(spec.quorum, replicas)
    header = (
        f"fedcore {__version__} · {plan.job.metadata.name} · {replicas} workers · quorum {need} of {replicas} ({spec.quorum.percent} %)"
    )
    header += f" · {spec.rounds} rounds · {plan.metrics_url}"
    names = [worker_name(index) for index in range(replicas)]
    board = Board(spec.rounds, need, {name: Standing(name) for name in names})
    return LiveView(Console(stderr=True, highlight=False), board, header)


def _next_commands(options: RunOptions, phase: str, run_dir: str) -> list[str]:
    job = [] if options.job is None else [str(options.job)]
    if phase == "Interrupted":
        return [" ".join(["fedcore run", *job, f"--run-dir {run_dir}"])]
    if options.job is None:
        return ["fedcore init my-project"]
    return []
