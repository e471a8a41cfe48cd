"""The restart policy: a table of ends, and what holds for any history of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.engine.restarts import (
    LONGEST_BACKOFF_SECONDS,
    STABLE_SECONDS,
    Cause,
    GaveUp,
    Record,
    RestartPolicy,
    after_end,
)

POLICY = RestartPolicy(max_restarts=3, backoff_seconds=10)


@pytest.mark.parametrize(
    ("record", "cause", "lasted", "expected"),
    [
        pytest.param(Record(), Cause.FAILED, 5, Record(2, 1, 0, 1, 1010), id="a first failure waits the plain backoff"),
        pytest.param(Record(2, 1, 0, 1), Cause.FAILED, 5, Record(3, 2, 0, 2, 1020), id="a second in a row waits twice as long"),
        pytest.param(Record(3, 2, 0, 2), Cause.FAILED, 5, Record(4, 3, 0, 3, 1040), id="a third four times"),
        pytest.param(Record(4, 3, 0, 3), Cause.FAILED, 5, GaveUp(Record(4, 3, 0, 3), Cause.FAILED), id="the fourth is over budget"),
        pytest.param(
            Record(4, 3, 0, 3), Cause.FAILED, 9999, GaveUp(Record(4, 3, 0, 3), Cause.FAILED), id="a long attempt gives no budget back"
        ),
        pytest.param(Record(3, 2, 0, 2), Cause.FAILED, 600, Record(4, 3, 0, 1, 1010), id="an attempt of ten minutes resets the streak"),
        pytest.param(Record(3, 2, 0, 2), Cause.FAILED, 599.9, Record(4, 3, 0, 3, 1040), id="a shorter one does not"),
        pytest.param(Record(), Cause.DISRUPTED, 5, Record(2, 0, 1, 1, 1000), id="a disruption costs neither budget nor wait"),
        pytest.param(Record(3, 0, 2, 2), Cause.DISRUPTED, 5, Record(4, 0, 3, 3, 1000), id="nor does the third"),
        pytest.param(Record(4, 0, 3, 3), Cause.DISRUPTED, 5, Record(5, 0, 4, 4, 1080), id="the fourth in a row waits"),
        pytest.param(Record(4, 3, 0, 1), Cause.DISRUPTED, 5, Record(5, 3, 1, 2, 1000), id="a disruption is fine with the budget spent"),
        pytest.param(Record(9, 0, 8, 8), Cause.DISRUPTED, 5, Record(10, 0, 9, 9, 1300), id="no wait is longer than five minutes"),
        pytest.param(Record(2, 1, 0, 1), Cause.FINISHED, 5, Record(2, 1, 0, 1), id="nothing follows a finished one"),
        pytest.param(Record(2, 1, 0, 1), Cause.FATAL, 5, GaveUp(Record(2, 1, 0, 1), Cause.FATAL), id="a fatal end is the last"),
        pytest.param(Record(2, 1, 0, 1), Cause.FAILED, None, Record(3, 2, 0, 2, 1020), id="an attempt never seen running lasted no time"),
    ],
)
def test_after_end(record, cause, lasted, expected):
    assert after_end(record, cause, None if lasted is None else 1000 - lasted, 1000, POLICY) == expected


def test_after_end_with_a_budget_of_none_gives_up_at_once():
    assert after_end(Record(), Cause.FAILED, 0, 1, RestartPolicy(0, 10)) == GaveUp(Record(), Cause.FAILED)


def test_after_end_revives_when_the_budget_is_raised():
    spent = after_end(Record(2, 1, 0, 1), Cause.FAILED, 0, 1, RestartPolicy(1, 10))
    assert isinstance(spent, GaveUp)
    assert after_end(spent.record, spent.cause, 0, 1, RestartPolicy(2, 10)) == Record(3, 2, 0, 2, 21)


ENDS = st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 2 * STABLE_SECONDS)), max_size=40)


@given(ends=ENDS, max_restarts=st.integers(0, 5), backoff=st.integers(1, 3600))
def test_after_end_over_any_history(ends, max_restarts, backoff):
    policy = RestartPolicy(max_restarts, backoff)
    record, now = Record(), 0.0
    for cause, lasted in ends:
        started, now = now, now + lasted
        after = after_end(record, cause, started, now, policy)
        if isinstance(after, GaveUp):
            assert after.record == record
            assert cause is Cause.FATAL or record.restarts == max_restarts
            break
        if cause is Cause.FINISHED:
            assert after == record
            continue
        assert after.attempt == record.attempt + 1
        assert after.attempt == 1 + after.restarts + after.disruptions
        assert after.restarts <= max_restarts
        assert 0 <= after.not_before - now <= LONGEST_BACKOFF_SECONDS + 1e-6
        assert after.streak == (1 if now - started >= STABLE_SECONDS else record.streak + 1)
        record, now = after, after.not_before


@given(st.integers(1, 10**9), st.integers(1, 3600))
def test_backoff_never_falls_with_the_streak(streak, backoff):
    policy = RestartPolicy(3, backoff)
    assert min(backoff, LONGEST_BACKOFF_SECONDS) <= policy.backoff(streak) <= policy.backoff(streak + 1) <= LONGEST_BACKOFF_SECONDS
