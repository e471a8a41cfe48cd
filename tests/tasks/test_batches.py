import numpy as np
import pytest

from fedcore.tasks.batches import Batches


@pytest.mark.parametrize(
    ("samples", "batch", "epochs", "sizes"),
    [
        pytest.param(100, 25, 1, [25] * 4, id="one pass"),
        pytest.param(100, 25, 0.5, [25, 25], id="half a pass"),
        pytest.param(100, 25, 0.51, [25, 25, 25], id="rounded up to whole batches"),
        pytest.param(100, 10, 0.1, [10], id="no batch too many for a rounding error"),
        pytest.param(100, 10, 0.7, [10] * 7, id="seven tenths"),
        pytest.param(100, 30, 1.25, [30, 30, 30, 10, 30], id="a smaller last batch and the next pass"),
        pytest.param(100, 25, 0.01, [25], id="at least one batch"),
        pytest.param(61, 30, 1, [30, 31], id="one left over joins the batch before"),
        pytest.param(3, 1, 1, [1, 1, 1], id="batches of one"),
        pytest.param(1, 32, 2, [1, 1], id="a single sample"),
    ],
)
def test_sizes(samples, batch, epochs, sizes):
    batches = Batches(samples, batch, epochs, seed=1)
    assert [len(places) for places in batches] == sizes
    assert len(batches) == len(sizes)


def test_each_pass_has_every_sample_once_in_an_order_of_its_own():
    places = np.concatenate(list(Batches(50, 8, 2, seed=3)))
    assert sorted(places[:50]) == sorted(places[50:]) == list(range(50))
    assert list(places[:50]) != list(places[50:])


def test_the_seed_decides_the_order():
    one, same, other = (np.concatenate(list(Batches(50, 8, 1, seed))) for seed in (3, 3, 4))
    assert list(one) == list(same) != list(other)


def test_a_fraction_is_the_beginning_of_the_whole():
    whole, half = list(Batches(64, 8, 1, seed=5)), list(Batches(64, 8, 0.5, seed=5))
    assert all((a == b).all() for a, b in zip(half, whole[:4], strict=True))
