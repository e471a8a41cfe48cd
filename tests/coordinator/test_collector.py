from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
import xxhash
from safetensors.numpy import load, save

from fedcore.aggregation import UpdateRefused
from fedcore.coordinator import collector as module
from fedcore.coordinator.collector import Collector
from fedcore.coordinator.versions import Versions
from fedcore.spec import Aggregation

SHAPE = (301, 257)
WORKERS = 8


def update(worker):
    """Values of many magnitudes, so that a float sum would depend on the order."""
    numbers = np.random.default_rng(worker)
    weight = numbers.standard_normal(SHAPE) * 10.0 ** numbers.integers(-6, 2, SHAPE)
    return {"bias": numbers.standard_normal(5).astype(np.float32), "weight": weight.astype(np.float32)}


@pytest.fixture(scope="module")
def updates():
    return [update(worker) for worker in range(WORKERS)]


def samples(worker):
    return 100 + 37 * worker


@pytest.fixture
def start(tmp_path, bodies):
    """Open a collector on version 0, which is all zeros, with what it gives back."""
    made = []

    def start(name="versions"):
        versions = Versions(tmp_path / name, keep=2)
        released = []
        collector = Collector(Aggregation(), versions, released.append)
        made.append(collector)
        base = save({"bias": np.zeros(5, np.float32), "weight": np.ones(SHAPE, np.float32)})
        collector.begin(versions.create(0, bodies.body(base), {"version": 0}))
        return collector, released

    yield start
    for collector in made:
        collector.shut()


async def close_round(collector, uploads, order, version=1):
    for worker in order:
        collector.merge(uploads[worker], f"worker-{worker}", samples(worker))
    return await collector.close(version, {"version": version}, lambda: None)


def test_mean_is_numpys(start, upload, updates):
    collector, released = start()
    uploads = [upload(save(tensors), f"s{worker}", f"u{worker}") for worker, tensors in enumerate(updates)]
    written = asyncio.run(close_round(collector, uploads, range(WORKERS)))
    mean = load(written.stored.path.read_bytes())
    share = [samples(worker) for worker in range(WORKERS)]
    for name in ("bias", "weight"):
        expected = np.average([tensors[name].astype(np.float64) for tensors in updates], axis=0, weights=share)
        np.testing.assert_allclose(mean[name], expected, rtol=1e-6, atol=1e-9)
    assert released == uploads
    assert written.stored.base == xxhash.xxh3_128_hexdigest(written.stored.path.read_bytes())
    assert written.aggregation_s > 0
    assert written.checkpoint_s > 0


def test_version_is_the_same_bytes_in_any_order_of_arrival(start, upload, updates, spool):
    """Twenty orders through files of one pool, which by then hold bytes of others."""
    digests = set()
    shuffle = random.Random(5)
    bodies = [save(tensors) for tensors in updates]
    for number in range(20):
        collector, released = start(f"versions-{number}")
        order = shuffle.sample(range(WORKERS), WORKERS)
        uploads = {worker: upload(bodies[worker], f"s{worker}", f"u{worker}") for worker in order}
        written = asyncio.run(close_round(collector, uploads, order))
        digests.add(xxhash.xxh3_128_hexdigest(written.stored.path.read_bytes()))
        for each in released:
            spool.give_back(each.file)
    assert len(digests) == 1


def test_next_round_starts_from_the_version_just_written(start, upload, updates):
    collector, _ = start()
    uploads = [upload(save(tensors), f"s{worker}", f"u{worker}") for worker, tensors in enumerate(updates)]

    async def two_rounds():
        first = await close_round(collector, uploads, [0, 1])
        assert collector.base.layout == first.stored.checked.layout
        return first, await close_round(collector, uploads, [2], version=2)

    first, second = asyncio.run(two_rounds())
    assert first.stored.version == 1
    mean = load(second.stored.path.read_bytes())
    np.testing.assert_allclose(mean["weight"], updates[2]["weight"], rtol=1e-6, atol=1e-7)


def test_events_are_durable_before_the_state_is(start, upload, updates, tmp_path):
    collector, _ = start()
    seen = []

    async def close():
        collector.merge(upload(save(updates[0])), "worker-0", 1)
        await collector.close(1, {}, lambda: seen.extend(path.name for path in (tmp_path / "versions").glob("000001.*")))

    asyncio.run(close())
    assert "000001.json" not in seen
    assert (tmp_path / "versions" / "000001.json").exists()


def test_update_that_closes_the_round_is_added_in_the_pass_that_divides(start, upload, updates, monkeypatch):
    collector, _ = start()
    summed = []
    monkeypatch.setattr(collector._aggregation, "add", lambda *added: summed.append(added))

    async def close():
        collector.merge(upload(save(updates[0])), "worker-0", 1)
        closing = collector.close(1, {}, lambda: None)
        await asyncio.sleep(0)  # as in the service, the loop's next turn is the merge's
        return await closing

    written = asyncio.run(close())
    assert summed == []
    np.testing.assert_allclose(load(written.stored.path.read_bytes())["weight"], updates[0]["weight"], rtol=1e-6, atol=1e-6)


def failing_once(monkeypatch, error):
    """An algorithm whose first sum fails and which would go on without it."""
    whole = module.ALGORITHMS["fedavg"]

    class Failing(type(whole)):
        def begin(self, base, parameters, workspace=None):
            opened = whole.begin(base, parameters)
            add, calls = opened.add, []

            def fail_once(*updates):
                calls.append(updates)
                if len(calls) == 1:
                    raise error
                add(*updates)

            opened.add = fail_once
            return opened

    monkeypatch.setitem(module.ALGORITHMS, "fedavg", Failing())


@pytest.mark.parametrize("error", [UpdateRefused("an update that should not be"), OSError(5, "Input/output error")])
def test_update_that_could_not_be_merged_is_never_left_out_in_silence(start, upload, updates, monkeypatch, error):
    failing_once(monkeypatch, error)
    collector, _ = start()

    async def close():
        collector.merge(upload(save(updates[0]), "s0", "u0"), "worker-0", 1)
        for _ in range(1000):  # let the failure come in before the next update does
            await asyncio.sleep(0.001)
            if collector._merging.done():
                break
        collector.merge(upload(save(updates[1]), "s1", "u1"), "worker-1", 1)
        await collector.close(1, {}, lambda: None)

    with pytest.raises(type(error)):
        asyncio.run(close())


def test_first_weights_become_version_0(start, upload, bodies):
    collector, released = start()
    data = bodies.weights(0.25)
    sent = upload(data)
    written = asyncio.run(collector.adopt(sent, {"version": 0}))
    assert written.stored.path.read_bytes() == data
    assert written.stored.version == 0
    assert collector.base.layout == bodies.checked(data).layout
    assert released == [sent]


def test_algorithm_that_keeps_updates_gets_their_files_to_the_close(start, upload, updates, monkeypatch):
    class Keeping(type(module.ALGORITHMS["fedavg"])):
        keeps_updates = True

    monkeypatch.setitem(module.ALGORITHMS, "fedavg", Keeping())
    collector, released = start()
    sent = upload(save(updates[0]))

    async def close():
        collector.merge(sent, "worker-0", 1)
        await collector._merging
        before = list(released)
        await collector.close(1, {}, lambda: None)
        return before

    assert asyncio.run(close()) == []
    assert released == [sent]
