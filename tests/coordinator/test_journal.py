from __future__ import annotations

import csv
import errno
import io
import json
import os
import resource
from contextlib import suppress

import pytest

from fedcore.coordinator.journal import Journal
from fedcore.report.rundir import EVENTS, read_events
from fedcore.report.tables import ROUND_COLUMNS, UPDATE_COLUMNS, Tables

UPDATE = {
    "round": 1, "worker": "worker-0", "attempt": 1, "result": "accepted", "reason": "", "round_trip_s": 0.5, "train_s": 0.25,
    "epochs": 1.0, "samples": 100, "bytes": 4000, "staleness_rounds": 0, "base_version": 0, "train_loss": 0.5,
    "eval_samples": 10, "metrics": {"loss": 2.0},
}  # fmt: skip
CLOSED = {"outcome": "full", "duration_s": 1.0, "participants": 1, "required": 1, "accepted": 1, "stragglers": 0, "quorum_wait_s": 0.0}


@pytest.fixture
def open_journal(tmp_path):
    made = []

    def start(**options):
        made.append(Journal(tmp_path, **options))
        return made[-1]

    yield start
    for journal in made:
        journal.close()


def play(journal, rounds):
    """Append what happens in these rounds."""
    for number in rounds:
        journal.append("round_opened", {"round": number, "version": number - 1, "participants": 1, "required": 1, "bytes_sent": 0})
        journal.append("task_sent", {"round": number, "worker": "worker-0", "attempt": 1, "epochs": 1.0, "evaluate": True})
        journal.append("update", {**UPDATE, "round": number})
        journal.append("round_closed", {**CLOSED, "round": number})
        journal.append("checkpoint_written", {"version": number, "duration_s": 0.01, "aggregation_s": 0.02, "bytes": 9, "base": "ab"})


def rows(path, columns):
    reader = csv.reader(io.StringIO(path.read_text()))
    assert next(reader) == list(columns)
    return list(reader)


def folded(tmp_path, table):
    """Rows of a table as a fold of events.jsonl gives them: their keys are enough to tell them apart."""
    tables = Tables()
    out = [row.values for event in read_events(tmp_path / EVENTS) for row in tables.feed(event) if row.table == table]
    return [(str(values["round"]), str(values["resume"])) for values in out]


def keys(tmp_path, table, columns):
    at = columns.index("round"), columns.index("resume")
    return [(row[at[0]], row[at[1]]) for row in rows(tmp_path / f"{table}.csv", columns)]


def check_tables(tmp_path):
    assert keys(tmp_path, "rounds", ROUND_COLUMNS) == folded(tmp_path, "rounds")
    assert keys(tmp_path, "updates", UPDATE_COLUMNS) == folded(tmp_path, "updates")


def test_events_are_numbered_lines_in_order(open_journal, tmp_path):
    journal = open_journal()
    returned = [journal.append("run_started", {"run_id": "r"}), journal.append("listening", {"url": "http://ä"})]
    lines = [json.loads(line) for line in (tmp_path / EVENTS).read_bytes().splitlines()]
    assert lines == returned
    assert [(line["seq"], line["resume"], line["event"]) for line in lines] == [(0, 0, "run_started"), (1, 0, "listening")]
    assert lines[1]["url"] == "http://ä"
    assert lines[0]["time"].endswith("Z")
    assert journal.past == []


def test_what_cannot_be_json_is_no_line(open_journal, tmp_path):
    journal = open_journal()
    with pytest.raises(ValueError, match="JSON compliant"):
        journal.append("update", {"train_loss": float("inf")})
    assert (tmp_path / EVENTS).read_bytes() == b""


def test_resume_counts_and_numbers_go_on(open_journal, tmp_path):
    for resume in range(3):
        journal = open_journal()
        assert journal.resume == resume
        assert journal.last_resume == (resume - 1 if resume else None)
        assert [event["seq"] for event in journal.past] == list(range(2 * resume))
        journal.append("listening", {})
        journal.append("worker_left", {})
    events = list(read_events(tmp_path / EVENTS))
    assert [(event["seq"], event["resume"]) for event in events] == [(number, number // 2) for number in range(6)]


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(b"{", id="one byte"),
        pytest.param(b'{"time":"2026-', id="half a line"),
        pytest.param(b'{"event":"update","seq":2}', id="a whole line but its end"),
        pytest.param(bytes(4096), id="zeros of a block that was never written"),
        pytest.param(b'{"event":"' + b"x" * 200_000, id="longer than one step back"),
    ],
)
def test_torn_last_line_is_cut_off(open_journal, tmp_path, torn):
    journal = open_journal()
    journal.append("run_started", {"run_id": "r"})
    journal.close()
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole + torn)
    resumed = open_journal()
    assert (tmp_path / EVENTS).read_bytes() == whole
    resumed.append("coordinator_resumed", {})
    assert [event["seq"] for event in read_events(tmp_path / EVENTS)] == [0, 1]


