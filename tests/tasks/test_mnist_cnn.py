import numpy as np
import pytest

pytest.importorskip("torch")
from fedcore.tasks.mnist import task  # after the check that there is torch
from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.task import Context, Work

pytestmark = pytest.mark.torch


def worker(index=0, replicas=4, **parameters):
    return task(Context(index, replicas, 0, {"images": "4000", **parameters}))


def test_the_network_is_small_and_float32():
    weights = worker().initial_weights(0)
    assert sum(value.size for value in weights.values()) == 21_840
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_one_pass_over_a_thousand_digits_learns():
    one = worker(partition="iid")
    weights = one.initial_weights(0)
    trained = one.train(weights, Work(epochs=2, seed=1, round=1))
    assert trained.samples == 1000
    assert one.evaluate(trained.weights).metrics["accuracy"] > 0.6 > one.evaluate(weights).metrics["accuracy"]


def test_the_same_order_gives_the_same_bytes():
    results = []
    for _ in range(2):
        one = worker(index=1)
        trained = one.train(one.initial_weights(0), Work(epochs=0.2, seed=4, round=1))
        results.append({name: value.tobytes() for name, value in trained.weights.items()})
    assert results[0] == results[1]


def test_unknown_parameters_are_refused():
    with pytest.raises(InvalidParameter, match='did you mean "momentum"'):
        worker(momentun="0.9")
