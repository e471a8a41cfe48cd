import numpy as np
import pytest

from fedcore.tasks.mnist import numpy_task
from fedcore.tasks.mnist.mlp import _cross_entropy, _forward, _gradients
from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.task import Context, Work


def worker(index=0, replicas=5, seed=0, **parameters):
    return numpy_task(Context(index, replicas, seed, {"images": "2000", **parameters}))


def order(epochs=1.0, seed=1, **rest):
    return Work(epochs=epochs, seed=seed, round=1, **rest)


def test_gradients_are_those_of_the_loss():
    state = np.random.RandomState(0)
    weights = {name: value.astype(np.float64) for name, value in worker().initial_weights(3).items()}
    images, labels = state.rand(6, 784), np.array([0, 1, 2, 3, 4, 4], np.uint8)
    _loss, gradients = _gradients(weights, images, labels)
    for name, gradient in gradients.items():
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        losses = []
        for step in (1e-6, -1e-6):
            moved = {**weights, name: weights[name].copy()}
            moved[name][place] += step
            losses.append(_cross_entropy(_forward(moved, images)[1], labels).mean())
        assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4)


def test_first_weights_depend_on_the_seed_alone():
    one, same, other = worker(0).initial_weights(5), worker(3).initial_weights(5), worker(0).initial_weights(6)
    assert all((one[name] == same[name]).all() for name in one)
    assert (one["hidden.weight"] != other["hidden.weight"]).any()
    assert all(value.dtype == np.float32 for value in one.values())


def test_the_same_order_gives_the_same_bytes():
    results = []
    for _ in range(2):
        task = worker()
        task.train(task.initial_weights(0), order(seed=9))  # what came before leaves no trace
        trained = task.train(task.initial_weights(0), order(seed=4))
        results.append((trained.loss, {name: value.tobytes() for name, value in trained.weights.items()}))
    assert results[0] == results[1]


def test_training_learns_and_reports():
    task, shares = worker(), []
    weights = task.initial_weights(0)
    before = task.evaluate(weights).metrics
    trained = task.train(weights, order(epochs=3, report=shares.append))
    after = task.evaluate(trained.weights).metrics
    assert before["accuracy"] < 0.3
    assert after["accuracy"] > 0.7
    assert after["loss"] < before["loss"]
    assert trained.samples == task.samples()
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_superseded_stops_after_the_batch():
    task, shares = worker(), []
    task.train(task.initial_weights(0), order(report=shares.append, superseded=lambda: len(shares) == 2))
    assert len(shares) == 2


def test_evaluation_of_all_workers_is_that_of_the_whole_test_set():
    tasks = [worker(index) for index in range(5)]
    assert sum(task.eval_samples() for task in tasks) == 2000
    weights = tasks[0].initial_weights(0)
    parts = [task.evaluate(weights) for task in tasks]
    whole = worker(0, replicas=1).evaluate(weights)
    mean = sum(part.samples * part.metrics["accuracy"] for part in parts) / 2000
    assert mean == pytest.approx(whole.metrics["accuracy"])


def test_a_worker_without_held_out_digits_measures_nothing():
    task = worker(2400, replicas=2401, images="12000")
    assert task.eval_samples() == 0
    assert task.evaluate(task.initial_weights(0)).samples == 0


def test_the_proximal_term_pulls_towards_the_base():
    def distance(mu):
        task = worker(proximalMu=mu)
        base = task.initial_weights(0)
        new = task.train({name: value.copy() for name, value in base.items()}, order()).weights
        return sum(float(((new[name] - base[name]) ** 2).sum()) for name in base)

    assert distance("1") < 0.5 * distance("0")


def test_rounds_of_five_workers_reach_ninety_percent():
    tasks = [numpy_task(Context(index, 5, 0)) for index in range(5)]
    weights = tasks[0].initial_weights(0)
    for number in range(1, 5):
        updates = [task.train({k: v.copy() for k, v in weights.items()}, order(seed=10 * number + i)) for i, task in enumerate(tasks)]
        total = sum(update.samples for update in updates)
        weights = {name: sum(u.weights[name] * np.float32(u.samples / total) for u in updates) for name in weights}
    parts = [task.evaluate(weights) for task in tasks]
    assert sum(part.samples * part.metrics["accuracy"] for part in parts) / 2000 >= 0.9


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        pytest.param("images", "4", "a whole number from 5 .one for each worker. to 12000", id="fewer images than workers"),
        pytest.param("images", "12001", "to 12000", id="more images than there are"),
        pytest.param("images", "many", "a whole number", id="no number"),
        pytest.param("learningRate", "-1", "a number above 0", id="rate"),
        pytest.param("momentum", "1", "below 1", id="momentum"),
        pytest.param("proximalMu", "-1", "from 0 on", id="mu"),
        pytest.param("batchSize", "0", "from 1 on", id="batch"),
        pytest.param("partition", "uneven", "dirichlet", id="partition"),
        pytest.param("dataset", "half", "shipped | full", id="data set"),
        pytest.param("learning_rate", "1", 'did you mean "learningRate"', id="unknown"),
    ],
)
def test_wrong_parameters_are_refused(name, value, words):
    with pytest.raises(InvalidParameter, match=words) as caught:
        worker(**{name: value})
    assert caught.value.name == name


def test_the_whole_set_needs_its_folder(tmp_path):
    with pytest.raises(InvalidParameter, match=r"parameters\.dataset: the whole MNIST set is not in .* missing train-images"):
        numpy_task(Context(0, 5, 0, {"dataset": "full"}, data_dir=tmp_path))
