"""The command ``kubectl-fedjob``, which kubectl runs as ``kubectl fedjob``. What a command needs is imported when it runs."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcore import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcore.cli.fedjob.http import Http

__all__ = ["app", "main"]

_TERMINATED = 143
_INTERRUPTED = 130
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")

app = typer.Typer(
    name="kubectl fedjob",
    help="Watch, report, read and explain FederatedJobs on a cluster.",
    epilog="First steps: [bold]kubectl apply -f job.yaml[/bold]  ·  [bold]kubectl fedjob watch JOB[/bold]  ·  if it is not as it should "
    "be, [bold]kubectl fedjob why JOB[/bold]. The cluster is kubectl's: its kubeconfig, current context and login.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def main() -> None:
    """Be the command ``kubectl-fedjob``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # the proxy and its folder are put away
    try:
        app(prog_name="kubectl fedjob")
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's form of a callback
    if wanted:
        print(f"kubectl-fedjob {__version__}")
        raise typer.Exit


@app.callback()
def fedjob(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Watch, report, read and explain FederatedJobs on a cluster."""


def _jobs(context: typer.Context, incomplete: str) -> list[str]:
    from fedcore.cli.fedjob.complete import job_names

    given = context.params
    return [
        name for name in job_names(given.get("namespace"), given.get("context"), given.get("kubeconfig")) if name.startswith(incomplete)
    ]


def _contexts(context: typer.Context, incomplete: str) -> list[str]:
    from fedcore.cli.fedjob.complete import context_names

    return [name for name in context_names(context.params.get("kubeconfig")) if name.startswith(incomplete)]


def _namespaces(context: typer.Context, incomplete: str) -> list[str]:
    from fedcore.cli.fedjob.complete import namespace_names

    given = context.params
    return [name for name in namespace_names(given.get("context"), given.get("kubeconfig")) if name.startswith(incomplete)]


def _roles(incomplete: str) -> list[str]:
    return [role for role in ("coordinator", "worker") if role.startswith(incomplete)]


def _seconds(text: str | None) -> float | None:
    """Read a duration as kubectl writes them: 90, 90s, 5m, 1h30m."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise typer.BadParameter(f'"{text}" is no duration; allowed: 90s, 5m, 1h30m', param_hint="--timeout")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


_CLUSTER = "Which cluster"
Job = Annotated[str, typer.Argument(metavar="JOB", help="Name of the FederatedJob.", autocompletion=_jobs)]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", rich_help_panel=_CLUSTER, help="Its namespace. Default: that of the context.", autocompletion=_namespaces
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context", rich_help_panel=_CLUSTER, help="Context of the kubeconfig. Default: the current one.", autocompletion=_contexts
    ),
]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", rich_help_panel=_CLUSTER, help="Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config.")
]


