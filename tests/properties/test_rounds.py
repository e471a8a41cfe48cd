"""Random histories of a job against the engine's invariants, and against a model of what the rules ask for.

FEDCORE_HYPOTHESIS_EXAMPLES sets how many histories; ``--hypothesis-show-statistics`` tells how many rounds they closed.
"""

from __future__ import annotations

import math
import os
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import event as note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.checkpoint import Saved
from fedcore.engine.engine import Engine
from fedcore.engine.reasons import EXIT_CODE, EndReason, Phase, Rejection
from fedcore.engine.state import Stage
from fedcore.spec import Spec
from fedcore.wire.protocol import Hello, TaskKind, UpdateReport, Welcome

EXAMPLES = int(os.environ.get("FEDCORE_HYPOTHESIS_EXAMPLES", "150"))
INDEXES = st.integers(0, 4)
ATTEMPTS = st.integers(1, 3)
WAITS = st.sampled_from([0.0, 0.5, 0.5, 3.0, 3.0, 16.0, 70.0])
RARELY = st.sampled_from([True] + [False] * 5)
ALMOST_NEVER = st.sampled_from([True] + [False] * 29)
"""For what ends a job: a history that ends early closes no rounds."""
ALL = frozenset({TaskKind.TRAIN, TaskKind.EVALUATE, TaskKind.INIT})
KINDS = st.sampled_from([frozenset({TaskKind.TRAIN}), ALL, ALL])


