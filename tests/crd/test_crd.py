"""The CRD and its reference page against the models, and what the API server would refuse."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from fedcore.cli.main import app
from fedcore.crd import definition, definition_yaml, reference
from fedcore.crd.structural import structural
from fedcore.spec import FederatedJob, Status

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "crds" / "federatedjobs.yaml"
SCHEMA = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
OPEN = "x-kubernetes-preserve-unknown-fields"


def walk(schema, path="job"):
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from walk(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


FIELDS = [(path, schema) for path, schema in walk(SCHEMA) if not re.fullmatch(r"job\.(apiVersion|kind|metadata)", path)]


def test_the_committed_crd_is_what_the_models_say():
    assert COMMITTED.read_text() == definition_yaml(), "run `make crd`"


def test_the_committed_reference_is_what_the_models_say():
    assert (ROOT / "docs" / "crd.md").read_text() == reference(), "run `make crd`"


def test_the_commands_print_both():
    assert CliRunner().invoke(app, ["crd"]).stdout == definition_yaml()
    assert CliRunner().invoke(app, ["crd", "--reference"]).stdout == reference()


def test_the_crd_fits_into_the_annotation_of_kubectl_apply():
    assert len(definition_yaml()) < 60_000
    assert yaml.safe_load(definition_yaml()) == definition()


@pytest.mark.parametrize(("path", "schema"), FIELDS, ids=[path for path, _ in FIELDS])
def test_a_field_is_structural_and_bounded(path, schema):
    assert schema["type"] in {"object", "array", "string", "integer", "number", "boolean"}
    assert not schema.keys() & {"$ref", "anyOf", "title", "const", "uniqueItems", "propertyNames"}
    match schema["type"]:
        case "string":
            assert "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
        case "array":
            assert "maxItems" in schema
            assert schema["x-kubernetes-list-type"] in {"atomic", "set", "map"}
        case "object":
            kinds = [key for key in ("properties", "additionalProperties", OPEN) if key in schema]
            assert len(kinds) == 1
            assert "maxProperties" in schema or kinds != ["additionalProperties"]
    assert not re.search(r"\(\?[=!<]", schema.get("pattern", "")), "RE2 has no look-around"
    assert schema.get("description") or path.endswith("[]")


def _missing(schema, value, path):
    """Give the places where a default lacks a key that has a default of its own: a CEL rule would not find it."""
    for name, below in schema.get("properties", {}).items():
        if name in value:
            if "properties" in below:
                yield from _missing(below, value[name], f"{path}.{name}")
        elif "default" in below or name in schema.get("required", []):
            yield f"{path}.{name}"


@pytest.mark.parametrize(
    ("path", "schema"),
    [(path, schema) for path, schema in FIELDS if "properties" in schema and "default" in schema],
)
def test_the_default_of_an_object_is_full(path, schema):
    assert list(_missing(schema, schema["default"], path)) == []
    assert None not in schema["default"].values()


def test_an_object_whose_fields_all_have_defaults_has_one():
    without = [
        path
        for path, schema in FIELDS
        if path.startswith("job.spec.") and "properties" in schema and not schema.get("required") and "default" not in schema
    ]
    assert without == ["job.spec.workers.data[].volume"]


def test_the_status_has_no_defaults_and_its_lists_are_atomic_but_conditions():
    status = [(path, schema) for path, schema in FIELDS if path.startswith("job.status")]
    assert [path for path, schema in status if "default" in schema] == []
    assert {
        path: schema["x-kubernetes-list-type"]
        for path, schema in status
        if schema.get("x-kubernetes-list-type") != "atomic" and schema["type"] == "array"
    } == {"job.status.conditions": "map"}


def test_what_the_columns_show_is_there():
    fields = {path.removeprefix("job") for path, _ in FIELDS}
    for column in definition()["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = re.sub(r"\[\?\(.*?\)\]", "[]", column["jsonPath"])
        assert path in fields or path == ".metadata.creationTimestamp"
    scale = definition()["spec"]["versions"][0]["subresources"]["scale"]
    assert set(scale.values()) <= fields


def test_volumes_are_those_of_the_models():
    volume = dict(FIELDS)["job.spec.workers.data[].volume"]
    assert set(volume["properties"]) == {"csi", "nfs", "ephemeral", "image", "configMap", "secret"}
    assert OPEN not in volume


def test_every_rule_of_a_model_is_in_the_crd():
    text = definition_yaml()
    for words in (
        "rounds may only grow",
        "managedBy is immutable",
        "claimName and volume exclude each other",
        "minWorkers must not be above",
    ):
        assert words in text
    guarded = [rule for rule in SCHEMA["x-kubernetes-validations"] if "oldSelf.status.startTime" in rule["rule"]]
    assert len(guarded) == 8
    for rule in guarded:
        for path in re.findall(r"has\(self\.([\w.]+)\)", rule["rule"]):
            assert f"job.{path}" in dict(FIELDS)


def test_structural_translates_each_rule_of_the_generator():
    class Inner(BaseModel):
        """Inside."""

        size: int = Field(3, ge=1)
        note: str | None = Field(None, max_length=5)

    class Outer(BaseModel):
        """Outside."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        inner: Inner = Inner()
        """How big."""
        labels: dict[str, str] = {}
        anything: dict = {}
        codes: frozenset[int] = frozenset()

    assert structural(Outer, defaults=True)["properties"] == {
        "inner": {
            "description": "How big.",
            "type": "object",
            "default": {"size": 3},
            "properties": {"size": {"type": "integer", "minimum": 1, "default": 3}, "note": {"type": "string", "maxLength": 5}},
        },
        "labels": {"type": "object", "default": {}, "additionalProperties": {"type": "string"}},
        "anything": {"type": "object", "default": {}, OPEN: True},
        "codes": {"type": "array", "default": [], "items": {"type": "integer"}, "x-kubernetes-list-type": "set"},
    }
    assert "default" not in str(structural(Outer, defaults=False))


def test_models_of_the_status_are_documented():
    assert FederatedJob.model_fields["status"].description
    assert {name for name, field in Status.model_fields.items() if not field.description} == set()