@contextmanager
def _cluster(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Iterator[tuple[Http, str]]:
    """Give the cluster; what goes wrong with it ends the command with a sentence and its exit code."""
    from fedcore.cli.fedjob.kubectl import Target, connect
    from fedcore.cli.fedjob.trouble import Trouble

    try:
        with connect(Target(namespace, context, kubeconfig)) as (http, chosen):
            yield http, chosen
    except Trouble as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        raise typer.Exit(trouble.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


@app.command(
    epilog="Examples: [bold]kubectl fedjob watch mnist[/bold]  ·  [bold]kubectl fedjob watch mnist -n team --timeout 30m | tee log[/bold]"
)
def watch(
    job: Job,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    timeout: Annotated[str | None, typer.Option(metavar="DURATION", help="Give up after 90s, 5m, 1h30m. Default: never.")] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No escape codes: plain lines. NO_COLOR does the same.")] = False,
    log_format: Annotated[str, typer.Option(metavar="text|json", help="How a line looks.")] = "text",
) -> None:
    """Show a job until it ends: a live table on a terminal, one line for each thing that matters elsewhere.

    Ctrl-C ends the watching and not the job. Exit codes: 0 completed, 1 failed or deleted, 3 quorum lost or out of reach, as of fedcore
    run; 2 no such job, 4 the cluster does not answer or does not let you, 124 --timeout, 130 Ctrl-C.
    """
    if log_format not in {"text", "json"}:
        raise typer.BadParameter(f'"{log_format}" is none; allowed: text, json', param_hint="--log-format")
    seconds = _seconds(timeout)
    from fedcore.cli.fedjob.watch import WatchOptions
    from fedcore.cli.fedjob.watch import watch as watch_now

    options = WatchOptions(timeout_seconds=seconds, color=not no_color, log_format="json" if log_format == "json" else "text")
    with _cluster(namespace, context, kubeconfig) as (http, chosen):
        raise typer.Exit(watch_now(http, chosen, job, options))


@app.command(
    epilog="Examples: [bold]kubectl fedjob report mnist[/bold]  ·  [bold]kubectl fedjob report mnist --run-dir runs/first --model[/bold]"
)
def report(
    job: Job,
    *,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Where it goes; what was fetched of the same run before is replaced. Default: runs/<UTC start>-<job>."),
    ] = None,
    model: Annotated[bool, typer.Option("--model", help="Fetch the model too, however large it is.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Fetch the run directory of a job and write its report, as fedcore report does, whether it runs, has ended or has failed.

    While the coordinator runs it is asked; later a pod that mounts the checkpoint's claim, for as long as the copying takes. Without a
    claim the run directory went with its pod, and the report has what the job's status still says. Exit codes: 0 written, 1 without
    plots, since matplotlib or jinja2 is missing, 2 no such job or nothing to fetch at the moment, 4 the cluster does not answer or does
    not let you.
    """
    from fedcore.cli.fedjob.kubectl import Kubectl, Target
    from fedcore.cli.fedjob.report import ReportOptions
    from fedcore.cli.fedjob.report import report as write_report

    with _cluster(namespace, context, kubeconfig) as (http, chosen):
        kubectl = Kubectl(Target(namespace, context, kubeconfig), chosen)
        raise typer.Exit(write_report(http, kubectl, job, ReportOptions(run_dir, model)))


@app.command(
    epilog="Examples: [bold]kubectl fedjob logs mnist[/bold]  ·  [bold]kubectl fedjob logs mnist --role worker --index 3 --previous[/bold]"
    "  ·  [bold]kubectl fedjob logs mnist -f --role coordinator --tail 20[/bold]"
)
def logs(
    job: Job,
    *,
    role: Annotated[
        str | None, typer.Option(metavar="coordinator|worker", help="Only the coordinator, or only workers.", autocompletion=_roles)
    ] = None,
    index: Annotated[list[int] | None, typer.Option(min=0, help="Only this worker. Repeatable.")] = None,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="The newest attempt before the current one: why there is a current one.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only this attempt, the last number of a pod's name.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow, with pods to come too, until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines of each pod. Default: all.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No escape codes.")] = False,
) -> None:
    """Print the logs of a job, each line with the name of its pod: of all current pods, and of the newest that ended in each place.

    The operator keeps that one until the next end; earlier ones are gone. Ended pods stay after the end of the job unless its
    cleanPodPolicy is All.
    """
    if role not in {None, "coordinator", "worker"}:
        raise typer.BadParameter(f'"{role}" is none; allowed: coordinator, worker', param_hint="--role")
    if index and role == "coordinator":
        raise typer.BadParameter("the coordinator has no index", param_hint="--index")
    if previous and (attempt is not None or follow):
        raise typer.BadParameter("an attempt that ended says no more, and is named once", param_hint="--previous")
    from fedcore.cli.fedjob.logs import LogsOptions
    from fedcore.cli.fedjob.logs import logs as print_logs

    options = LogsOptions(
        role="coordinator" if role == "coordinator" else "worker" if role == "worker" else None,
        indexes=tuple(index or ()),
        attempt=attempt,
        previous=previous,
        follow=follow,
        tail=tail,
        color=not no_color and not os.environ.get("NO_COLOR"),
    )
    with _cluster(namespace, context, kubeconfig) as (http, chosen):
        raise typer.Exit(print_logs(http, chosen, job, options))


@app.command(epilog="Example: [bold]kubectl fedjob why mnist -n team[/bold]")
def why(job: Job, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Explain in plain words how a job stands, from its conditions, events, pods and exit codes, and say what to do.

    Exit codes: 0 explained, whatever the job's fate; 2 no such job; 4 the cluster does not answer or does not let you.
    """
    from datetime import UTC, datetime

    from fedcore.cli.fedjob.source import Source
    from fedcore.cli.fedjob.why import explain

    with _cluster(namespace, context, kubeconfig) as (http, chosen):
        source = Source(http, chosen, job)
        scene = source.read()
    for sentence in source.hidden:
        print(f"note: {sentence}", file=sys.stderr)
    print(_wrapped(explain(scene, datetime.now(UTC))))


def _wrapped(text: str) -> str:
    """Return paragraphs that fit a terminal; for other programs as they are."""
    if not sys.stdout.isatty():
        return text
    from shutil import get_terminal_size
    from textwrap import fill

    width = max(40, min(get_terminal_size().columns, 120))
    return "\n\n".join(fill(paragraph, width, break_long_words=False, break_on_hyphens=False) for paragraph in text.split("\n\n"))


if __name__ == "__main__":
    main()
