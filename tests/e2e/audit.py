"""Calls of the API, counted by the API server itself: its audit log has a line for each."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass
class Call:
    """One call that was answered."""

    what: str
    """Verb and resource."""
    code: int
    at: datetime
    dry_run: bool


@dataclass
class Audit:
    """The log of what the service accounts of a namespace do."""

    folder: Path
    namespace: str
    _read: int = field(default=0, init=False)

    def arguments(self) -> list[str]:
        """Write the policy; return the arguments of the API server."""
        self.folder.mkdir(parents=True)
        rules = [{"level": "Metadata", "userGroups": [f"system:serviceaccounts:{self.namespace}"]}, {"level": "None"}]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"], "rules": rules}
        (self.folder / "policy.json").write_text(json.dumps(policy), "utf-8")
        return [f"--audit-policy-file={self.folder}/policy.json", f"--audit-log-path={self._log}", "--audit-log-maxsize=4096"]

    def since(self) -> list[Call]:
        """Return the calls since this was asked last. Watches count when they end."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        whole = text.rfind(b"\n") + 1
        self._read += whole
        return [_call(json.loads(line)) for line in text[:whole].splitlines()]

    @property
    def _log(self) -> Path:
        return self.folder / "audit.log"


def per_job(calls: list[Call], jobs: int, minutes: float = 1.0) -> dict[str, float]:
    """Return how many calls of each kind there were for each job (and minute), most frequent first.

    Those that a process makes whatever the number of jobs are one figure for it: Lease, its rights, discovery, watches, the list of jobs.
    """
    own = [call for call in calls if _is_own(call)]
    counted = Counter(call.what for call in calls if not _is_own(call)).most_common()
    rates = {what: round(count / jobs / minutes, 3) for what, count in counted}
    return {"all": round((len(calls) - len(own)) / jobs / minutes, 2)} | rates | {"of_the_process": round(len(own) / minutes, 1)}


def _is_own(call: Call) -> bool:
    verb, _, resource = call.what.partition(" ")
    return resource in {"", "leases", "selfsubjectaccessreviews"} or verb == "watch" or call.what == "list federatedjobs"


def most_creations_in_a_second(calls: list[Call]) -> int:
    """Return the most objects that were made within any second; events, which tell of something, are not counted."""
    times = sorted(call.at.timestamp() for call in calls if _makes(call))
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def _makes(call: Call) -> bool:
    return call.what.startswith("create ") and not call.what.startswith("create events") and not call.dry_run


def _call(event: dict[str, object]) -> Call:
    reference = event.get("objectRef") or {}
    assert isinstance(reference, dict)
    resource = "/".join(part for part in (str(reference.get("resource", "")), str(reference.get("subresource", ""))) if part)
    dry_run = "dryRun=" in str(event["requestURI"])
    answer = event.get("responseStatus") or {}
    assert isinstance(answer, dict)
    what = f"{event['verb']} {resource}" + (" (dry run)" if dry_run else "")
    at = datetime.fromisoformat(str(event["requestReceivedTimestamp"]))
    return Call(what, int(answer.get("code", 0)), at, dry_run)
