"""What a run's metrics say after faults, against what it has written down."""

from __future__ import annotations

import re
from collections import Counter

from support.scraped import scrape_until


def counted(seen, name, label):
    """Return the values of a counter that are not 0."""
    return {key: value for key, value in seen.by(name, label).items() if value}


def test_counters_of_a_resumed_coordinator_are_what_it_wrote_itself(runs):
    runs.environment["FEDCORE_METRICS_MONITORED"] = "1"
    fields = {"spec.rounds": 6, "spec.workers.replicas": 4, "spec.quorum.percent": 75, "spec.quorum.graceSeconds": 0}
    process = runs.start(fields, "--kill", "worker-2@2", "--kill", "coordinator@3", "--slow", "worker-3=6")
    url = re.search(r"metrics=(http://\S+)/metrics", runs.wait_for(process, "run_started"))[1]
    last = scrape_until(url, lambda seen: seen.value("fedcore_run_end_timestamp_seconds"), 60)
    done = runs.finish(process)
    assert done.exit_code == 0, done.stderr
    assert last.one("fedcore_finished", "reason") == done.summary["reason"] == "Completed"
    assert last.value("fedcore_coordinator_restarts") == done.summary["coordinator_restarts"] == 1
    own = [row for row in done.updates if row["resume"] == "1"]
    assert {key: value for key, value in last.by("fedcore_updates_total", "result").items() if value} == Counter(
        row["result"] for row in own
    )
    closed = [event for event in done.named("round_closed") if event["resume"] == 1]
    assert counted(last, "fedcore_rounds_total", "outcome") == Counter(event["outcome"] for event in closed)
    trips = [float(row["round_trip_s"]) for row in own if row["result"] == "accepted" and row["round_trip_s"]]
    assert last.value("fedcore_worker_round_trip_seconds_count", result="accepted") == len(trips)
    assert abs(last.value("fedcore_worker_round_trip_seconds_sum", result="accepted") - sum(trips)) < 1e-6
    given_up = [event for event in done.named("task_superseded") if event["resume"] == 1]
    assert last.value("fedcore_worker_round_trip_seconds_count", result="superseded") == len(given_up)
    assert last.value("fedcore_samples_total") == sum(int(row["samples"]) for row in own if row["result"] == "accepted")
    assert last.value("fedcore_stragglers_total") == sum(event["stragglers"] for event in closed)
    assert last.value("fedcore_eval_loss") == done.summary["metrics"]["loss"]
    assert last.value("fedcore_eval_version") == last.value("fedcore_current_round") == done.summary["rounds_completed"] == 6
    assert last.value("fedcore_last_round_accepted_updates") == int(done.rounds[-1]["accepted"])
    end = done.named("run_finished")[0]
    assert last.by("fedcore_payload_bytes_total", "direction") == {"sent": end["bytes_sent"], "received": end["bytes_received"]}
    registered = Counter(event["kind"] for event in done.named("worker_registered") if event["resume"] == 1)
    assert counted(last, "fedcore_worker_registrations_total", "kind") == registered
    last.assert_clean()