class Rounds(RuleBasedStateMachine):
    """Registers, asks, submits, loses, restarts and resizes at random; keeps a log of all events to replay."""

    @initialize(
        replicas=st.integers(1, 5),
        rounds=st.integers(1, 4),
        percent=st.sampled_from([1, 50, 75, 75, 100]),
        least=st.sampled_from([1, 1, 1, 2]),
        grace=st.sampled_from([None, 0, 5]),
        policy=st.sampled_from(["fixed", "aimd", "deadline"]),
        loss=st.sampled_from([0, 40, 900]),
        warm=st.sampled_from([True, True, True, False]),
    )
    def begin(self, replicas, rounds, percent, least, grace, policy, loss, warm):
        quorum = {"percent": percent, "minWorkers": min(least, replicas), "roundTimeoutSeconds": 60, "lossGracePeriodSeconds": loss}
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
        self.replies: dict[int, ef.Reply] = {}
        self.counted: dict[int, list[str]] = {}
        self.samples: dict[int, int] = {}
        self.gone_for_good: set[int] = set()
        self.lost_since: float | None = None
        self.lost_before = 0.0
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

    def _boot(self, saved, lost_seconds=0.0):
        self.origin = (self.spec, self.now, saved, lost_seconds)
        self.history: list[tuple[ev.Event, float]] = []
        self.said: list[ef.Effect] = []
        self.engine = Engine(self.spec, "run", self.now, saved=saved, lost_seconds=lost_seconds)
        self.open_tickets.clear()
        self.gone_for_good.clear()
        self.decided = False
        self.pending = None
        self._take(self.engine.start(self.now))

    # -- the model: what the rules say, told from the job file and from what was said ---------------------------------------------------

    @property
    def required(self):
        """Share of the *declared* workers, rounded up, and never below the floor."""
        quorum = self.spec.quorum
        return max(quorum.min_workers, math.ceil(Fraction(quorum.percent, 100) * self.spec.workers.replicas))

    @property
    def lost_seconds(self):
        return 0.0 if self.lost_since is None else self.lost_before + self.now - self.lost_since

    def _judge_close(self, fields):
        number = fields["round"]
        assert fields["required"] == self.required
        assert self.required <= fields["accepted"] <= fields["participants"]
        assert fields["accepted"] == len(self.counted[number])
        assert fields["samples"] == self.samples[number]

    def _judge_end(self, reason):
        """See that there is cause, at the moment of the decision: while a version is being written, the end itself comes later."""
        match reason:
            case EndReason.COMPLETED:
                assert self.engine.version == self.spec.rounds == len(self.closed)
            case EndReason.QUORUM_LOST:
                assert 0 < self.spec.quorum.loss_grace_period_seconds <= self.lost_seconds + 1e-6
            case EndReason.QUORUM_UNREACHABLE:
                assert self._can_still_come < self.required

    @property
    def _can_still_come(self):
        return self.spec.workers.replicas - len([index for index in self.gone_for_good if index < self.spec.workers.replicas])

    # -- what the engine says -----------------------------------------------------------------------------------------------------------

    def _send(self, event):
        self.history.append((event, self.now))
        self._take(self.engine.handle(event, self.now))

    def _take(self, effects):
        self.said += effects
        for effect in effects:
            match effect:
                case ef.Answer(ticket, reply):
                    assert ticket in self.open_tickets, "answered twice, or never asked"
                    self.open_tickets.remove(ticket)
                    self.replies[ticket] = reply
                    if isinstance(reply, Welcome) and self.registering:
                        self.gone_for_good.discard(reply.index)
                case ef.Merge(_, worker, samples):
                    assert self.engine.round_open or self.pending is None
                    workers = self.counted.setdefault(self.engine.current_round, [])
                    assert worker not in workers, "at most one count per (worker, round)"
                    workers.append(worker)
                    self.samples[self.engine.current_round] = self.samples.get(self.engine.current_round, 0) + samples
                case ef.WriteVersion(version, checkpoint):
                    assert self.pending is None
                    assert version == len(self.closed) + 1
                    closing = [fields for name, fields in checkpoint["closed"] if name == "round_closed"]
                    assert [fields["round"] for fields in closing] == [version]
                    self._judge_close(closing[0])
                    self.pending = effect
                    self.checkpoints[version] = dict(checkpoint)
                case ef.AdoptInitial(_, checkpoint):
                    assert self.pending is None
                    self.pending = effect
                    self.checkpoints[0] = dict(checkpoint)
                case ef.Record("round_closed", fields) if fields["outcome"] != "aborted":
                    self.closed.append(fields["round"])
                case ef.Record("round_opened" | "round_deadline_missed", fields):
                    assert fields["required"] == self.required
                case ef.Record("spec_changed", fields):
                    assert fields == {"rounds": self.spec.rounds, "workers": self.spec.workers.replicas, "required": self.required}
                case ef.Record("quorum_lost", fields):
                    assert fields["required"] == self.required
                    assert self.lost_since is None, "lost twice"
                    self.lost_since, self.lost_before = self.now, 0.0
                case ef.Record("quorum_regained", fields):
                    assert fields["lost_s"] == pytest.approx(self.lost_seconds, abs=2e-3)
                    self.lost_since = None
                case ef.Finish():
                    if not self.decided:
                        self._judge_end(effect.reason)
                    self.ends.append(effect)
                case ef.Shutdown():
                    assert self.ends
                    assert not self.shut
                    self.shut = True

        if self.engine._pending_end is not None and not self.decided:
            self.decided = True
            self._judge_end(self.engine._pending_end[0])

    def _call(self, make):
        ticket = next(self.tickets)
        self.open_tickets.add(ticket)
        self._send(make(ticket))
        return self.replies.get(ticket)

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
            eval_samples=4,
            tasks=kinds,
        )
        self.registering = samples
        self._call(lambda ticket: ev.Registered(ticket, hello, f"{index}.{attempt}"))

    @rule()
    def everybody_arrives(self):
        for index in range(self.spec.workers.replicas):
            if not (worker := self.engine.members.at(index)) or not worker.live:
                self.register(index, self.engine.members.attempts.get(index, 1), 1, ALL, 10)

    @precondition(lambda self: self.engine.members.live_count > 0)
    @rule(pick=st.integers(0, 4), times=st.sampled_from([1, 1, 2]))
    def somebody_works(self, pick, times):
        """Ask as a worker does, and answer the task that is at hand; sometimes twice, as after a lost answer."""
        live = list(self.engine.members.live())
        self._work(live[pick % len(live)], times)

    @precondition(lambda self: self.engine.members.live_count > 0)
    @rule(times=st.sampled_from([1, 1, 2]))
    def everybody_works(self, times):
        """Let whoever lives answer what there is to do: the open round closes if they are enough, and only then."""
        for worker in list(self.engine.members.live()):
            self._work(worker, times)

    @rule()
    def a_round_goes_well(self):
        self.everybody_arrives()
        self.everybody_works(1)
        if self.pending is not None:
            self.disk_answers(works=True)

    def _work(self, worker, times):
        self._call(lambda ticket: ev.TaskAsked(worker.session, ticket, 5.0))
        number, base = self.engine.current_round, self.engine.base
        for _ in range(times):
            report = UpdateReport(
                base=base, samples=10, metrics={"accuracy": 0.5}, eval_samples=4, seconds=1.0, upload=f"u{next(self.uploads)}"
            )
            if self.engine.stage is Stage.MEASURING:
                report = report.model_copy(update={"upload": ""})
            self._call(lambda ticket: ev.Submitted(worker.session, ticket, number, report, 100))  # noqa: B023 - called at once

    @precondition(lambda self: self.engine.members.live_count > 0)
    @rule(survivors=st.sets(INDEXES, max_size=4))
    def the_others_fall_silent(self, survivors):
        for _ in range(4):
            for index in survivors:
                worker = self.engine.members.at(index)
                if worker is not None and worker.live:
                    self._send(ev.Heard(worker.session))
            self.time_passes(4.0)

    @rule(index=INDEXES, attempt=ATTEMPTS)
    def hear(self, index, attempt):
        self._send(ev.Heard(f"{index}.{attempt}"))

    @rule(index=INDEXES, attempt=ATTEMPTS, number=st.integers(0, 4), really=RARELY)
    def body_is_refused(self, index, attempt, number, really):
        if really and (number or self.engine.stage is not Stage.INIT):  # refused first weights that are wanted end the job
            self._send(ev.UploadRefused(f"{index}.{attempt}", number, Rejection.LAYOUT, "w", 100))

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
    @rule(works=st.sampled_from([True] * 39 + [False]))
    def disk_answers(self, works):
        version = self.pending.version if isinstance(self.pending, ef.WriteVersion) else 0
        self.pending = None
        self._send(ev.VersionWritten(version, f"base{version}", 100) if works else ev.WriteFailed("no space left"))

    def _change(self, quorum=None, replicas=None, **fields):
        workers = self.spec.workers if replicas is None else self.spec.workers.model_copy(update={"replicas": replicas})
        quorum = {"min_workers": min(self.spec.quorum.min_workers, workers.replicas), **(quorum or {})}
        self.spec = self.spec.model_copy(update={"workers": workers, "quorum": self.spec.quorum.model_copy(update=quorum), **fields})
        self._send(ev.SpecChanged(self.spec))

    @rule(replicas=st.integers(1, 5), more_rounds=st.integers(0, 1), really=RARELY)
    def change_size(self, replicas, more_rounds, really):
        if really:
            self._change(replicas=replicas, rounds=self.spec.rounds + more_rounds)

    @rule(percent=st.sampled_from([1, 50, 75, 100]), timeout=st.sampled_from([30, 60, 90]), really=RARELY)
    def change_quorum(self, percent, timeout, really):
        if really:
            self._change(quorum={"percent": percent, "round_timeout_seconds": timeout})

    @rule(index=INDEXES, really=RARELY)
    def gone(self, index, really):
        if really:
            self.gone_for_good.add(index)
            self._send(ev.WorkerGone(index, "budget spent"))

    @precondition(lambda self: self.gone_for_good)
    @rule(data=st.data())
    def revived(self, data):
        index = data.draw(st.sampled_from(sorted(self.gone_for_good)))
        self.gone_for_good.discard(index)
        self._send(ev.WorkerRevived(index))

    @rule(really=ALMOST_NEVER)
    def end_is_asked(self, really):
        if really:
            self._send(ev.EndAsked(EndReason.NON_RETRYABLE_EXIT, "a worker cannot ever work"))

    @precondition(lambda self: self.engine.version is not None and not self.ends)
    @rule(really=st.sampled_from([True, False, False]))
    def coordinator_dies(self, really):
        """Restart from the newest durable version: the open round collects anew."""
        if not really:
            return
        version = self.engine.version
        self.counted = {number: workers for number, workers in self.counted.items() if number <= version}
        self.samples = {number: samples for number, samples in self.samples.items() if number <= version}
        lost = self.engine.quorum.lost_seconds(self.now)
        if self.lost_since is not None:
            self.lost_before, self.lost_since = max(self.lost_seconds, 0.001), self.now
            lost = max(lost, 0.001)
        self._boot(Saved.from_json({**self.checkpoints[version], "base": f"base{version}", "size_bytes": 100}), lost)

    @invariant()
    def open_rounds_have_deadlines(self):
        if self.engine.round_open:
            deadline = self.engine._deadline_at
            assert deadline is not None
            assert self.now <= deadline <= self.now + self.spec.quorum.round_timeout_seconds
            assert self.engine.next_deadline() <= deadline

    @invariant()
    def quorum_is_counted_over_the_declared_workers(self):
        assert self.engine.required == self.required
        if self.engine.round_open:
            assert self.engine.round.accepted == len(self.counted.get(self.engine.round.number, []))
        judged = self.engine.stage not in {Stage.STARTING, Stage.ENDED} and self.now >= self.engine._lenient_until
        if judged and self.engine.members.live_count < self.required:
            assert not self.engine.quorum.met
        if self.engine.stage not in {Stage.CLOSING, Stage.MEASURING, Stage.ENDED}:
            assert self._can_still_come >= self.required

    @invariant()
    def loss_clock_runs_while_the_quorum_is_lost_and_ends_the_job(self):
        if self.ends:
            return
        assert self.engine.quorum.met == (self.lost_since is None)
        assert self.engine.quorum.lost_seconds(self.now) == pytest.approx(self.lost_seconds, abs=1e-6)
        grace = self.spec.quorum.loss_grace_period_seconds
        if grace and self.engine.stage not in {Stage.CLOSING, Stage.MEASURING} and self.now >= self.engine._lenient_until:
            assert self.lost_seconds <= grace

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
        note(f"closed {len(self.closed)} rounds")
        spec, now, saved, lost_seconds = self.origin
        twin = Engine(spec, "run", now, saved=saved, lost_seconds=lost_seconds)
        said = twin.start(now)
        for event, at in self.history:
            said += twin.handle(event, at)
            twin.next_deadline()
        assert said == self.said


Rounds.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestRounds = Rounds.TestCase
TestRounds.pytestmark = [pytest.mark.timeout(600)]  # a broken invariant is shown by its shortest history, which takes a while to find
