"""What becomes of a job's pods, in sentences: what those of now wait for, and how those before them ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.cli.closing import count
from fedcore.cli.fedjob.pods import COORDINATOR
from fedcore.cli.fedjob.words import CONDITIONS, EXIT_CODES, EXITS, WAITS, Words
from fedcore.engine.reasons import EndReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from fedcore.cli.fedjob.scene import Scene
    from fedcore.spec.status import LastExit

__all__ = ["attempts", "named", "span", "waits"]

_NAMED = 4
_MESSAGE_CHARS = 300
_PROBES = "Unhealthy"
_ALREADY_SAID = "Error: "
"""The kubelet says in a sentence why an image cannot be pulled, and then once more that it cannot."""
_UNKNOWN = Words("")
_ENDED_WAITING = {EndReason.STARTUP_DEADLINE_EXCEEDED, EndReason.QUORUM_LOST}


def span(seconds: float) -> str:
    """Return a length of time as a person would say it."""
    whole = int(seconds)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= 2 * size or (whole >= size > 60):
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest and whole < 10 * size else "")
    return f"{whole} s"


def named(places: list[str]) -> str:
    """Return names with an *and* before the last; of many the first ones and a count."""
    if len(places) > _NAMED + 1:
        return f"{', '.join(places[:_NAMED])} and {len(places) - _NAMED} more"
    return places[0] if len(places) == 1 else f"{', '.join(places[:-1])} and {places[-1]}"


def waits(scene: Scene, now: datetime) -> Iterator[tuple[str, ...]]:
    """Give what places wait for whose pods do not run yet, or are not there."""
    if scene.end is not None and scene.end.reason in _ENDED_WAITING:
        yield from _warnings(scene)
    if scene.end is not None or scene.status.start_time is None or scene.suspend:
        return
    found: dict[str, list[tuple[str, str]]] = {}
    for index in scene.attempts:
        place = COORDINATOR if index is None else f"worker-{index}"
        pod = scene.current.get(index)
        if pod is None or (index is None and _is_told(scene)):
            continue
        if pod.waits_for:
            found.setdefault(pod.waits_for, []).append((place, pod.message))
        elif not pod.started:
            warning = _warning(scene, f"Pod/{pod.name}")
            if warning is not None:
                found.setdefault(warning[0], []).append((place, warning[1]))
    for reason, ones in found.items():
        words = WAITS.get(reason, _UNKNOWN)
        one = len(ones) == 1
        what = f": {words.say} ({reason})" if words.say else f": {reason}"
        yield f"{named([place for place, _ in ones])} {'waits' if one else 'wait'}{what}{_quoted(ones[0][1])}", words.do
    yield from _missing(scene, now)


def _warnings(scene: Scene) -> Iterator[tuple[str, ...]]:
    """Give the newest warning of each kind about a pod: they outlive the pods, and say what those waited for when time was up."""
    told = [one for one in scene.told if one.type == "Warning" and one.about.startswith("Pod/") and one.reason != _PROBES]
    newest = {one.reason: one for one in told if not one.message.startswith(_ALREADY_SAID)}
    for one in list(newest.values())[-_NAMED:]:
        yield (f"Kubernetes said of {one.about.removeprefix('Pod/')} ({one.reason}){_quoted(one.message)}",)


def _is_told(scene: Scene) -> bool:
    """Say whether the condition of the coordinator says already what it waits for."""
    ready = scene.condition("CoordinatorReady")
    return ready is not None and ready.reason in {"Unschedulable", "ImagePullFailed", "PodCreateFailed"}


def _missing(scene: Scene, now: datetime) -> Iterator[tuple[str, ...]]:
    """Give why places have no pod: it is not time yet, or the API server refuses it."""
    coordinator = scene.status.coordinator
    later: list[tuple[int | None, datetime | None]] = [(None, coordinator.not_before)]
    later += [(index, one.not_before) for index, one in scene.entries.items() if index < scene.replicas and not one.gave_up]
    soon: list[str] = []
    for index, at in later:
        if scene.current.get(index) is None and at is not None and at > now:
            place = COORDINATOR if index is None else f"worker-{index}"
            soon.append(f"{place} in {span((at - now).total_seconds())}")
    if soon:
        yield (f"After a pause that doubles with each restart {'there starts' if len(soon) == 1 else 'there start'} {named(soon)}",)
    lacking = {index for index in scene.attempts if scene.current.get(index) is None}
    names = {f"{scene.name}-{COORDINATOR if index is None else f'worker-{index}'}-{scene.attempts[index]}" for index in lacking}
    refused = [one for one in scene.told if one.reason == "PodCreateFailed" and one.message.partition(":")[0] in names]
    if refused:
        yield f"The API server refuses pods{_quoted(refused[-1].message)}", CONDITIONS["PodCreateFailed"].do


def attempts(scene: Scene, now: datetime) -> Iterator[tuple[str, ...]]:
    """Give who was given up, who was restarted, and how those attempts ended."""
    coordinator, workers = scene.status.coordinator, scene.status.workers
    lost = [one for one in scene.status.worker_indexes if one.gave_up and one.index < scene.replicas]
    if lost:
        spent = (
            "whose first end was the last, as no restart is allowed"
            if not scene.worker_restarts
            else f"after {count(scene.worker_restarts, 'restart')}"
        )
        yield (f"{named([f'worker-{one.index}' for one in lost])} {'is' if len(lost) == 1 else 'are'} given up {spent}",)
    disruptions, most, most_each = workers.disruptions + coordinator.disruptions, scene.coordinator_restarts, scene.worker_restarts
    counts = [
        (workers.restarts, f"workers were restarted {_times(workers.restarts)} (at most {_times(most_each)} each)"),
        (coordinator.restarts, f"the coordinator was restarted {_times(coordinator.restarts)} (at most {_times(most)})"),
        (disruptions, f"pods were taken away {_times(disruptions)} by others, which costs no restart"),
    ]
    told = [text for number, text in counts if number]
    if told:
        sentence = ", ".join(told)
        yield (sentence[0].upper() + sentence[1:],)
    yield from _exits(scene, now)
    begun_again = [one for one in scene.told if one.reason == "RestartedFromRoundOne"]
    if begun_again and scene.end is None:
        todo = "coordinator.checkpoint.volumeClaimTemplate keeps the rounds of the next job over a restart of its coordinator"
        yield "Without a volume the coordinator began again at round 1", todo


def _exits(scene: Scene, now: datetime) -> Iterable[tuple[str, ...]]:
    """Give the last ends, those that are alike together; of a completed job none, since they did no harm."""
    if scene.end is not None and scene.end.type == "Complete":
        return
    alike: dict[tuple[str, int | None], list[tuple[str, LastExit]]] = {}
    ends = [("the coordinator", scene.status.coordinator.last_exit)]
    ends += [(f"worker-{one.index}", one.last_exit) for one in scene.status.worker_indexes if one.index < scene.replicas]
    for place, last in ends:
        if last is not None:
            alike.setdefault((last.reason, last.exit_code), []).append((place, last))
    for (reason, code), ones in alike.items():
        words = EXITS.get(reason, _UNKNOWN)
        newest = max((last for _, last in ones), key=lambda last: last.time)
        how = words.say or f"ended: {reason}"
        how = how if len(ones) == 1 else how.replace("was ", "were ", 1) if how.startswith("was ") else how
        codes = "" if code is None else f", exit code {code}: {EXIT_CODES[code]}" if code in EXIT_CODES else f", exit code {code}"
        places = named([place for place, _ in ones]).replace("the c", "The c")
        when = span(max((now - newest.time).total_seconds(), 0))
        yield f"{places} {how} ({reason}{codes}) {when} ago{_quoted(newest.message)}", words.do


def _warning(scene: Scene, about: str) -> tuple[str, str] | None:
    found = [one for one in scene.told if one.about == about and one.type == "Warning"]
    return (found[-1].reason, found[-1].message) if found else None


def _quoted(message: str) -> str:
    text = " ".join(message.split()).rstrip(".")
    if not text:
        return ""
    return f": {text if len(text) <= _MESSAGE_CHARS else text[: _MESSAGE_CHARS - 1] + '…'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
