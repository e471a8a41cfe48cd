"""A job file becomes a job, or every problem with it at its place."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedcore.jobfile import InvalidJob, Problem, dump_job, load_job, parse_job, resolved
from fedcore.jobfile.problems import parse_field, show_field
from fedcore.spec import local_tls

HEAD = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata:
  name: mnist
spec:
"""
MINIMAL = f"""{HEAD}  rounds: 10
  task:
    entrypoint: my_task:task
  workers:
    replicas: 8
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes ``job.yaml`` into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write_job(content, name="job.yaml"):
        path = Path(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_job


def problems_of(path, overrides=()):
    with pytest.raises(InvalidJob) as caught:
        load_job(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def job_of(write, text, overrides=()):
    return load_job(write(text), overrides)


# What is no job at all: one problem, nothing else.


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", "job.yaml: empty; allowed: a FederatedJob, which begins with", id="an empty file"),
        pytest.param("# nothing\n---\n", "job.yaml: empty; allowed:", id="only a comment"),
        pytest.param("{}", "job.yaml: empty; allowed:", id="an empty mapping"),
        pytest.param("hello", 'job.yaml:1: "hello" is no job; allowed:', id="a word"),
        pytest.param("- a\n- b\n", "job.yaml:1: a list is no job; allowed:", id="a list"),
        pytest.param("a: [1\nb: 2\n", "job.yaml:2: not YAML: while parsing a flow sequence, expected", id="a bracket left open"),
        pytest.param("a:\n\tb: 1\n", "job.yaml:2: not YAML: while scanning for the next token, found character '\\t'", id="a tab"),
        pytest.param("a: 1\n\x00", "job.yaml:2: not YAML: the character '\\x00' is not allowed", id="a control character"),
        pytest.param(b"a: 1\nb: \xff\n", "job.yaml:2: not UTF-8 text", id="another encoding"),
        pytest.param('a: "\\U00110000"', "job.yaml: not YAML: chr() arg not in range", id="an escape beyond Unicode"),
        pytest.param(f"{MINIMAL}---\n{MINIMAL}", "job.yaml:12: 2 of 2 documents are of kind FederatedJob; allowed: one", id="two jobs"),
        pytest.param("kind: A\n---\nkind: B", "job.yaml:3: none of 2 documents is of kind FederatedJob; allowed: one", id="no job"),
        pytest.param("[" * 1000, "job.yaml:1: not YAML: nested deeper than 64 levels", id="too deep"),
        pytest.param("a: &a [*a]", "job.yaml:1: aliases (*name) make more than 100000 values of it, or no end", id="an endless alias"),
        pytest.param(
            "".join(
                f"{'abcdefghij'[i]}: &{'abcdefghij'[i]} [{', '.join(['*' + 'abcdefghij'[i - 1]] * 9) if i else 'x'}]\n" for i in range(10)
            ),
            "job.yaml:1: aliases (*name) make more than 100000 values of it, or no end",
            id="an alias bomb",
        ),
        pytest.param("a: *nowhere", "job.yaml:1: not YAML: found undefined alias 'nowhere'", id="an alias of nothing"),
        pytest.param(b"#" * (1 << 20) + b"#", "job.yaml: larger than 1 MiB; no job is that large", id="too large"),
        pytest.param(
            MINIMAL.replace("v1alpha1", "v2"),
            'job.yaml:1: apiVersion: "fedcore.dev/v2" is not known; allowed: fedcore.dev/v1alpha1',
            id="another version",
        ),
        pytest.param(MINIMAL.replace("kind: FederatedJob\n", ""), "job.yaml:1: kind: missing; allowed: FederatedJob", id="no kind"),
        pytest.param(
            "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: x}\n",
            'job.yaml:2: kind: "Deployment" is no FederatedJob; allowed: a FederatedJob, which begins with',
            id="another object",
        ),
        pytest.param("rounds: 3\n", "job.yaml:1: kind: no FederatedJob; allowed: a FederatedJob", id="a mapping of something else"),
    ],
)
def test_what_is_no_job_is_one_problem(write, content, expected):
    (problem,) = problems_of(write(content))
    assert problem.startswith(expected)


def test_a_file_that_is_not_there(write, tmp_path):
    assert problems_of(Path("nope.yaml")) == ["nope.yaml: no such file"]
    (tmp_path / "folder").mkdir()
    assert problems_of(Path("folder")) == ["folder: a folder, not a file"]
    assert problems_of(Path("a\0b")) == ["a\\x00b: cannot be read: embedded null byte"]
    assert problems_of(write("x", "a") / "b") == ["a/b: cannot be read: Not a directory"]


# Single fields.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("rounds: 0", "spec.rounds: 0 is out of range; allowed: a whole number from 1 to 100000", id="too small"),
        pytest.param("rounds: 1e9", "spec.rounds: 1e9 is not a whole number; allowed: a whole", id="a float for a whole number"),
        pytest.param("rounds: 7.5", "spec.rounds: 7.5 is not a whole number; allowed: a whole", id="a fraction"),
        pytest.param('rounds: "7"', 'spec.rounds: "7" is text; allowed: a whole number from 1 to 100000, without quotes', id="in quotes"),
        pytest.param("rounds: many", 'spec.rounds: "many" is text; allowed: a whole number from 1 to 100000', id="a word"),
        pytest.param("rounds: yes", "spec.rounds: yes is not a number; allowed: a whole number", id="a truth value"),
        pytest.param("rounds:", "spec.rounds: empty; allowed: a whole number", id="nothing"),
        pytest.param("rounds: {a: 1}", "spec.rounds: a mapping; allowed: a whole number", id="a mapping"),
        pytest.param("rounds: [1]", "spec.rounds: a list; allowed: a whole number", id="a list"),
        pytest.param("rounds: 1e999", "spec.rounds: 1e999 is too large for a number", id="beyond every float"),
        pytest.param("suspend: 1", "spec.suspend: 1 is not true or false; allowed: true or false", id="a number for a truth value"),
        pytest.param("suspend: maybe", 'spec.suspend: "maybe" is text; allowed: true or false', id="a word for a truth value"),
        pytest.param("quorum: 75", "spec.quorum: 75 is not a mapping; allowed: a mapping with percent, minWorkers", id="no mapping"),
        pytest.param("quorum:", "spec.quorum: empty; allowed: a mapping with percent, minWorkers", id="an empty mapping"),
        pytest.param(
            "managedBy: 5",
            'spec.managedBy: 5 is read as a number; allowed: text of at most 63 characters, so write it in quotes: "5"',
            id="text",
        ),
        pytest.param("managedBy: on", 'so write it in quotes: "on"', id="a truth value for text"),
        pytest.param(f"managedBy: {'x' * 64}", "spec.managedBy: 64 characters long; allowed: text of at most 63", id="too long"),
        pytest.param('workers: {replicas: 1, image: ""}', "spec.workers.image: empty; allowed: text of at most 512", id="empty text"),
        pytest.param("cleanPodPolicy: Al", '"Al" is unknown, did you mean "All"? allowed: Running, All, None', id="nearly a choice"),
        pytest.param("cleanPodPolicy: x", '"x" is unknown; allowed: Running, All, None', id="no choice"),
        pytest.param(
            "metrics: {perWorker: off}", "spec.metrics.perWorker: off is read as false; allowed: auto, always, never", id="YAML's off"
        ),
        pytest.param(
            "workload: {epochs: .nan}", 'spec.workload.epochs: ".nan" is text; allowed: a number from 0.01 to 1000', id="no number"
        ),
        pytest.param(
            "task: {entrypoint: nocolon}", 'spec.task.entrypoint: "nocolon" is no entrypoint; allowed: module:attribute', id="entrypoint"
        ),
        pytest.param("task: {}", "spec.task.entrypoint: missing; allowed: text of at most 256 characters", id="missing"),
        pytest.param(
            "task: {entrypoint: a:b, parameters: {lr: 1e-3}}",
            'spec.task.parameters.lr: 1e-3 is read as a number; allowed: text of at most 4096 characters, so write it in quotes: "1e-3"',
            id="a number among parameters",
        ),
        pytest.param(
            f"task: {{entrypoint: a:b, parameters: {{{'x' * 65}: y}}}}", "the name has 65 characters; allowed: 1 to 64", id="a long name"
        ),
        pytest.param('task: {entrypoint: a:b, parameters: {"": y}}', "an empty name", id="an empty name"),
        pytest.param(
            "task: {entrypoint: a:b, parameters: {true: y}}", 'parameters.true: the name is not text; write it in quotes: "true"', id="true"
        ),
        pytest.param("task: {entrypoint: a:b, parameters: {[a]: y}}", "spec.task.parameters: a name must be text", id="a list as name"),
        pytest.param(
            f"task: {{entrypoint: a:b, parameters: {{{', '.join(f'a{i}: b' for i in range(65))}}}}}",
            "spec.task.parameters: 65 entries; allowed: a mapping of names, at most 64, each to text of at most 4096 characters",
            id="too many",
        ),
        pytest.param(
            "failurePolicy: {nonRetryableExitCodes: [2, 300]}",
            "spec.failurePolicy.nonRetryableExitCodes[1]: 300 is out of range; allowed: a whole number from 1 to 255",
            id="in a list",
        ),
        pytest.param("aggregation: {algorithm: mean}", 'spec.aggregation.algorithm: "mean" is unknown; allowed: fedavg', id="algorithm"),
        pytest.param(
            "aggregation: {parameters: {a: b}}", "spec.aggregation.parameters: a: fedavg has no parameters", id="of the algorithm"
        ),
        pytest.param("suspend: !!str x", 'spec.suspend: "x" is text', id="a tag that fits"),
        pytest.param("suspend: !!int x", 'spec.suspend: "x" is not what its tag !!int says', id="a tag that does not"),
        pytest.param("managedBy: !!binary aGk=", "spec.managedBy: the tag !!binary is not read; leave it out", id="a tag of YAML"),
        pytest.param("managedBy: !!python/name:os.system x", "the tag !!python/name:os.system is not read", id="a tag of Python"),
        pytest.param("quorum: !mine {percent: 5}", "spec.quorum: the tag !mine is not read; leave it out", id="a tag of one's own"),
        pytest.param('managedBy: "\\ud800"', "spec.managedBy: not valid Unicode", id="half a character"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(write, line, expected):
    name = line.split(":")[0]
    rest = "".join(
        f"  {one}\n" for one in ("rounds: 3", "task: {entrypoint: a:b}", "workers: {replicas: 4}") if not one.startswith(f"{name}:")
    )
    (problem,) = problems_of(write(f"{HEAD}  {line}\n{rest}"))
    assert problem.startswith("job.yaml:6: spec.")
    assert expected in problem


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            "workload: {polcy: aimd}", 'spec.workload.polcy: unknown field, did you mean "policy"? allowed: policy, epochs', id="a slip"
        ),
        pytest.param(
            "quorum: {min_workers: 2}", 'spec.quorum.min_workers: unknown field, did you mean "minWorkers"? allowed:', id="snake case"
        ),
        pytest.param(
            "percent: 75", 'spec.percent: unknown field, did you mean "spec.quorum.percent"? allowed: seed, rounds', id="wrong mapping"
        ),
        pytest.param("quorum: {zzz: 2}", "spec.quorum.zzz: unknown field; allowed: percent, minWorkers, graceSeconds", id="nothing near"),
        pytest.param("quorum: {<<: {percent: 2}}", "merge keys (<<) are not read; write the fields out", id="a merge key"),
        pytest.param('quorum: {"a b": 2}', 'spec.quorum["a b"]: unknown field', id="a name with a space"),
    ],
)
def test_an_unknown_field_is_named_with_what_was_meant(write, line, expected):
    (problem,) = problems_of(write(f"{MINIMAL}  {line}\n"))
    assert problem.startswith("job.yaml:11: spec.")
    assert expected in problem


def test_a_misspelt_field_is_not_missed_too(write):
    (problem,) = problems_of(write(MINIMAL.replace("entrypoint", "entrypont")))
    assert 'unknown field, did you mean "entrypoint"?' in problem


def test_a_field_given_twice_is_refused_and_the_first_is_checked(write):
    text = f"{MINIMAL}  quorum:\n    percent: 150\n    percent: 50\n"
    assert problems_of(write(text)) == [
        "job.yaml:12: spec.quorum.percent: 150 is out of range; allowed: a whole number from 1 to 100",
        "job.yaml:13: spec.quorum.percent: given twice, first on line 12",
    ]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(write):
    text = f"""{HEAD}  rounds: 0
  workload:
    polcy: aimd
    increment: 0
  quorum: {{percent: 150}}
  workers:
    replicas: many
