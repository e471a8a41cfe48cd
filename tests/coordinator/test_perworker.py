"""Which workers have series of their own."""

from __future__ import annotations

import pytest

from fedcore.coordinator.perworker import Choice, WorkerReading, choose


def workers(count, lost=(), slow=()):
    """Workers 0, 1, ..., last seen at the second that is their number; the slow ones take longer the later they stand."""
    trips = {number: 10.0 + place for place, number in enumerate(slow)}
    return [
        WorkerReading(f"worker-{n}", n not in lost, float(n), trips.get(n, 1.0), 1, 1.0, 100) for n in range(count)
    ]  # fmt: skip


def numbers(names):
    return sorted(int(name.removeprefix("worker-")) for name in names)


@pytest.mark.parametrize(
    ("policy", "given", "shown"),
    [
        pytest.param("auto", workers(200), list(range(200)), id="auto: all up to 200"),
        pytest.param("auto", workers(201, slow=range(100, 150)), list(range(100, 150)), id="above: the 50 slowest"),
        pytest.param(
            "auto", workers(300, lost=(7, 9), slow=range(100, 160)), [7, 9, *range(112, 160)], id="lost ones are always among them",
        ),
        pytest.param(
            "auto", workers(300, lost=range(60), slow=range(100, 160)), [*range(25), *range(135, 160)],
            id="the longest unseen, as half of them at most",
        ),
        pytest.param("auto", workers(300, lost=range(290)), [*range(40), *range(290, 300)], id="more if fewer are live"),
        pytest.param("always", workers(1000), list(range(1000)), id="always: all"),
        pytest.param("never", workers(3), [], id="never: none"),
    ],
)  # fmt: skip
def test_choice(policy, given, shown):
    assert numbers(choose(policy, given)) == shown


def test_unknown_trips_are_the_least_telling():
    some = [WorkerReading(f"worker-{n}", True, 0.0, None if n < 200 else 1.0, None, None, 1) for n in range(250)]
    assert numbers(choose("auto", some)) == list(range(200, 250))


def test_choice_among_many_holds_until_the_next_close():
    choice = Choice()
    first = choice.among("auto", workers(300, slow=range(100, 150)), 1)
    assert choice.among("auto", workers(300, slow=range(200, 250)), 1) == first
    assert numbers(choice.among("auto", workers(300, slow=range(200, 250)), 2)) == list(range(200, 250))


def test_few_workers_are_shown_as_they_come():
    choice = Choice()
    assert len(choice.among("auto", workers(3), 0)) == 3
    assert len(choice.among("auto", workers(4), 0)) == 4
    assert len(choice.among("auto", workers(201), 0)) == 50
    assert len(choice.among("always", workers(201), 0)) == 201
