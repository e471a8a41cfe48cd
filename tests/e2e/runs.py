"""What a coordinator wrote on its volume, read by a pod once the job has ended, and what must hold in it."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.e2e.jobs import Job
from tests.e2e.pods import Pod, run

CLAIM = {"spec": {"storageClassName": "local", "resources": {"requests": {"storage": "10Mi"}}}}
"""For ``coordinator.checkpoint.volumeClaimTemplate``."""


@dataclass(frozen=True)
class Run:
    """The events of a run, over all its coordinators."""

    events: list[dict[str, Any]]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Those of some kinds."""
        return [one for one in self.events if one["event"] in kinds]

    def check(self, rounds: int) -> None:
        """Check that nothing that was counted is lost, and nothing is counted twice."""
        assert [one["seq"] for one in self.events] == list(range(len(self.events))), "one writer, and no line lost"
        closed = self.of("round_closed")
        assert [one["round"] for one in closed] == list(range(1, rounds + 1)), "each round closes once, in order"
        accepted: Counter[tuple[int, int]] = Counter()
        attempts: dict[str, int] = defaultdict(int)
        seen: set[tuple[int, int, str]] = set()
        for one in self.of("update"):
            if one["result"] != "accepted":
                continue
            place = (one["round"], one["resume"], one["worker"])
            assert place not in seen, f"counted twice: {one}"
            seen.add(place)
            accepted[place[:2]] += 1
            assert one["attempt"] >= attempts[one["worker"]], f"an attempt that was replaced is counted: {one}"
            attempts[one["worker"]] = one["attempt"]
        for one in closed:
            assert one["accepted"] == accepted[one["round"], one["resume"]] >= one["required"], f"an update is lost: {one}"

    def resumed(self) -> list[tuple[int, int]]:
        """For each coordinator but the first: the round that was closed last before it, and the one it began with."""
        found: list[tuple[int, int]] = []
        last = 0
        for one in self.of("round_closed", "coordinator_resumed"):
            if one["event"] == "coordinator_resumed":
                found.append((last, one["round"]))
            else:
                last = one["round"]
        return found

    def reopened(self) -> int:
        """How many rounds were opened more than once: what faults have cost."""
        return sum(count - 1 for count in Counter(one["round"] for one in self.of("round_opened")).values())

    def next_close(self, at: float) -> float:
        """Seconds from a moment to the next end of a round that a later coordinator than the one of that moment closed."""
        resume = max((one["resume"] for one in self.events if moment(one["time"]) <= at), default=0)
        return min(moment(one["time"]) for one in self.of("round_closed") if one["resume"] > resume) - at


def moment(text: str) -> float:
    """Seconds since 1970 of a time in an event."""
    return datetime.fromisoformat(text).timestamp()


def read_run(job: Job, image: str) -> Run:
    """Read the events that the job's coordinators left on the claim; the job must have ended."""
    name = f"{job.name}-reader"
    script = f"import pathlib\nfor file in pathlib.Path('/claim').glob('{job.name}-*/events.jsonl'): print(file.read_text(), end='')"
    reader = Pod(name, image, ["python", "-c", script], claim=f"{job.name}-checkpoint")
    ended = run(job.cluster, job.namespace, reader)
    assert ended.exit_code == 0, ended.log
    return Run([json.loads(line) for line in ended.log.splitlines()])