"""
    fields = [problem.split(": ")[1] for problem in problems_of(write(text), [("spec.seed", "x")])]
    assert fields == [
        "spec.task",
        "spec.rounds",
        "spec.workload.polcy",
        "spec.workload.increment",
        "spec.quorum.percent",
        "spec.workers.replicas",
        '"x" is text; allowed',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("  workload:\n    epochs: 1\n    minEpochs: 3\n", "job.yaml:13: spec.workload.minEpochs: ", id="epochs"),
        pytest.param("  quorum:\n    graceSeconds: 700\n", "job.yaml:12: spec.quorum.graceSeconds: 700 is above", id="grace"),
        pytest.param(
            "  quorum:\n    minWorkers: 9\n", "job.yaml:12: spec.quorum.minWorkers: 9 is above workers.replicas (8)", id="workers"
        ),
        pytest.param(
            "  coordinator:\n    checkpoint:\n      volumeClaimTemplate: {}\n      claimName: x\n",
            "job.yaml:14: spec.coordinator.checkpoint.claimName: claimName and volumeClaimTemplate exclude each other",
            id="two claims",
        ),
    ],
)
def test_a_rule_over_several_fields_has_the_place_of_the_one_to_look_at(write, text, expected):
    (problem,) = problems_of(write(f"{MINIMAL}{text}"))
    assert problem.startswith(expected)


def test_a_rule_is_not_judged_by_the_default_of_a_misspelt_field(write):
    (problem,) = problems_of(write(f"{MINIMAL}  workload: {{epocs: 5, minEpochs: 3}}\n"))
    assert 'spec.workload.epocs: unknown field, did you mean "epochs"?' in problem


def test_a_problem_is_one_line_that_a_terminal_shows_as_it_is(write):
    (problem,) = problems_of(write(f'{MINIMAL}  "a\\e[31m\\nb": 1\n'))
    assert problem.isprintable()
    assert "\\x1b[31m\\nb" in problem


# What a file means.


def test_plain_words_mean_what_they_mean_on_a_cluster(write):
    text = MINIMAL.replace(
        "entrypoint: my_task:task",
        "entrypoint: my_task:task\n    parameters: {date: 2026-01-01, time: 1:30, tilde: a~, hex: '0x10'}\n    initialWeights: ~",
    )
    job = job_of(write, f"{text}  workload: {{epochs: 5e-1}}\n  suspend: on\n")
    assert job.spec.task.parameters == {"date": "2026-01-01", "time": "1:30", "tilde": "a~", "hex": "0x10"}
    assert (job.spec.workload.epochs, job.spec.suspend, job.spec.task.initial_weights) == (0.5, True, None)


def test_json_is_read_too_with_tabs_and_joined_characters(write):
    data = yaml.safe_load(MINIMAL)
    data["spec"]["task"]["parameters"] = {"smile": "\U0001f600"}
    job = load_job(write(json.dumps(data, indent="\t"), "job.json"))
    assert job.spec.task.parameters == {"smile": "\U0001f600"}


def test_what_a_cluster_adds_is_taken_and_its_status_left_out(write):
    job = job_of(write, MINIMAL.replace("name: mnist", "name: mnist\n  resourceVersion: '5'\n  uid: u-1") + "status: {phase: Running}\n")
    assert (job.metadata.uid, job.status) == ("u-1", None)


def test_anchors_and_aliases_are_followed(write):
    job = job_of(write, f"{MINIMAL}    template: &pod {{spec: {{a: 1}}}}\n  coordinator: {{template: *pod}}\n")
    assert job.spec.coordinator.template == job.spec.workers.template == {"spec": {"a": 1}}


def test_data_parsed_elsewhere_has_the_same_checks_without_lines():
    data = yaml.safe_load(MINIMAL)
    assert parse_job(data, "the API server").spec.rounds == 10
    data["spec"]["quorum"] = {"percnt": 50, "graceSeconds": "5"}
    with pytest.raises(InvalidJob) as caught:
        parse_job(data, "the API server")
    assert sorted(map(str, caught.value.problems)) == [
        'the API server: spec.quorum.graceSeconds: "5" is text; allowed: a whole number from 0 to 3600, without quotes',
        'the API server: spec.quorum.percnt: unknown field, did you mean "percent"? allowed: percent, minWorkers, graceSeconds, '
        "roundTimeoutSeconds, lossGracePeriodSeconds",
    ]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), "\ud800"])
def test_data_that_no_json_can_hold_is_an_invalid_job(value):
    data = yaml.safe_load(MINIMAL)
    data["spec"]["workers"]["template"] = {"x": value}
    with pytest.raises(InvalidJob):
        parse_job(data, "x")


# --set


@pytest.mark.parametrize(
    ("path", "value", "attribute", "expected"),
    [
        pytest.param("spec.quorum.percent", "100", "quorum.percent", 100, id="a number in a mapping that is not there"),
        pytest.param("spec.rounds", "3", "rounds", 3, id="in place of the file's"),
        pytest.param("spec.task.parameters.lr", "0.1", "task.parameters", {"lr": "0.1"}, id="text that looks like a number"),
        pytest.param("spec.managedBy", "on", "managed_by", "on", id="text that looks like a truth value"),
        pytest.param("spec.suspend", "true", "suspend", True, id="a truth value"),
        pytest.param("spec.quorum.graceSeconds", "", "quorum.grace_seconds", None, id="nothing means not set"),
        pytest.param("spec.failurePolicy.nonRetryableExitCodes", "[2, 3]", "failure_policy.non_retryable_exit_codes", {2, 3}, id="a list"),
        pytest.param('spec.workers.template["a.b"][0].c', "x", "workers.template", {"a.b": [{"c": "x"}]}, id="a name with a dot"),
    ],
)
def test_an_override_replaces_the_field(write, path, value, attribute, expected):
    found = job_of(write, MINIMAL, [(path, value)]).spec
    for name in attribute.split("."):
        found = getattr(found, name)
    assert found == expected


def test_the_last_override_of_a_field_wins_and_a_file_may_owe_what_is_set(write):
    job = job_of(write, MINIMAL.replace("  rounds: 10\n", ""), [("spec.rounds", "x"), ("spec.rounds", "7")])
    assert job.spec.rounds == 7


def test_an_override_mends_what_the_file_has_wrong(write):
    assert job_of(write, MINIMAL.replace("10", "1e999"), [("spec.rounds", "7")]).spec.rounds == 7


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec.quorum.percent", "150", "--set spec.quorum.percent: 150 is out of range; allowed: a whole number from 1 to 100"),
        ("spec.quorum.percent", "x", '--set spec.quorum.percent: "x" is text; allowed: a whole number from 1 to 100'),
        ("spec.quorum.percnt", "5", '--set spec.quorum.percnt: unknown field, did you mean "percent"? allowed: percent, minWorkers'),
        ("spec.quorum.percent", "[", "--set spec.quorum.percent: not YAML: while parsing a flow node, expected"),
        ("spec.rounds.x", "1", "--set spec.rounds.x: spec.rounds is no mapping, so nothing can be set there"),
        ("spec.rounds[0]", "1", "--set spec.rounds[0]: spec.rounds is no list, so nothing can be set there"),
        ("spec.workers.data[3].indexes", "1", "--set spec.workers.data[3].indexes: spec.workers.data is a list of 1, so nothing"),
        ("spec.quorum.minWorkers", "9", "--set spec.quorum.minWorkers: 9 is above workers.replicas (8)"),
        ("spec..x", "1", '--set spec..x: "spec..x" is no field; write for example spec.quorum.percent'),
        ("", "1", '--set : "" is no field'),
    ],
)
def test_a_wrong_override_is_named_as_such(write, path, value, expected):
    text = f'{MINIMAL}    data: [{{indexes: "0"}}]\n'
    (problem,) = problems_of(write(text), [(path, value)])
    assert problem.startswith(expected)


# Places.


@pytest.mark.parametrize("field", [("spec", "rounds"), ("a", 0, "b", 12), ("a", "kubernetes.io/x", 1), ("a b",), ("a", "")])
def test_a_field_that_is_shown_is_read_back(field):
    assert parse_field(show_field(field)) == field


def test_a_problem_without_line_or_field_is_as_short():
    assert str(Problem("job.yaml", None, "", "empty")) == "job.yaml: empty"


# Writing.

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
names = texts.filter(bool)
open_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def specs(draw):
    replicas = draw(st.integers(1, 1000))
    epochs = draw(st.floats(0.1, 10))
    spec = {
        "rounds": draw(st.integers(1, 100_000)),
        "task": {"entrypoint": "a.b:c", "parameters": draw(st.dictionaries(names, texts, max_size=3))},
        "workload": {"epochs": epochs, "minEpochs": min(epochs, draw(st.floats(0.01, 1)))},
        "quorum": {"percent": draw(st.integers(1, 100)), "minWorkers": draw(st.integers(1, replicas))},
        "workers": {"replicas": replicas, "template": draw(st.none() | st.dictionaries(texts, open_values, max_size=3))},
        "managedBy": draw(st.none() | texts.filter(bool)),
        "failurePolicy": {"nonRetryableExitCodes": draw(st.lists(st.integers(1, 255), max_size=4, unique=True))},
    }
    if draw(st.booleans()):
        spec["security"] = {"tls": draw(st.booleans())}
    return spec


@given(specs())
@settings(max_examples=60, deadline=None)
def test_a_job_that_is_written_reads_back_equal(tmp_path_factory, spec):
    head = yaml.safe_load(HEAD)
    job = parse_job({**head, "spec": spec}, "x")
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(dump_job(job), encoding="utf-8")
    again = load_job(path)
    assert again == job
    assert dump_job(again) == dump_job(job)
    assert local_tls(again) == local_tls(job)
    path.write_text(resolved(path), encoding="utf-8")
    assert load_job(path) == job


def test_a_written_job_means_the_same_to_other_readers_of_yaml(write):
    tricky = {
        name: name for name in ("on", "y", "~", "1e3", "1:30", "2026-01-01", "010", "0x1", "a: b", "a #b", "<<", "=", "a\nb", ".5", "- x")
    }
    data = yaml.safe_load(MINIMAL)
    data["spec"]["task"]["parameters"] = tricky
    data["spec"]["workers"]["template"] = {"tiny": 1e-7, "none": None, "nested": [[1, {"a": []}], {"b": {}}]}
    text = dump_job(parse_job(data, "x"))
    seen = yaml.safe_load(text)
    assert seen["spec"]["task"]["parameters"] == tricky
    assert seen["spec"]["workers"]["template"] == data["spec"]["workers"]["template"]
    assert load_job(write(text)).spec.workers.template == data["spec"]["workers"]["template"]


def test_a_written_job_has_every_default_but_no_tls_that_nobody_asked_for(write):
    text = dump_job(job_of(write, MINIMAL))
    assert "  seed: 0\n" in text
    assert "    roundTimeoutSeconds: 600\n" in text
    assert "security" not in text
    assert "tls: true" in dump_job(job_of(write, f"{MINIMAL}  security: {{tls: true}}\n"))


def test_a_resolved_job_says_where_each_value_came_from(write):
    text = f"{MINIMAL}    template:\n      spec: {{nothing: ~}}\n  coordinator: {{image: ~}}\n"
    lines = resolved(write(text), [("spec.quorum.percent", "100")]).splitlines()
    for line in (
        "  rounds: 10  # job.yaml:6",
        "    percent: 100  # --set",
        "    minWorkers: 1  # default",
        "        nothing: null  # job.yaml:12",
        "    image: null  # job.yaml:13",
        "    nonRetryableExitCodes: [2]  # default",
        "    tls: true  # default",
    ):
        assert line in lines
    leaves = [line for line in lines if not line.endswith(":")]
    assert all(re.search(r"  # (default|--set|job\.yaml:\d+)$", line) for line in leaves)
    assert not any("maxEpochs" in line for line in lines)


# Nothing but InvalidJob, whatever the text.

words = st.sampled_from([
    "apiVersion: fedcore.dev/v1alpha1\nkind: FederatedJob\n", MINIMAL, "metadata: {name: a}\n", "spec:\n", "  ", "\n", "- ", ": ",
    "{", "}", "[", "]", ",", "&a ", "*a ", "!!int ", "!!set ", "!x ", "? ", "|\n", ">-\n", "'", '"', "\\", "#", "---\n", "...\n",
    "%YAML 1.1\n", "<<: ", "null", "~", "1e999", "0x", "9" * 5000, "rounds: ", "quorum: ", "workers: ", "data: ", "\t", "\x85", "\ufeff",
])  # fmt: skip


@given(st.lists(words | st.text(max_size=4), max_size=14).map("".join) | st.binary(max_size=30))
@example("a: &x {b: *x}")
@example("? [a]\n: b")
@example("a: !!float 0x1")
@example("a: !!int 1.5")
@example("&a a: *a")
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_job_or_invalid_and_nothing_else(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with suppress(InvalidJob):
        load_job(path)


@given(path=st.lists(words | st.sampled_from(["spec", ".", "rounds", "[0]", "data", '["x"]']), max_size=6).map("".join), value=words)
@settings(max_examples=200, deadline=None)
def test_any_override_is_taken_or_invalid_and_nothing_else(tmp_path_factory, path, value):
    file = tmp_path_factory.getbasetemp() / "overridden.yaml"
    file.write_text(MINIMAL, encoding="utf-8")
    with suppress(InvalidJob):
        load_job(file, [(path, value)])


def test_documents_of_other_kinds_are_left_to_kubectl(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: ours, x: !!binary AA==}}\n---\n[a list]\n---\n{MINIMAL}")
    alone = tmp_path / "alone.yaml"
    alone.write_text(MINIMAL)
    assert load_job(file) == load_job(alone)
    file.write_text(file.read_text().replace("rounds:", "roundz:"))
    with pytest.raises(InvalidJob, match=r"job\.yaml:12: .*roundz"):
        load_job(file)


# What is shipped.

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("examples/*.yaml"), *ROOT.glob("fedcore/cli/jobs/*.yaml")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_job_is_valid(path):
    load_job(path)


def test_there_are_shipped_jobs():
    assert {"minimal.yaml", "sites.yaml", "mnist-torch.yaml", "mnist-numpy.yaml"} <= {path.name for path in SHIPPED}
