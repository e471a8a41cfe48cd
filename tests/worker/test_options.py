from __future__ import annotations

from pathlib import Path

import pytest

from fedcore.worker.options import InvalidOptions, Options

LEAST = {"FEDCORE_COORDINATOR": "http://host:8470/", "FEDCORE_ENTRYPOINT": "package.module:task"}


def test_given_values_win_over_the_environment_and_that_over_defaults():
    environment = {**LEAST, "FEDCORE_INDEX": "3", "FEDCORE_ATTEMPT": "2", "FEDCORE_DATA": "/data", "FEDCORE_SLOW": ""}
    options = Options.read(environment, {"index": 4, "attempt": None})
    assert (options.index, options.attempt, options.slow, options.data_dir) == (4, 2, 1.0, Path("/data"))
    assert (options.coordinator, options.display_name) == ("http://host:8470", "worker-4")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        pytest.param({"FEDCORE_COORDINATOR": ""}, "--coordinator (or FEDCORE_COORDINATOR) is required", id="missing"),
        pytest.param({"FEDCORE_COORDINATOR": "host:8470"}, "looks like http://host:8470", id="no URL"),
        pytest.param({"FEDCORE_INDEX": "x"}, "--index (or FEDCORE_INDEX)", id="no number"),
        pytest.param({"FEDCORE_SLOW": "0.5"}, "greater than or equal to 1", id="faster than real"),
        pytest.param({"FEDCORE_ENTRYPOINT": "task"}, "--entrypoint (or FEDCORE_ENTRYPOINT)", id="no attribute"),
    ],
)
def test_a_wrong_option_is_named(variables, said):
    with pytest.raises(InvalidOptions) as caught:
        Options.read({**LEAST, **variables})
    assert said in str(caught.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(InvalidOptions) as caught:
        Options.read({"FEDCORE_INDEX": "-1"})
    assert len(str(caught.value).splitlines()) == 3
