import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.partition import Partition, evaluation_share, parse_partition

LABELS = np.repeat(np.arange(10, dtype=np.uint8), 100)


def shares(text, *, images=1000, replicas=5, seed=0):
    partition = parse_partition(text)
    return [partition.share(LABELS, images=images, index=index, replicas=replicas, seed=seed) for index in range(replicas)]


@pytest.mark.parametrize("text", ["iid", "dirichlet(0.5)", "dirichlet(0.01)", "dirichlet(100)"])
@pytest.mark.parametrize("images", [1000, 600])
def test_disjoint_kinds_share_out_the_choice(text, images):
    places = np.concatenate(shares(text, images=images))
    assert len(places) == len(set(places.tolist())) == images
    assert set(places.tolist()) <= set(range(1000))


def test_the_choice_is_the_same_for_every_kind_and_number_of_workers():
    chosen = set(np.concatenate(shares("iid", images=600)).tolist())
    assert chosen == set(np.concatenate(shares("dirichlet(1)", images=600, replicas=3)).tolist())
    assert all(set(share.tolist()) <= chosen for share in shares("random", images=600))


def test_iid_is_even():
    assert sorted(len(share) for share in shares("iid", replicas=7)) == [142, 143, 143, 143, 143, 143, 143]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), replicas=st.integers(1, 20))
def test_random_sizes_lie_between_a_half_and_one_and_a_half_of_the_equal_share(seed, replicas):
    for share in shares("random", replicas=replicas, seed=seed):
        assert round(500 / replicas) <= len(share) <= min(round(1500 / replicas), 1000)
        assert len(set(share.tolist())) == len(share)


def test_random_subsets_vary_and_overlap():
    sizes = {len(share) for share in shares("random", replicas=8)}
    assert len(sizes) > 4
    first, second, *_ = (set(share.tolist()) for share in shares("random"))
    assert first & second
    assert first != second


def test_a_random_subset_depends_on_no_other_worker():
    partition = Partition("random")
    late = partition.share(LABELS, images=1000, index=7, replicas=8, seed=0)
    assert (late == shares("random", replicas=8)[7]).all()


@pytest.mark.parametrize("text", ["random", "iid", "dirichlet(0.5)"])
def test_the_seed_decides(text):
    for one, same, other in zip(shares(text, seed=1), shares(text, seed=1), shares(text, seed=2), strict=True):
        assert one.tolist() == same.tolist() != other.tolist()


def test_dirichlet_with_a_small_alpha_gives_each_worker_few_classes():
    def largest(text):
        return np.mean([np.bincount(LABELS[share], minlength=10).max() / len(share) for share in shares(text)])

    assert largest("dirichlet(0.1)") > 2 * largest("dirichlet(1000)")


@settings(max_examples=20, deadline=None)  # each example computes every worker's share
@given(seed=st.integers(0, 2**31 - 1), alpha=st.sampled_from(["0.001", "0.05", "1e-9"]), replicas=st.integers(1, 40))
def test_dirichlet_leaves_no_worker_without_samples(seed, alpha, replicas):
    assert min(len(share) for share in shares(f"dirichlet({alpha})", replicas=replicas, seed=seed)) >= min(10, 1000 // replicas)


@pytest.mark.parametrize(
    "text", ["", "IID", "dirichlet", "dirichlet()", "dirichlet(0)", "dirichlet(-1)", "dirichlet(inf)", "dirichlet(1.2.3)"]
)
def test_another_word_is_refused(text):
    with pytest.raises(InvalidParameter, match=r"spec\.task\.parameters\.partition: .*random \| iid \| dirichlet"):
        parse_partition(text)


@pytest.mark.parametrize(("index", "replicas", "images"), [(5, 5, 1000), (-1, 5, 1000), (0, 5, 4), (0, 5, 1001)])
def test_a_worker_out_of_place_is_refused(index, replicas, images):
    with pytest.raises(ValueError, match="no share for worker"):
        Partition("iid").share(LABELS, images=images, index=index, replicas=replicas, seed=0)


@pytest.mark.parametrize("replicas", [1, 3, 7, 2000, 2500])
def test_evaluation_shares_are_disjoint_and_cover_the_test_set(replicas):
    places = np.concatenate([evaluation_share(2000, index=index, replicas=replicas) for index in range(replicas)])
    assert sorted(places.tolist()) == list(range(2000))
