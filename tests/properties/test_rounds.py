"""Random histories of a job against the engine's invariants."""

from __future__ import annotations

from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.checkpoint import Saved
from fedcore.engine.engine import Engine
from fedcore.engine.reasons import EXIT_CODE, EndReason, Phase, Rejection
from fedcore.spec import Spec
from fedcore.wire.protocol import Hello, TaskKind, UpdateReport

INDEXES = st.integers(0, 4)
ATTEMPTS = st.integers(1, 3)
WAITS = st.sampled_from([0.0, 0.5, 0.5, 3.0, 3.0, 16.0, 70.0])
RARELY = st.sampled_from([True] + [False] * 5)
ALL = frozenset({TaskKind.TRAIN, TaskKind.EVALUATE, TaskKind.INIT})
KINDS = st.sampled_from([frozenset({TaskKind.TRAIN}), ALL, ALL])


class Rounds(RuleBasedStateMachine):
    """Registers, asks, submits, loses, restarts and resizes at random; keeps a log of all events to replay."""

    @initialize(
        replicas=st.integers(1, 5),
        rounds=st.integers(1, 4),
        percent=st.sampled_from([1, 50, 75, 100]),
        grace=st.sampled_from([None, 0, 5]),
        policy=st.sampled_from(["fixed", "aimd", "deadline"]),
        loss=st.sampled_from([0, 40, 900]),
        warm=st.sampled_from([True, True, True, False]),
    )
    def begin(self, replicas, rounds, percent, grace, policy, loss, warm):
        quorum = {"percent": percent, "roundTimeoutSeconds": 60, "lossGracePeriodSeconds": loss}
        if grace is not None:
            quorum["graceSeconds"] = grace
        self.spec = Spec.model_validate(
            {
                "rounds": rounds,
                "task": {"entrypoint": "a:b"},
                "workers": {"replicas": replicas},
                "quorum": quorum,
                "workload": {"policy": policy, "epochs": 2},
                "startupDeadlineSeconds": 300,
            }
        )
        self.now = 10.0
        self.tickets = count(1)
        self.uploads = count(1)
        self.open_tickets: set[int] = set()
        self.counted: dict[int, list[str]] = {}
        self.closed: list[int] = []
        self.ends: list[ef.Finish] = []
        self.pending: ef.WriteVersion | ef.AdoptInitial | None = None
        self.checkpoints: dict[int, dict] = {}
        self.shut = False
        self._boot(None)
        if warm:
            self.everybody_arrives()
            self.somebody_works(0, 1)
            self.disk_answers(works=True)

    def _boot(self, saved):
        self.origin = (self.spec, self.now, saved)
        self.history: list[tuple[ev.Event, float]] = []
        self.said: list[ef.Effect] = []
        self.engine = Engine(self.spec, "run", self.now, saved=saved)
        self.open_tickets.clear()
        self.pending = None
        self._take(self.engine.start(self.now))

    def _send(self, event):
        self.history.append((event, self.now))
        self._take(self.engine.handle(event, self.now))

    def _take(self, effects):
        self.said += effects
        for effect in effects:
            match effect:
                case ef.Answer(ticket, _):
                    assert ticket in self.open_tickets, "answered twice, or never asked"
                    self.open_tickets.remove(ticket)
                case ef.Merge(_, worker, _):
                    assert self.engine.round_open or self.pending is None
                    workers = self.counted.setdefault(self.engine.current_round, [])
                    assert worker not in workers, "at most one count per (worker, round)"
                    workers.append(worker)
                case ef.WriteVersion(version, checkpoint):
                    assert self.pending is None
                    assert version == len(self.closed) + 1
                    self.pending = effect
                    self.checkpoints[version] = dict(checkpoint)
                case ef.AdoptInitial(_, checkpoint):
                    assert self.pending is None
                    self.pending = effect
                    self.checkpoints[0] = dict(checkpoint)
                case ef.Record("round_closed", fields) if fields["outcome"] != "aborted":
                    assert fields["accepted"] >= fields["required"]
                    assert fields["accepted"] <= fields["participants"]
                    assert fields["accepted"] == len(self.counted[fields["round"]])
                    self.closed.append(fields["round"])
                case ef.Finish():
                    self.ends.append(effect)
                case ef.Shutdown():
                    assert self.ends
                    assert not self.shut
                    self.shut = True

    def _call(self, make):
        ticket = next(self.tickets)
        self.open_tickets.add(ticket)
        self._send(make(ticket))

    @rule(wait=WAITS)
    def time_passes(self, wait):
        until = self.now + wait
        for _ in range(1000):
            deadline = self.engine.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self._send(ev.Tick())
            again = self.engine.next_deadline()
            assert again is None or again > self.now, "a deadline that passed must move"
        self.now = until

    @rule(index=INDEXES, attempt=ATTEMPTS, process=st.integers(1, 2), kinds=KINDS, samples=st.sampled_from([10, 10, 10, 0]))
    def register(self, index, attempt, process, kinds, samples):
        hello = Hello(
            protocol="1",
            name=f"w{index}",
            index=index,
            attempt=attempt,
            instance=f"{index}.{attempt}.{process}",
            samples=samples,
            tasks=kinds,
        )
        self._call(lambda ticket: ev.Registered(ticket, hello, f"{index}.{attempt}"))

    @rule()
    def everybody_arrives(self):
        for index in range(self.engine.spec.workers.replicas):
            self.register(index, 1, 1, ALL, 10)

    @precondition(lambda self: self.engine.members.live_count > 0)
    @rule(pick=st.integers(0, 4), times=st.sampled_from([1, 1, 2]))
    def somebody_works(self, pick, times):
        """Ask as a worker does, and answer the task that is at hand; sometimes twice, as after a lost answer."""
        live = list(self.engine.members.live())
        session = live[pick % len(live)].session
        self._call(lambda ticket: ev.TaskAsked(session, ticket, 5.0))
        number, base = self.engine.current_round, self.engine.base
        for _ in range(times):
            report = UpdateReport(
                base=base, samples=10, metrics={"accuracy": 0.5}, eval_samples=4, seconds=1.0, upload=f"u{next(self.uploads)}"
            )
            self._call(lambda ticket: ev.Submitted(session, ticket, number, report, 100))  # noqa: B023 - called at once

    @rule(index=INDEXES, attempt=ATTEMPTS)
    def ask(self, index, attempt):
        self._call(lambda ticket: ev.TaskAsked(f"{index}.{attempt}", ticket, 5.0))

    @rule(index=INDEXES, attempt=ATTEMPTS, number=st.integers(0, 5), done=st.floats(0, 1))
    def beat(self, index, attempt, number, done):
        self._call(lambda ticket: ev.HeartbeatReceived(f"{index}.{attempt}", ticket, number, done, 5.0))

    @rule(
        index=INDEXES,
        attempt=ATTEMPTS,
        behind=st.sampled_from([0, 0, 0, 0, 1]),
        wrong_base=st.sampled_from([False, False, False, True]),
        rejection=st.sampled_from([None, None, None, Rejection.NON_FINITE]),
        samples=st.sampled_from([10, 10, 3, 0, 11]),
        declined=st.sampled_from(["", "", "", "busy"]),
    )
    def submit(self, index, attempt, behind, wrong_base, rejection, samples, declined):
        number = max(self.engine.current_round - behind, 0)
        base = "nonsense" if wrong_base else "" if self.engine.version is None else f"base{number - 1}"
        report = UpdateReport(
            base=base,
            samples=samples,
            metrics={"accuracy": 0.5},
            eval_samples=4,
            seconds=1.0,
            upload=f"u{next(self.uploads)}",
            declined=declined,
        )
        self._call(lambda ticket: ev.UploadOffered(f"{index}.{attempt}", ticket, number, base, 100))
        self._call(lambda ticket: ev.Submitted(f"{index}.{attempt}", ticket, number, report, 100, rejection))

    @rule(index=INDEXES, attempt=ATTEMPTS)
    def measure(self, index, attempt):
        report = UpdateReport(base=self.engine.base, metrics={"accuracy": 0.5}, eval_samples=4)
        self._call(lambda ticket: ev.Submitted(f"{index}.{attempt}", ticket, self.engine.version or 0, report))

    @rule(index=INDEXES, attempt=ATTEMPTS, really=RARELY)
    def leave(self, index, attempt, really):
        if really:
            self._call(lambda ticket: ev.Left(f"{index}.{attempt}", ticket, "drained"))

    @precondition(lambda self: self.pending is not None)
    @rule(works=st.sampled_from([True] * 19 + [False]))
    def disk_answers(self, works):
        version = self.pending.version if isinstance(self.pending, ef.WriteVersion) else 0
        self.pending = None
        self._send(ev.VersionWritten(version, f"base{version}", 100) if works else ev.WriteFailed("no space left"))

    @rule(replicas=st.integers(1, 5), more_rounds=st.integers(0, 1), really=RARELY)
    def change(self, replicas, more_rounds, really):
        if not really:
            return
        spec = self.engine.spec
        self.spec = spec.model_copy(
            update={"workers": spec.workers.model_copy(update={"replicas": replicas}), "rounds": spec.rounds + more_rounds}
        )
        self._send(ev.SpecChanged(self.spec))

    @rule(index=INDEXES, really=RARELY)
    def gone(self, index, really):
        if really:
            self._send(ev.WorkerGone(index, "budget spent"))

    @precondition(lambda self: self.engine.version is not None and not self.ends)
    @rule()
    def coordinator_dies(self):
        """Restart from the newest durable version: the open round collects anew."""
        version = self.engine.version
        self.counted = {number: workers for number, workers in self.counted.items() if number <= version}
        self._boot(Saved.from_json({**self.checkpoints[version], "base": f"base{version}", "size_bytes": 100}))

    @invariant()
    def open_rounds_have_deadlines(self):
        if self.engine.round_open:
            assert self.engine.next_deadline() is not None

    @invariant()
    def every_wait_ends(self):
        if not self.shut and self.pending is None:
            assert self.engine.next_deadline() is not None

    @invariant()
    def terminal_is_terminal(self):
        assert len(self.ends) <= 1
        if self.ends:
            end = self.ends[0]
            assert self.engine.end is end
            assert self.engine.phase is (Phase.SUCCEEDED if end.reason is EndReason.COMPLETED else Phase.FAILED)
            assert end.exit_code == EXIT_CODE[end.reason]

    @invariant()
    def nobody_beyond_the_declared_size_is_live(self):
        live = list(self.engine.members.live())
        assert all(worker.index < self.engine.spec.workers.replicas for worker in live)
        assert len(live) == self.engine.members.live_count

    def teardown(self):
        """Replaying the same events gives the same effects."""
        if not hasattr(self, "origin"):
            return
        spec, now, saved = self.origin
        twin = Engine(spec, "run", now, saved=saved)
        said = twin.start(now)
        for event, at in self.history:
            said += twin.handle(event, at)
            twin.next_deadline()
        assert said == self.said


Rounds.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestRounds = Rounds.TestCase
