import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402  # after the check that there is one
from torch.nn import functional  # noqa: E402

from fedcore.tasks.task import Work  # noqa: E402
from fedcore.tasks.torch import TorchTask, from_state, to_state  # noqa: E402

pytestmark = pytest.mark.torch


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.5)


def data(samples=64):
    inputs = torch.from_numpy(np.random.RandomState(0).randn(samples, 4).astype(np.float32))
    return inputs, inputs[:, :3].argmax(1)


class Items(torch.utils.data.Dataset):
    """A data set that is not made of tensors."""

    def __init__(self, samples=64):
        self.inputs, self.targets = data(samples)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, place):
        return self.inputs[place], self.targets[place]


def make(**changes):
    given = {"module": net, "optimizer": sgd, "loss": functional.cross_entropy, "train_data": data, "eval_data": data(30), "batch_size": 8}
    return TorchTask(device="cpu", **{**given, **changes})


def order(epochs=1.0, seed=1, **rest):
    return Work(epochs=epochs, seed=seed, round=1, **rest)


def raw(weights):
    return {name: (value.dtype, value.tobytes()) for name, value in weights.items()}


def test_the_same_order_gives_the_same_bytes_whatever_came_before():
    fresh, used = make(), make()
    weights = fresh.initial_weights(3)
    used.train(fresh.initial_weights(3), order(seed=8))
    used.evaluate(weights)
    assert raw(used.initial_weights(3)) == raw(weights)
    one, same, other = fresh.train(weights, order(seed=5)), used.train(weights, order(seed=5)), fresh.train(weights, order(seed=6))
    assert raw(one.weights) == raw(same.weights) != raw(other.weights)
    assert one.loss == same.loss


def test_a_data_set_of_items_trains_like_its_tensors():
    weights = make().initial_weights(3)
    tensors, items = make().train(weights, order()), make(train_data=Items).train(weights, order())
    assert raw(tensors.weights) == raw(items.weights)


def test_training_lowers_the_loss_and_leaves_its_input():
    task = make()
    weights = task.initial_weights(3)
    before = raw(weights)
    trained = task.train(weights, order(epochs=10))
    assert raw(weights) == before
    assert trained.samples == 64
    assert task.evaluate(trained.weights).metrics["loss"] < task.evaluate(weights).metrics["loss"]


@pytest.mark.parametrize(("epochs", "batches"), [(0.5, 4), (1, 8), (1.25, 10), (0.01, 1)])
def test_epochs_come_in_fractions(epochs, batches):
    task, shares = make(), []
    trained = task.train(task.initial_weights(3), order(epochs=epochs, report=shares.append))
    assert trained.weights["1.num_batches_tracked"] == batches
    assert shares == [pytest.approx((done + 1) / batches) for done in range(batches)]


def test_superseded_stops_after_the_batch():
    task, asked = make(), []

    def superseded():
        asked.append(1)
        return len(asked) == 3

    trained = task.train(task.initial_weights(3), order(epochs=100, superseded=superseded))
    assert trained.weights["1.num_batches_tracked"] == 3


def test_counters_of_batch_norm_and_half_floats_survive():
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2).half())
    module[0].num_batches_tracked.fill_(2**40 + 1)
    weights = from_state(module)
    assert weights["0.num_batches_tracked"].dtype == np.int64
    assert weights["0.num_batches_tracked"].shape == ()
    assert weights["1.weight"].dtype == np.float16
    other = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2).half())
    for array in weights.values():
        array.flags.writeable = False  # as arrays over a file's bytes are
    to_state(other, weights)
    assert raw(from_state(other)) == raw(weights)
    assert other[0].num_batches_tracked.item() == 2**40 + 1


def test_bfloat16_travels_as_float32():
    module = nn.Linear(3, 3).to(torch.bfloat16)
    weights = from_state(module)
    assert weights["weight"].dtype == np.float32
    other = nn.Linear(3, 3).to(torch.bfloat16)
    to_state(other, weights)
    assert torch.equal(module.weight, other.weight)


def test_arrays_share_no_memory_with_the_module():
    module = nn.Linear(2, 2)
    weights = from_state(module)
    weights["weight"] += 1
    assert not np.array_equal(weights["weight"], from_state(module)["weight"])