def test_log_that_is_one_torn_line_begins_anew(open_journal, tmp_path):
    (tmp_path / EVENTS).write_bytes(b'{"event":"run_st')
    journal = open_journal()
    assert (journal.resume, journal.past) == (0, [])
    journal.append("run_started", {})
    assert [event["event"] for event in read_events(tmp_path / EVENTS)] == ["run_started"]


def test_tables_equal_a_fold_of_the_events(open_journal, tmp_path):
    journal = open_journal()
    play(journal, [1, 2, 3])
    check_tables(tmp_path)
    assert len(keys(tmp_path, "rounds", ROUND_COLUMNS)) == 2
    assert len(keys(tmp_path, "updates", UPDATE_COLUMNS)) == 3


def test_tables_are_written_anew_at_a_resume(open_journal, tmp_path):
    play(open_journal(), [1, 2])
    before = {name: (tmp_path / name).read_bytes() for name in ("rounds.csv", "updates.csv")}
    for name in before:
        with (tmp_path / name).open("a") as file:
            file.write("7,7,a torn ro")
    resumed = open_journal()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    play(resumed, [3])
    resumed.append("run_finished", {"phase": "Succeeded", "reason": "Completed", "message": "", "exit_code": 0})
    check_tables(tmp_path)
    assert keys(tmp_path, "rounds", ROUND_COLUMNS) == [("1", "0"), ("2", "0"), ("3", "1")]


def test_line_for_a_crashed_predecessor_bears_its_resume(open_journal, tmp_path):
    open_journal().append("run_started", {})
    open_journal().append("round_closed", {**CLOSED, "round": 1}, resume=0)
    assert [event["resume"] for event in read_events(tmp_path / EVENTS)] == [0, 0]


# -- who watches ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    open_ends = {reading, writing}

    def close(end):
        open_ends.discard(end)
        os.close(end)

    yield reading, writing, close
    for end in open_ends:
        os.close(end)


def test_each_line_is_mirrored(open_journal, tmp_path, pipe):
    reading, writing, _ = pipe
    journal = open_journal(mirror=writing)
    play(journal, [1])
    assert os.read(reading, 65_536) == (tmp_path / EVENTS).read_bytes()


def test_full_pipe_costs_the_watcher_lines_and_nobody_else(open_journal, tmp_path, pipe):
    reading, writing, _ = pipe
    journal = open_journal(mirror=writing)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    play(journal, range(1, 11))
    assert len(list(read_events(tmp_path / EVENTS))) == 50
    with suppress(BlockingIOError):
        while True:
            os.read(reading, 65_536)
    last = journal.append("listening", {})
    assert json.loads(os.read(reading, 65_536)) == last


def test_watcher_that_went_away_is_forgotten(open_journal, tmp_path, pipe):
    reading, writing, close = pipe
    journal = open_journal(mirror=writing)
    close(reading)
    play(journal, [1, 2])
    assert len(list(read_events(tmp_path / EVENTS))) == 10


# -- a disk that is full ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def limit():
    """Limit how long files may become: as good as a full disk, since a write that crosses the limit is short too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_to(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield set_to
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_line_that_does_not_fit_leaves_no_half_of_it(open_journal, tmp_path, limit):
    journal = open_journal()
    journal.append("run_started", {})
    size = (tmp_path / EVENTS).stat().st_size
    limit(size + 50)
    with pytest.raises(OSError) as raised:
        journal.append("update", UPDATE)
    assert raised.value.errno == errno.EFBIG
    assert (tmp_path / EVENTS).stat().st_size == size
    limit(resource.RLIM_INFINITY)
    journal.append("run_finished", {"phase": "Failed"})
    assert [event["event"] for event in read_events(tmp_path / EVENTS)] == ["run_started", "run_finished"]


def test_tables_that_did_not_fit_are_whole_after_the_next_start(open_journal, tmp_path):
    journal = open_journal()
    play(journal, [1])
    full = os.open("/dev/full", os.O_WRONLY)
    for file in journal._tables._files.values():
        os.dup2(full, file.fileno())
    os.close(full)
    with pytest.raises(OSError, match="No space left"):
        journal.append("update", UPDATE)
    journal.close()
    play(open_journal(), [2])
    check_tables(tmp_path)
    assert len(keys(tmp_path, "updates", UPDATE_COLUMNS)) == 3
