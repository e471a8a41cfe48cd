"""What the watches brought: newer over older, gone is gone, and what never came is noticed."""

from types import SimpleNamespace

import pytest

from fedcore_operator.runtime.cache import Cache, Key

KEY = Key("lab", "mnist")


def raw(name="mnist", uid="u1", version=1, labels=None, **metadata):
    labels = {"fedcore.dev/job": "mnist"} if labels is None else labels
    known = {"namespace": "lab", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels, **metadata}
    return {"metadata": known, "spec": {"big": "x"}, "status": {"phase": f"at {version}"}}


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def cache(clock):
    return Cache(lambda: clock.now)


def phases(cache):
    return [pod["status"]["phase"] for pod in cache.pods(KEY)]


def test_an_older_state_does_not_replace_a_newer_one(cache):
    for version in (2, 9, 10, 3):  # as numbers: "10" comes after "9"
        cache.hear_job("MODIFIED", raw(version=version))
        assert cache.hear_pod("MODIFIED", raw("p", version=version)) == KEY
    assert phases(cache) == ["at 10"]
    assert cache.job(KEY)["status"]["phase"] == "at 10"


def test_a_job_of_another_uid_replaces_the_one_before(cache):
    cache.hear_job("ADDED", raw(uid="old", version=9))
    cache.hear_job("ADDED", raw(uid="new", version=5))
    assert cache.job(KEY)["metadata"]["uid"] == "new"
    cache.hear_job("DELETED", raw(uid="old", version=10))
    assert cache.job(KEY) is not None
    cache.hear_job("DELETED", raw(uid="new", version=11))
    assert cache.job(KEY) is None


def test_a_pod_that_went_does_not_come_back_by_a_late_answer(cache):
    cache.hear_job("ADDED", raw())
    cache.hear_pod("DELETED", raw("p", version=5))
    cache.keep_pod(KEY, raw("p", version=4))
    assert phases(cache) == []


def test_pods_without_the_label_are_nobodys(cache):
    assert cache.hear_pod("ADDED", raw("p", labels={})) is None


def test_only_what_decisions_look_at_is_kept(cache):
    cache.hear_pod("ADDED", raw("p", annotations={"fedcore.dev/job-input": "{}", "other": "x"}, managedFields=[1]))
    (pod,) = cache.pods(KEY)
    assert "spec" not in pod
    assert pod["metadata"]["annotations"] == {"fedcore.dev/job-input": "{}"}
    assert "managedFields" not in pod["metadata"]


def test_what_a_list_finds_and_no_event_brings_is_a_missed_event(cache, clock):
    cache.prime(KEY, raw(), [raw("p", uid="p", version=1)])
    cache.prime(KEY, raw(), [raw("p", uid="p", version=1)])
    clock.now = 1000.0
    assert cache.missed() == 0, "the first time all is new, the second nothing"
    cache.prime(KEY, raw(), [raw("p", uid="p", version=7)])
    clock.now += 119
    assert cache.missed() == 0
    clock.now += 2
    assert cache.missed() == 1
    cache.hear_pod("MODIFIED", raw("p", uid="p", version=7))
    assert cache.missed() == 0


def test_an_event_that_comes_while_a_scrape_counts_does_not_disturb_it():
    """The scrape is answered in a thread; here the event comes with the first comparison of times."""

    class Late(float):
        def __gt__(self, other):
            cache.hear_pod("MODIFIED", raw("p", uid="p", version=7))
            return float(self) > other

    times = [0.0, 0.0, Late(121.0)]
    cache = Cache(lambda: times.pop(0))
    cache.prime(KEY, raw(), [raw("p", uid="p"), raw("q", uid="q")])
    cache.prime(KEY, raw(), [raw("p", uid="p", version=7), raw("q", uid="q", version=7)])
    assert (cache.missed(), cache.missed_so_far["pods"]) == (2, 2), "that of p came, but too late"


def test_a_list_ends_what_is_not_in_it(cache):
    cache.hear_pod("ADDED", raw("p", uid="p"))
    assert not cache.is_primed(KEY)
    cache.prime(KEY, raw(), [raw("q", uid="q", version=3)])
    assert (phases(cache), cache.is_primed(KEY)) == (["at 3"], True)
    cache.forget(KEY)
    assert (cache.pods(KEY), cache.keys(), cache.is_primed(KEY)) == ((), (), False)


def test_a_pod_that_goes_while_it_is_listed_is_neither_kept_nor_waited_for(cache, clock):
    cache.hear_job("ADDED", raw())
    cache.prime(KEY, raw(), [])
    cache.hear_pod("DELETED", raw("p", uid="p", version=9))
    cache.prime(KEY, raw(), [raw("p", uid="p", version=8)])
    assert phases(cache) == []
    clock.now = 1000.0
    assert cache.missed() == 0


def test_a_change_of_the_job_that_no_event_brings_is_a_missed_event_too(cache, clock):
    cache.hear_job("ADDED", raw(version=1))
    cache.prime(KEY, raw(version=1), [])
    cache.keep_job(raw(version=4))  # what we write ourselves is known
    cache.prime(KEY, raw(version=4), [])
    clock.now = 121.0
    assert cache.missed() == 0
    cache.prime(KEY, raw(version=7), [])
    clock.now = 242.0
    assert cache.missed() == 1
    cache.hear_job("DELETED", raw(version=8))
    assert cache.missed() == 0


def test_what_goes_after_its_job_leads_to_no_look_at_it(cache):
    """Garbage collection brings two events for each pod of a job that is gone."""
    assert cache.hear_pod("ADDED", raw("p", uid="p")) is None, "the job's own event will come"
    cache.hear_job("ADDED", raw())
    assert cache.hear_pod("MODIFIED", raw("p", uid="p", version=2)) == KEY
    cache.hear_job("DELETED", raw(version=3))
    assert cache.hear_pod("MODIFIED", raw("p", uid="p", version=4)) is None
    assert cache.hear_pod("DELETED", raw("p", uid="p", version=5)) is None
    assert (cache.pods(KEY), cache._pods, cache._buried) == ((), {}, {})


def test_what_we_wrote_ourselves_is_no_news(cache):
    assert cache.hear_job("ADDED", raw(version=1)) == KEY
    cache.keep_job(raw(version=4))
    assert cache.hear_job("MODIFIED", raw(version=4)) is None
    assert cache.hear_job("MODIFIED", raw(version=5)) == KEY
    assert cache.hear_job("ADDED", raw(uid="next", version=6)) == KEY
    assert cache.hear_job("DELETED", raw(uid="next", version=7)) == KEY
