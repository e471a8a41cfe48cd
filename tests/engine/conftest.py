"""A job in a bottle: the engine with workers that are lines of a test, and a clock that is a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from fedcore.engine import effects as ef
from fedcore.engine import events as ev
from fedcore.engine.engine import Engine
from fedcore.spec import Spec
from fedcore.wire.protocol import Hello, TaskKind, UpdateReport

ALL_KINDS = frozenset({TaskKind.TRAIN, TaskKind.EVALUATE, TaskKind.INIT})


def make_spec(replicas: int = 4, rounds: int = 3, **parts: Any) -> Spec:
    return Spec.model_validate(
        {"rounds": rounds, "task": {"entrypoint": "a:b"}, "workers": {"replicas": replicas}, **parts},
    )


@dataclass
class Bottle:
    """Drives one engine, and keeps what it said."""

    spec: Spec
    now: float = 100.0
    saved: Any = None
    lost_seconds: float = 0.0
    writes: bool = True
    """Whether versions become durable at once."""
    engine: Engine = field(init=False)
    answers: dict[int, Any] = field(default_factory=dict)
    records: list[ef.Record] = field(default_factory=list)
    effects: list[ef.Effect] = field(default_factory=list)
    versions: dict[int, dict[str, Any]] = field(default_factory=dict)
    merged: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self):
        self._tickets = count(1)
        self.engine = Engine(self.spec, "run", self.now, saved=self.saved, lost_seconds=self.lost_seconds)
        self._take(self.engine.start(self.now))

    def send(self, event):
        self._take(self.engine.handle(event, self.now))

    def _take(self, effects):
        self.effects += effects
        for effect in effects:
            match effect:
                case ef.Answer(ticket, reply):
                    assert ticket not in self.answers, "a call is answered once"
                    self.answers[ticket] = reply
                case ef.Record():
                    self.records.append(effect)
                case ef.Merge(_, worker, _):
                    self.merged.append((self.engine.current_round, worker))
                case ef.AdoptInitial(_, checkpoint):
                    self.versions[0] = dict(checkpoint)
                    if self.writes:
                        self.written(0)
                case ef.WriteVersion(version, checkpoint):
                    self.versions[version] = dict(checkpoint)
                    if self.writes:
                        self.written(version)

    def written(self, version):
        self.send(ev.VersionWritten(version, f"base{version}", 1000))

    def wait(self, seconds):
        """Let time pass, with a tick at each deadline."""
        until = self.now + seconds
        while (deadline := self.engine.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            before = self.engine.next_deadline()
            self.send(ev.Tick())
            assert self.engine.next_deadline() != before, "a deadline that passed must not stay"
        self.now = until

    def call(self, make):
        ticket = next(self._tickets)
        self.send(make(ticket))
        return ticket

    def reply(self, make):
        return self.answers.get(self.call(make))

    def register(self, index, attempt=1, instance=None, samples=100, eval_samples=50, kinds=ALL_KINDS, name=None, session=None):
        session = session or f"s{index}.{attempt}"
        hello = Hello(
            protocol="1", name=name or f"worker-{index}", index=index, attempt=attempt, instance=instance or f"i{index}.{attempt}",
            samples=samples, eval_samples=eval_samples, tasks=kinds,
        )  # fmt: skip
        return self.reply(lambda ticket: ev.Registered(ticket, hello, session))

    def ask(self, index, attempt=1, wait=5.0):
        return self.call(lambda ticket: ev.TaskAsked(f"s{index}.{attempt}", ticket, wait))

    def task(self, index, attempt=1):
        return self.answers.get(self.ask(index, attempt))

    def beat(self, index, round_number, attempt=1, wait=5.0, done=0.0):
        return self.call(lambda ticket: ev.HeartbeatReceived(f"s{index}.{attempt}", ticket, round_number, done, wait))

    def submit(self, index, round_number, base=None, attempt=1, samples=100, rejection=None, seconds=1.0, **report):
        base = f"base{round_number - 1}" if base is None else base
        body = UpdateReport(base=base, samples=samples, upload=f"u{index}.{round_number}", seconds=seconds, **report)
        return self.reply(lambda ticket: ev.Submitted(f"s{index}.{attempt}", ticket, round_number, body, 1000, rejection))

    def measure(self, index, version, attempt=1, samples=10, **metrics):
        body = UpdateReport(base=f"base{version}", eval_samples=samples, metrics=metrics)
        return self.reply(lambda ticket: ev.Submitted(f"s{index}.{attempt}", ticket, version, body))

    def begin(self, workers=None):
        """Register workers, make the first weights, and hand out round 1."""
        workers = range(self.spec.workers.replicas) if workers is None else workers
        for index in workers:
            self.register(index)
        for index in workers:
            self.ask(index)
        if self.engine.version is None:
            self.submit(min(workers), 0, base="")
            self.ask(min(workers))

    def events(self, name):
        return [dict(record.fields) for record in self.records if record.event == name]


@pytest.fixture
def bottle():
    def make(replicas=4, rounds=3, *, saved=None, lost_seconds=0.0, writes=True, **parts):
        return Bottle(make_spec(replicas, rounds, **parts), saved=saved, lost_seconds=lost_seconds, writes=writes)

    return make