def test_other_names_and_shapes_are_refused():
    weights = from_state(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="Missing key"):
        to_state(nn.Linear(2, 2), {"weight": weights["weight"]})
    with pytest.raises(RuntimeError, match="size mismatch"):
        to_state(nn.Linear(2, 3), weights)


def test_extra_state_is_refused():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"note": 1}

    with pytest.raises(TypeError, match="_extra_state"):
        from_state(Extra(2, 2))


def test_frozen_parameters_stay():
    def frozen():
        module = net()
        module[0].weight.requires_grad_(requires_grad=False)
        return module

    task = make(module=frozen, proximal_mu=0.1)
    weights = task.initial_weights(3)
    new = task.train(weights, order()).weights
    assert (new["0.weight"] == weights["0.weight"]).all()
    assert (new["4.weight"] != weights["4.weight"]).any()


def test_the_proximal_term_pulls_towards_the_base():
    def distance(mu):
        task = make(proximal_mu=mu)
        base = task.initial_weights(3)
        new = task.train(base, order(epochs=5)).weights
        return sum(float(((new[name] - base[name]) ** 2).sum()) for name in ("0.weight", "4.weight"))

    assert distance(5.0) < distance(0.5) < distance(0.0)


def test_the_proximal_gradient_is_that_of_the_paper():
    # One weight, no data term: w' = w - lr * mu * (w - base) after the first step moved it by lr * 1.
    def one():
        return nn.Linear(1, 1, bias=False)

    def loss(output, _target):
        return output.mean()

    task = TorchTask(
        module=one,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        loss=loss,
        train_data=(torch.ones(2, 1), torch.zeros(2)),
        batch_size=1,
        proximal_mu=3.0,
        device="cpu",
    )
    new = task.train({"weight": np.array([[1.0]], np.float32)}, order()).weights
    assert new["weight"].item() == pytest.approx(0.9 - 0.1 * (1 + 3.0 * (0.9 - 1.0)), rel=1e-6)


def test_classifiers_report_accuracy_and_loss():
    task = make()
    weights = task.initial_weights(3)
    measured = task.evaluate(weights)
    module = net()
    to_state(module, weights)
    module.eval()
    inputs, targets = data(30)
    assert measured.samples == task.eval_samples() == 30
    assert measured.metrics["accuracy"] == pytest.approx((module(inputs).argmax(1) == targets).float().mean().item())
    assert measured.metrics["loss"] == pytest.approx(functional.cross_entropy(module(inputs), targets).item(), rel=1e-5)


def test_regressions_report_the_loss_and_metrics_can_be_replaced():
    inputs = data(1000)[0]
    parts = {
        "module": lambda: nn.Linear(4, 1),
        "loss": functional.mse_loss,
        "train_data": (inputs, inputs[:, :1]),
        "eval_data": (inputs, inputs[:, :1]),
    }
    task = make(**parts)
    assert set(task.evaluate(task.initial_weights(0)).metrics) == {"loss"}
    task = make(**parts, metrics=lambda output, target: {"error": (output - target).abs().mean()})
    weights = task.initial_weights(0)
    module = nn.Linear(4, 1)
    to_state(module, weights)
    assert task.evaluate(weights).metrics == {"error": pytest.approx((module(inputs) - inputs[:, :1]).abs().mean().item(), rel=1e-5)}


def test_without_held_out_data_nothing_is_measured():
    task = make(eval_data=None)
    assert task.eval_samples() == 0
    assert task.evaluate(task.initial_weights(0)).samples == 0


def test_a_loss_that_is_no_number_is_left_out():
    task = make(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=float("inf")))
    assert task.train(task.initial_weights(0), order()).loss is None


def test_one_thread_unless_told(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.delenv("FEDCORE_TORCH_THREADS", raising=False)
        make()
        assert torch.get_num_threads() == 1
        monkeypatch.setenv("FEDCORE_TORCH_THREADS", "2")
        make()
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("FEDCORE_TORCH_THREADS", "all")
        with pytest.raises(ValueError, match="FEDCORE_TORCH_THREADS is 'all'"):
            make()
    finally:
        torch.set_num_threads(before)
