"""``kubectl fedjob why``: how a job stands and what to do, in plain words, from its conditions, events, pods and exit codes.

`explain` is a function of what is seen and the time, and of nothing else; every reason has its words in `fedcore.cli.fedjob.words`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcore.cli.fedjob.attempts import attempts, span, waits
from fedcore.cli.fedjob.scene import OPERATOR
from fedcore.cli.fedjob.words import CONDITIONS, ENDS, Words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from fedcore.cli.fedjob.scene import Scene

__all__ = ["explain"]

_LOOKED_AT_SECONDS = 30
_SILENT_SECONDS = 60
_UNKNOWN = Words("")


@dataclass
class _Text:
    """What is said, and what to do; nothing twice."""

    said: list[str] = field(default_factory=list)
    do: list[str] = field(default_factory=list)

    def add(self, sentence: str, *todo: str) -> None:
        sentence = sentence.strip()
        if sentence:
            ended = sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
            self.said.append(ended)
        self.do += [one for one in todo if one and one not in self.do]


def explain(scene: Scene, now: datetime) -> str:
    """Return a paragraph on how the job stands, and one on what to do, if there is anything to do."""
    text = _Text()
    for part in (_standing(scene, now), waits(scene, now), attempts(scene, now), _deadlines(scene, now)):
        for sentence, *todo in part:
            text.add(sentence, *todo)
    names = {"job": scene.name, "n": f"-n {scene.namespace}"}
    paragraphs = [" ".join(text.said)]
    if text.do:
        todo = [one.format(**names) for one in text.do]
        paragraphs.append("What to do: " + ". ".join(one[0].upper() + one[1:] if one[0].isalpha() else one for one in todo) + ".")
    return "\n\n".join(paragraphs)


def _standing(scene: Scene, now: datetime) -> Iterable[tuple[str, ...]]:
    """Give the sentences on the job as a whole: the first state that fits."""
    job, status = f"Job {scene.name}", scene.status
    accepted, suspended = scene.condition("Accepted"), scene.condition("Suspended")
    if scene.deleting:
        yield (f"{job} is being deleted, and its pods with it",)
    elif scene.managed_by != OPERATOR:
        yield f"{job} is left alone by FedCore's operator, since spec.managedBy gives it to {scene.managed_by}", f"ask {scene.managed_by}"
    elif scene.end is not None:
        yield from _end(scene, now)
    elif accepted is None:
        since = (now - scene.created).total_seconds()
        todo = (
            "`kubectl get pods -A -l app.kubernetes.io/component=operator` shows whether it runs; it may also watch other namespaces only"
        )
        yield f"{job} was applied {span(since)} ago, and the operator has not looked at it yet", todo if since > _LOOKED_AT_SECONDS else ""
    elif accepted.status != "True" and status.start_time is None:
        words = CONDITIONS.get(accepted.reason, _UNKNOWN)
        yield _reasoned(f"{job} is not accepted", words, accepted.reason, accepted.message), words.do
        if accepted.observed_generation != scene.generation:
            yield ("The operator has not looked at its newest change yet",)
    elif status.ending is not None:
        words = ENDS.get(status.ending.reason, _UNKNOWN)
        yield _reasoned(f"{job} is being ended", words, status.ending.reason, status.ending.message), words.do
    elif scene.suspend or (suspended is not None and suspended.status == "True"):
        words = CONDITIONS["Suspended"]
        yield f"{job}: {words.say}{_reached(scene)}", words.do
    else:
        yield from _course(scene, now)


def _end(scene: Scene, now: datetime) -> Iterable[tuple[str, ...]]:
    end, status = scene.end, scene.status
    assert end is not None
    ended = status.completion_time or end.last_transition_time
    ago = f"{span((now - ended).total_seconds())} ago"
    if end.type == "Complete":
        took = "" if status.start_time is None else f" in {span((ended - status.start_time).total_seconds())}"
        yield (f"Job {scene.name} is complete since {ago.removesuffix(' ago')}: {end.message}{took}",)
        return
    words = ENDS.get(end.reason, _UNKNOWN)
    yield _reasoned(f"Job {scene.name} failed {ago}{_reached(scene)}", words, end.reason, end.message), words.do


def _course(scene: Scene, now: datetime) -> Iterable[tuple[str, ...]]:
    """Give the sentences on a job that was accepted and has not ended."""
    status, quorum, accepted = scene.status, scene.condition("QuorumMet"), scene.condition("Accepted")
    coordinator, progress = scene.condition("CoordinatorReady"), status.progress
    phase = {"Running": "runs", "Degraded": "runs below its quorum", "Starting": "is starting"}.get(status.phase, "has not started")
    present = f"{status.workers.ready} of {scene.replicas} workers are ready and {scene.required} are required"
    yield (f"Job {scene.name} {phase}: {present}",)
    if accepted is not None and accepted.status != "True":
        said = f"Its newest change is not accepted ({accepted.reason}), and it goes on with what it had: {accepted.message}"
        yield said, "take the change back, or correct it, and apply the job again"
    if coordinator is not None and coordinator.status != "True":
        words = CONDITIONS.get(coordinator.reason, _UNKNOWN)
        yield _reasoned("", words, coordinator.reason, coordinator.message), words.do
    if progress is not None and progress.round:
        measured = f", accuracy {progress.accuracy}" if progress.accuracy else ""
        yield (f"Round {progress.round} of {scene.rounds} has {progress.accepted} of {scene.required} updates{measured}",)
        if progress.observed_time is not None and (now - progress.observed_time).total_seconds() > _SILENT_SECONDS:
            yield (f"That was {span((now - progress.observed_time).total_seconds())} ago, and nothing was heard of the coordinator since",)
        if progress.late:
            yield (f"{progress.late} updates came late until now",)
    if quorum is not None and quorum.status != "True" and not (quorum.reason == "BelowQuorum" and scene.pods):  # which say it themselves
        words = CONDITIONS.get(quorum.reason, _UNKNOWN)
        yield _reasoned("", words, quorum.reason, quorum.message), words.do


def _reasoned(head: str, words: Words, reason: str, message: str) -> str:
    """Return ``head: what it means (Reason). What the operator said``."""
    meaning = f"{words.say} ({reason})" if words.say else reason
    start = f"{head}: {meaning}" if head else meaning[0].upper() + meaning[1:]
    said = message.strip().rstrip(".")
    if not said:
        return start
    return f"{start}. {said[0].upper() + said[1:] if said.split()[0].isalpha() else said}"


def _reached(scene: Scene) -> str:
    progress, result = scene.status.progress, scene.status.result
    done = (
        result.rounds if result is not None else progress.recent_rounds[-1].round if progress is not None and progress.recent_rounds else 0
    )
    return f" after {done} of {scene.rounds} rounds"


def _deadlines(scene: Scene, now: datetime) -> Iterable[tuple[str, ...]]:
    """Give what will end the job, and when."""
    status = scene.status
    if scene.end is not None or status.ending is not None or status.start_time is None or scene.suspend:
        return
    ran = (now - status.start_time).total_seconds()
    if status.quorum_first_met_time is None:
        if scene.startup_deadline:
            left = span(max(scene.startup_deadline - ran, 0))
            yield (f"If {scene.required} workers are not ready within {left}, it fails with StartupDeadlineExceeded",)
        else:
            yield ("It waits for its workers for ever, since startupDeadlineSeconds is 0",)
    elif status.quorum.lost_since is not None:
        grace = scene.quorum.loss_grace_period_seconds
        if grace:
            left = span(max(grace - (now - status.quorum.lost_since).total_seconds(), 0))
            yield (f"If they are not back within {left}, it fails with QuorumLost",)
        else:
            yield ("It waits for them for ever, since quorum.lossGracePeriodSeconds is 0",)
    if scene.active_deadline is not None:
        yield (f"It has {span(max(scene.active_deadline - ran, 0))} left of activeDeadlineSeconds",)
