import pytest

from fedcore.tasks.parameters import InvalidParameter, Parameters


def read(values):
    parameters = Parameters(values)
    result = (
        parameters.number("learningRate", 0.5, above=0),
        parameters.number("momentum", 0.0, at_least=0, below=1),
        parameters.integer("batchSize", 32, at_least=1),
        parameters.integer("layers", 2, at_least=1, at_most=9),
        parameters.choice("dataset", "shipped", ("shipped", "full")),
        parameters.text("note", "none"),
    )
    parameters.finish()
    return result


def test_defaults_hold_where_the_job_says_nothing():
    assert read({}) == (0.5, 0.0, 32, 2, "shipped", "none")


def test_values_are_typed():
    given = {"learningRate": "1e-3", "momentum": "0.9", "batchSize": "8", "layers": "9", "dataset": "full", "note": ""}
    assert read(given) == (0.001, 0.9, 8, 9, "full", "")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        pytest.param("learningRate", "fast", "a number above 0", id="no number"),
        pytest.param("learningRate", "0", "a number above 0", id="at the open bound"),
        pytest.param("learningRate", "nan", "a number above 0", id="not finite"),
        pytest.param("learningRate", "inf", "a number above 0", id="infinite"),
        pytest.param("momentum", "1", "a number from 0 on and below 1", id="at the upper bound"),
        pytest.param("momentum", "-0.1", "a number from 0 on and below 1", id="below"),
        pytest.param("batchSize", "8.5", "a whole number from 1 on", id="fraction"),
        pytest.param("batchSize", "0", "a whole number from 1 on", id="too small"),
        pytest.param("layers", "10", "a whole number from 1 to 9", id="too large"),
        pytest.param("dataset", "Full", "shipped | full", id="no such word"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(name, value, allowed):
    with pytest.raises(InvalidParameter) as caught:
        read({name: value})
    assert (caught.value.name, caught.value.value, caught.value.allowed) == (name, value, allowed)
    assert str(caught.value) == f"spec.task.parameters.{name}: {value!r} is not allowed; allowed: {allowed}"


def test_an_unknown_name_is_refused_with_the_one_meant():
    with pytest.raises(
        InvalidParameter, match=r'learningrate: unknown parameter, did you mean "learningRate"\?; allowed: learningRate, mom'
    ):
        read({"learningrate": "1"})
    with pytest.raises(InvalidParameter, match="zebra: unknown parameter; allowed"):
        read({"zebra": "1"})


def test_a_task_without_parameters_says_so():
    with pytest.raises(InvalidParameter, match="this task has no parameters"):
        Parameters({"a": "1"}).finish()
