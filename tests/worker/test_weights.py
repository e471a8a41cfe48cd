from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

from fedcore.aggregation.layout import Layout, Tensor
from fedcore.worker.weights import UnreadableWeights, WeightsFile, WrongWeights


def file_of(**tensors):
    return WeightsFile(bytearray(safetensors.numpy.save(tensors)))


def test_tensors_are_views_and_training_in_place_changes_the_file():
    file = file_of(w=np.zeros((2, 3), np.float32))
    weights = file.tensors()
    weights["w"][1, 2] = 7
    file.overwrite(weights)
    assert safetensors.numpy.load(bytes(file.body))["w"][1, 2] == 7


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_every_dtype_comes_back_as_it_was_put(dtype):
    values = np.array([[0, 1], [1, 0]], dtype)
    file = file_of(w=np.zeros((2, 2), dtype))
    file.overwrite({"w": values.T})
    np.testing.assert_array_equal(safetensors.numpy.load(bytes(file.body))["w"], values.T)


def test_scalars_and_empty_tensors_have_a_place():
    tensors = {"scalar": np.array(3, np.int64), "empty": np.zeros((0, 4), np.float32)}
    file = WeightsFile.encode(tensors)
    assert file.tensors()["scalar"] == 3
    file.overwrite({"scalar": np.array(4, np.int64), "empty": np.zeros((0, 4), np.float32)})
    assert file.tensors()["scalar"] == 4


def test_an_update_has_the_header_of_its_base():
    buffer = bytearray(safetensors.numpy.save({"a": np.zeros(3, np.float32), "b": np.zeros(5, np.float64)}, {"made": "by hand"}))
    header = bytes(buffer[: -3 * 4 - 5 * 8])
    file = WeightsFile(buffer)
    file.overwrite({"b": np.ones(5), "a": np.ones(3, np.float32)})
    assert bytes(file.body[: len(header)]) == header


def test_tensors_that_changed_places_are_not_overwritten_before_they_are_read():
    file = file_of(a=np.arange(3, dtype=np.float32), b=np.arange(3, 6, dtype=np.float32))
    weights = file.tensors()
    file.overwrite({"a": weights["b"], "b": weights["a"]})
    assert file.tensors()["a"].tolist() == [3, 4, 5]
    assert file.tensors()["b"].tolist() == [0, 1, 2]


def test_bfloat16_is_handed_out_as_float32_and_rounded_half_to_even():
    tensor = Tensor("w", "BF16", (5,), 0, 10)
    file = WeightsFile(bytearray(Layout((tensor,), 0, 10).encode() + bytes(10)))
    assert file.tensors()["w"].dtype == np.float32
    halfway = np.array([1 + 2**-8, 1 + 3 * 2**-8, -2.5, np.inf, np.nan], np.float32)
    file.overwrite({"w": halfway})
    np.testing.assert_array_equal(file.tensors()["w"], np.array([1, 1 + 2**-6, -2.5, np.inf, np.nan], np.float32))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        pytest.param({"v": np.zeros(3, np.float32)}, r"missing \['w'\], unknown \['v'\]", id="another name"),
        pytest.param({"w": np.zeros(3)}, "float64", id="another dtype"),
        pytest.param({"w": np.zeros(4, np.float32)}, r"shape \(4,\)", id="another shape"),
    ],
)
def test_other_tensors_than_given_are_refused_and_nothing_is_written(returned, said):
    file = file_of(w=np.ones(3, np.float32))
    with pytest.raises(WrongWeights, match=said):
        file.overwrite(returned)
    assert file.tensors()["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"12345", b"\xff" * 40, safetensors.numpy.save({"w": np.zeros(3, np.float32)})[:-1]])
def test_what_is_no_complete_file_is_refused(content):
    with pytest.raises(UnreadableWeights):
        WeightsFile(bytearray(content))
