"""What the report of a run says. Its size has a bound: of many rounds, workers or faults the worst are shown, and the rest is counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Phase
from fedcore.report.content import Page, Table, number, picture, size, span
from fedcore.report.history import FAULTS
from fedcore.report.rundir import EVENTS, ROUNDS, UPDATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcore.report.history import History

__all__ = ["run_page"]

_MOST_ROUNDS = 100
_MOST_WORKERS = 25
_MOST_HAPPENINGS = 60
_CAPTIONS = {
    "accuracy": "Accuracy of the averaged model on the workers' held-out data. Version n is the model after n rounds.",
    "loss": "Loss of the averaged model on held-out data, and what workers reported of their training.",
    "round_trip": "From the hand-out of a task to the last byte of its update. Above: all workers whose updates counted. Below: each "
    "worker in each round, darker is slower; white, it was given no work; grey, the time is not known. "
    "Bold names are stragglers: late, absent, or twice as slow as the median worker.",
    "quorum": "Updates that counted in each round, those that came too late for it, and how many were required.",
    "round_duration": "From the opening of a round to its close. Marks say in which round something went wrong.",
    "epochs": "Work handed out to each worker in each round, darker is more.",
    "bytes": "Weights and updates that the coordinator sent and received, from the opening of a round to the next.",
}


def run_page(
    summary: Mapping[str, Any], history: History, pictures: Mapping[str, Mapping[str, bytes]], *, job: str = "", notes: Sequence[str] = ()
) -> Page:
    """Return the report.

    Parameters
    ----------
    summary, history
        The run.
    pictures
        Its plots by name, each as ``png`` and ``svg``.
    job
        Its job file.
    notes
        Sentences on what the report lacks.
    """
    phase = summary["phase"]
    done = f"{summary['rounds_completed']} of {summary['rounds_target'] or '?'} rounds"
    ending = f"Succeeded: {done}" if phase == Phase.SUCCEEDED else f"{phase}: {summary['reason']} after {done}"
    said = [summary["message"]] if summary["message"] and phase != Phase.SUCCEEDED else []
    if not history.rounds:
        said.append("No round was opened, so there is nothing to draw.")
    tables = [_happenings(history), _workers(history), _rounds(history)]
    return Page(
        title=f"{summary['job']}: {phase}",
        heading=summary["job"],
        phase=phase,
        ending=ending,
        notes=[*said, *notes],
        facts=_facts(summary, history),
        pictures=[picture(name, files, _CAPTIONS[name]) for name, files in pictures.items()],
        tables=[table for table in tables if table.rows],
        job=job,
    )


def _facts(summary: Mapping[str, Any], history: History) -> list[tuple[str, str]]:
    updates, quorum = summary["updates"], summary["quorum"]
    facts = [(name, number(value)) for name, value in (summary["metrics"] or {}).items()]
    facts += [
        ("duration", span(summary["duration_s"])),
        ("workers", number(history.declared)),
        ("required for a round", number(quorum["required"])),
        ("rounds with quorum", f"{quorum['rounds_with_quorum']} of {summary['rounds_completed']}"),
        ("updates accepted", number(updates["accepted"])),
        *((f"updates {result}", number(updates[result])) for result in ("late", "duplicate", "rejected") if updates[result]),
        ("restarts of workers", number(summary["worker_restarts"])),
        ("restarts of the coordinator", number(summary["coordinator_restarts"])),
        ("sent", size(summary["bytes"]["sent"])),
        ("received", size(summary["bytes"]["received"])),
        ("run", summary["run_id"]),
    ]
    if history.rounds and history.rounds[0]["opened_at"] is not None:
        facts.append(("first round opened", f"{history.rounds[0]['opened_at']:%Y-%m-%d %H:%M:%S} UTC"))
    return [(name, value) for name, value in facts if value]


def _happenings(history: History) -> Table:
    happenings = list(history.happenings)
    note = ""
    if len(happenings) > _MOST_HAPPENINGS:
        counts = Counter(one.kind for one in happenings)
        named = ", ".join(f"{FAULTS.get(kind, kind.replace('_', ' '))}: {count}" for kind, count in counts.most_common())
        note = f"The first {_MOST_HAPPENINGS} of {len(happenings)} are shown ({named}); {EVENTS} has them all."
    rows = [(f"{one.time:%H:%M:%S}", str(one.round or ""), one.text) for one in happenings[:_MOST_HAPPENINGS]]
    return Table("What happened", ("time, UTC", "round", "what"), rows, note, words=True)


def _workers(history: History) -> Table:
    parts = history.parts()
    shown = parts[:_MOST_WORKERS]
    note = ""
    if len(shown) < len(parts):
        rest = parts[len(shown) :]
        missed = sum(part.late + part.missing for part in rest)
        note = f"The {len(shown)} worst of {len(parts)}; the other {len(rest)} missed {missed} rounds together. {UPDATES} has them all."
    head = ("worker", "rounds", "accepted", "late", "no update", "median trip, s", "longest, s", "epochs", "restarts")
    rows = [
        (
            *(part.worker, number(part.rounds), number(part.accepted), number(part.late), number(part.missing)),
            *(number(part.trip_median_s), number(part.trip_max_s), _range(part.epochs), number(part.restarts)),
        )
        for part in shown
    ]
    return Table("Workers", head, rows, note)


def _range(between: tuple[float, float] | None) -> str:
    if between is None:
        return ""
    low, high = between
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _rounds(history: History) -> Table:
    rows, note = list(history.rounds), ""
    if len(rows) > _MOST_ROUNDS:
        worst = sorted(rows, key=lambda row: row["duration_s"] or 0.0, reverse=True)[:_MOST_ROUNDS]
        note = f"The {_MOST_ROUNDS} longest of {len(rows)}; {ROUNDS} has them all."
        rows = sorted(worst, key=lambda row: int(row["round"]))
    keys: tuple[str, ...] = ("round", "outcome", "duration_s", "overhead_s", "accepted", "required", "participants", "late", "stragglers")
    keys = (*keys, "round_trip_p50_s", "round_trip_max_s", "slowest_worker", "accuracy", "loss")
    cells = [tuple(_cell(row[key]) for key in keys) for row in rows]
    head = tuple(key.removesuffix("_s").replace("_", " ") + (", s" if key.endswith("_s") else "") for key in keys)
    return Table("Rounds", head, cells, note)


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) or value is None else str(value)
