"""The command ``fedcore``. What a command needs is imported when it runs, so that ``fedcore --help`` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from fedcore import __version__
from fedcore.cli.experiment import app as experiment_app

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["app", "main"]

_USAGE = 2
Parsed = TypeVar("Parsed")

app = typer.Typer(
    name="fedcore",
    help="Federated learning that survives: one job file, on this computer or on Kubernetes.",
    epilog="First steps: fedcore run; fedcore init my-project; fedcore run my-project/job.yaml.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)
app.add_typer(experiment_app, name="experiment")


def main() -> None:
    """Be the command ``fedcore``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ● and ✔ must not end a run
    app(prog_name="fedcore")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's form of a callback
    if wanted:
        print(f"fedcore {__version__}")
        raise typer.Exit


@app.callback()
def fedcore(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Federated learning that survives: one job file, on this computer or on Kubernetes."""


def _parsed(flag: str, parse: Callable[[str], Parsed], texts: Sequence[str] | None) -> list[Parsed]:
    """Read what a repeatable flag was given; what cannot be read is a usage error that names the flag."""
    try:
        return [parse(text) for text in texts or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=flag) from None


def _assignment(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ValueError(f'"{text}" sets nothing; allowed: PATH=VALUE, such as spec.quorum.percent=100')
    return path.strip(), value


_FAULTS = "Faults on purpose"
_OUTPUT = "What it shows"


@app.command(
    epilog="Examples: [bold]fedcore run[/bold]  ·  [bold]fedcore run job.yaml --workers 8 --set spec.quorum.percent=100[/bold]  ·  "
    "[bold]fedcore run job.yaml --kill worker-2@3 --kill coordinator@4 --slow worker-1=4[/bold]"
)
def run(
    *,
    job: Annotated[Path | None, typer.Argument(metavar="JOB.yaml", help="The job; without one, the shipped handwritten digits.")] = None,
    workers: Annotated[int | None, typer.Option(help="Sets spec.workers.replicas.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Sets spec.rounds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Sets spec.seed.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Sets any field, such as spec.quorum.percent=100. Repeatable.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(envvar="FEDCORE_RUN_DIR", help="Where the run's files go; an unfinished run is resumed. Default: runs/<UTC>-<job>."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(envvar="FEDCORE_PORT", min=1, max=65535, help="Port for workers. Default: 8470 if free, else any free one."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(envvar="FEDCORE_METRICS_PORT", min=1, max=65535, help="Port for metrics. Default: 9464 if free, else any free one."),
    ] = None,
    kill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORKER@ROUND", rich_help_panel=_FAULTS, help="SIGKILLs worker-2@3 or coordinator@4, once; budgets apply. Repeatable."
        ),
    ] = None,
    slow: Annotated[
        list[str] | None,
        typer.Option(metavar="WORKER=FACTOR", rich_help_panel=_FAULTS, help="Lets worker-1=4 train four times slower. Repeatable."),
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            envvar="FEDCORE_TRACKERS",
            metavar="NAME",
            rich_help_panel=_OUTPUT,
            help="Also tells tensorboard, mlflow or your own MODULE:CLASS of each round. Repeatable, or with commas.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="Print the summary, one JSON object, on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="Show nothing while it runs.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel=_OUTPUT, help="One line for every event.")] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", rich_help_panel=_OUTPUT, help="No escape codes: plain lines. NO_COLOR does the same.")
    ] = False,
    log_format: Annotated[
        str, typer.Option(envvar="FEDCORE_LOG_FORMAT", metavar="text|json", rich_help_panel=_OUTPUT, help="How a line looks.")
    ] = "text",
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report", rich_help_panel=_OUTPUT, help="Write plots and report.html when it has ended, however it did."
        ),
    ] = True,
) -> None:
    """Train a job on this computer: a coordinator and workers as processes, restarted within the job's budgets.

    Exit codes: 0 completed, 1 failed, 2 nothing was started, 3 quorum lost or out of reach, 130 interrupted (run it again with the same
    --run-dir to go on).
    """
    if quiet and verbose:
        raise typer.BadParameter("it cannot be quiet and verbose at once", param_hint="--quiet / --verbose")
    if log_format not in {"text", "json"}:
        raise typer.BadParameter(f'"{log_format}" is none; allowed: text, json', param_hint="--log-format")
    from fedcore.local.faults import parse_kill, parse_slow

    kills, slows = _parsed("--kill", parse_kill, kill), _parsed("--slow", parse_slow, slow)
    overrides = _parsed("--set", _assignment, assignments)
    for path, value in (("spec.workers.replicas", workers), ("spec.rounds", rounds), ("spec.seed", seed)):
        if value is not None:
            overrides.append((path, str(value)))

    from fedcore.cli.run import RunOptions
    from fedcore.cli.run import run as run_now
    from fedcore.report.trackers import split_names

    options = RunOptions(
        job=job,
        overrides=overrides,
        run_dir=run_dir,
        port=port,
        metrics_port=metrics_port,
        kills=kills,
        slows=slows,
        trackers=split_names(tracker or ()),
        json=json,
        quiet=quiet,
        verbose=verbose,
        color=not no_color,
        log_format="json" if log_format == "json" else "text",
        report=report,
    )
    raise typer.Exit(run_now(options))


_Run = Annotated[str, typer.Argument(metavar="RUN", help="A run directory; latest is the newest one in runs/.")]


@app.command(epilog="Examples: [bold]fedcore report runs/20261124-091103-mnist[/bold]  ·  [bold]fedcore report latest[/bold]")
def report(run: _Run) -> None:
    """Write the report of a run that has ended, failed or was interrupted: report.html, plots, tables and summary, from its events.

    report.html is one file that needs no network. Exit codes: 0 written, 1 without plots, since matplotlib or jinja2 is missing, 2 no run
    there, or one that is still running.
    """
    from fedcore.cli.report import report as report_now

    raise typer.Exit(report_now(run))


@app.command(
    epilog="Examples: [bold]fedcore compare runs/a runs/b[/bold]  ·  [bold]fedcore compare runs/* --html compared.html[/bold]  ·  "
    "[bold]fedcore compare runs/a latest --json[/bold]"
)
def compare(
    *,
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Run directories; latest is the newest one in runs/.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with plots too, one file that needs no network.")] = None,
) -> None:
    """Put runs side by side: how they ended, how good and how quick they were, and in what their jobs differ. They may still be running.

    Exit codes: 0 compared, 1 the page could not be written, 2 one of them is no run.
    """
    from fedcore.cli.compare import compare as compare_now

    raise typer.Exit(compare_now(runs, as_one_object=json, html=html))


@app.command(
    epilog="Examples: [bold]fedcore validate job.yaml[/bold]  ·  [bold]fedcore validate --resolved job.yaml[/bold]  ·  "
    "[bold]fedcore validate examples/*.yaml[/bold]"
)
def validate(
    *,
    jobs: Annotated[list[Path], typer.Argument(metavar="JOB.yaml...", help="Job files.")],
    resolved: Annotated[bool, typer.Option(help="Print each job with every default, and where each value came from.")] = False,
) -> None:
    """Check job files without a cluster: all problems at once, with file and line. Exit code 2 if there are any."""
    from fedcore.cli.validate import validate as validate_now

    raise typer.Exit(validate_now(jobs, resolved))


@app.command(epilog="Example: [bold]fedcore init my-project && fedcore run my-project/job.yaml[/bold]")
def init(
    *,
    name: Annotated[str, typer.Argument(help="Name of the project and of its job.")],
    directory: Annotated[Path | None, typer.Option("--directory", "-C", help="Make it here instead of in the current folder.")] = None,
) -> None:
    """Make a project that runs as it is: task.py, job.yaml, Dockerfile, README and a test, to be changed into your own."""
    from pathlib import Path as RealPath

    from fedcore.cli.init import init as init_now

    raise typer.Exit(init_now(name, directory or RealPath()))


@app.command(epilog="Example: [bold]fedcore crd | kubectl apply -f -[/bold]")
def crd(
    *,
    reference: Annotated[bool, typer.Option(help="Print the page that explains every field, in Markdown, instead.")] = False,
) -> None:
    """Print the CustomResourceDefinition of a FederatedJob, as YAML."""
    from fedcore.crd import definition_yaml
    from fedcore.crd import reference as field_reference

    print(field_reference() if reference else definition_yaml(), end="")


@app.command(
    epilog="Example: [bold]fedcore coordinator --job job.yaml --run-dir runs/mine --host 127.0.0.1[/bold]. Each flag is also a variable; "
    "in a pod the operator sets those."
)
def coordinator(
    *,
    job: Annotated[Path | None, typer.Option(envvar="FEDCORE_JOB_FILE", help="FederatedJob, YAML or JSON; watched for changes.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option(envvar="FEDCORE_RUN_DIR", help="Where the run's files go; an unfinished run is resumed.")
    ] = None,
    host: Annotated[str | None, typer.Option(envvar="FEDCORE_HOST", help="Address to listen at. Default: all.")] = None,
    port: Annotated[int | None, typer.Option(envvar="FEDCORE_PORT", help="Port for workers. Default: 8470; 0 takes a free one.")] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(envvar="FEDCORE_METRICS_PORT", help="Port for metrics, health and progress. Default: 9464; 0 takes a free one."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(envvar="FEDCORE_TOKEN_FILE", help="File with the token that workers must show.")
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(envvar="FEDCORE_TLS_CERT_FILE", help="Certificate, PEM, with those between it and the authority: serve over TLS."),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="FEDCORE_TLS_KEY_FILE", help="Its key, PEM, without a passphrase.")] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            envvar="FEDCORE_TRACKERS",
            metavar="NAME",
            help="Tells tensorboard, mlflow or your own MODULE:CLASS of each round. Repeatable, or with commas.",
        ),
    ] = None,
) -> None:
    """Coordinate one job: what the coordinator's image runs."""
    from fedcore.coordinator.options import InvalidOptions, Options

    given: dict[str, Any] = {
        "job": job,
        "run_dir": run_dir,
        "host": host,
        "port": port,
        "metrics_port": metrics_port,
        "token_file": token_file,
    }
    given |= {"tls_cert": tls_cert, "tls_key": tls_key, "tracker": tracker}
    try:
        options = Options.read(os.environ, given)
    except InvalidOptions as error:
        _refuse(str(error))
    from fedcore.coordinator.main import run as coordinate

    raise typer.Exit(coordinate(options))


@app.command(
    epilog="Example: [bold]fedcore worker --coordinator http://127.0.0.1:8470 --index 0 --entrypoint task:task[/bold]. Each flag is also a "
    "variable; in a pod the operator sets those."
)
def worker(
    *,
    coordinator: Annotated[
        str | None, typer.Option(envvar="FEDCORE_COORDINATOR", metavar="URL", help="Where the coordinator is, http or https.")
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option(envvar="FEDCORE_ENTRYPOINT", metavar="MODULE:ATTRIBUTE", help="What makes the task.")
    ] = None,
    index: Annotated[int | None, typer.Option(envvar="FEDCORE_INDEX", help="Place among the workers; without it one is given.")] = None,
    attempt: Annotated[
        int | None, typer.Option(envvar="FEDCORE_ATTEMPT", help="Counts restarts; a higher one replaces a lower one. Default: 1.")
    ] = None,
    name: Annotated[str | None, typer.Option(envvar="FEDCORE_NAME", help="Name in reports. Default: worker-INDEX.")] = None,
    token_file: Annotated[Path | None, typer.Option(envvar="FEDCORE_TOKEN_FILE", help="File with the token to show.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(envvar="FEDCORE_CA_FILE", help="Certificates to trust for https. Default: the system's.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option("--data", envvar="FEDCORE_DATA", help="Folder with the data set.")] = None,
    job_dir: Annotated[Path | None, typer.Option(envvar="FEDCORE_JOB_DIR", help="Folder put first on the import path.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(envvar="FEDCORE_METRICS_PORT", help="Port to show metrics at; 0 takes a free one. Default: none.")
    ] = None,
    job: Annotated[str | None, typer.Option(envvar="FEDCORE_JOB", help="The job's name, for the metrics' label federatedjob.")] = None,
) -> None:
    """Train as one worker of a job: what the worker's image runs."""
    from fedcore.worker.options import InvalidOptions, Options

    given: dict[str, Any] = {"coordinator": coordinator, "entrypoint": entrypoint, "index": index, "attempt": attempt, "name": name}
    given |= {"token_file": token_file, "ca_file": ca_file, "data_dir": data_dir, "job_dir": job_dir}
    given |= {"metrics_port": metrics_port, "job": job}
    try:
        options = Options.read(os.environ, given)
    except InvalidOptions as error:
        _refuse(str(error))
    from fedcore.worker.main import run as work

    raise typer.Exit(work(options))


def _refuse(message: str) -> NoReturn:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    raise typer.Exit(_USAGE)


if __name__ == "__main__":
    main()
