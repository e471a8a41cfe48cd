"""YAML text to plain data, with the place of every value.

PyYAML's node tree is read here instead of its objects: nodes know their lines, duplicate fields are still both there, and nothing is
made of a tag. Plain scalars are taken as the API server takes them, so that a file means the same on a cluster: ``1e-3`` is a number,
``on`` is true, ``2026-01-01`` and ``1:30`` are text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from fedcore.jobfile.problems import FieldPath, InvalidJob, Place, Problem, show_field

__all__ = ["Draft", "compose", "plain_type", "read_node"]

_DEPTH = 64
"""Levels of nesting; a pod template has about ten."""
_VALUES = 100_000
"""Values after aliases are followed: a few lines of aliases to aliases would otherwise fill the memory."""

_TAG = "tag:yaml.org,2002:"
_NULL, _TRUE, _FALSE = re.compile(r"~|null|Null|NULL|"), re.compile(r"(?i:true|yes|on)"), re.compile(r"(?i:false|no|off)")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17}|0x[0-9a-fA-F]{1,15})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(slots=True)
class Draft:
    """A job file as it was read, before any rule of the job."""

    source: str
    data: Any = None
    places: dict[FieldPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[FieldPath] = field(default_factory=set)
    """Fields that a problem names already; what else would be said of them is only its echo."""

    def place(self, path: FieldPath) -> Place:
        """Return where a field stands; one that is missing belongs to the next field around it."""
        for length in range(len(path), -1, -1):
            place = self.places.get(path[:length])
            if place is not None:
                return place
        return Place(self.source)

    def add(self, path: FieldPath, message: str, place: Place | None = None) -> None:
        """Note a problem."""
        place = place or self.place(path)
        self.problems.append(Problem(place.source, place.line, show_field(path), message))
        self.broken.add(path)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # the stubs take it for an instance's
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > _DEPTH:
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_DEPTH} levels", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _name, _pattern, _first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", re.compile(f"{_TRUE.pattern}|{_FALSE.pattern}"), list("yYnNtTfFoO")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern.pattern})$"), _first)


def plain_type(text: str) -> str:
    """Return what YAML takes an unquoted word for: ``str``, ``null``, ``bool``, ``int`` or ``float``."""
    for name, patterns in (("null", (_NULL,)), ("bool", (_TRUE, _FALSE)), ("int", (_INT,)), ("float", (_FLOAT,))):
        if any(pattern.fullmatch(text) for pattern in patterns):
            return name
    return "str"


def compose(text: str, source: str) -> yaml.Node | None:
    """Return the node of the one job in ``text``, None if there is nothing.

    Beside it there may be documents of other kinds, a StorageClass for instance: `kubectl apply` takes them, and here they mean nothing.

    Raises
    ------
    InvalidJob
        It is not YAML, or of several documents not exactly one is a job.
    """
    documents: list[yaml.Node] = []
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None and not (isinstance(node, yaml.ScalarNode) and not node.value):
                documents.append(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        hint = "; indent with spaces" if "\\t" in (error.problem or "") else ""
        wrong = ", ".join(part for part in (error.context, error.problem) if part)
        raise InvalidJob([Problem(source, line, "", f"not YAML: {wrong}{hint}")]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidJob([Problem(source, line, "", f"not YAML: the character {chr(error.character)!a} is not allowed")]) from None
    except (ValueError, OverflowError, RecursionError) as error:  # "\U99999999", which PyYAML hands to chr()
        raise InvalidJob([Problem(source, None, "", f"not YAML: {error}")]) from None
    if len(documents) > 1:
        jobs = [node for node in documents if _kind(node) == "FederatedJob"]
        if len(jobs) != 1:
            line = (jobs or documents)[1].start_mark.line + 1
            found = f"{len(jobs) or 'none'} of {len(documents)} documents {'are' if jobs else 'is'} of kind FederatedJob"
            raise InvalidJob([Problem(source, line, "", f"{found}; allowed: one in a file, beside documents of other kinds")])
        return jobs[0]
    return documents[0] if documents else None


def _kind(node: yaml.Node) -> str | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value.value for name, value in node.value if name.value == "kind" and isinstance(value, yaml.ScalarNode)), None)


def read_node(draft: Draft, node: yaml.Node, path: FieldPath, *, override: str | None = None) -> Any:
    """Return what a node says, and note places and problems in the draft.

    Raises
    ------
    InvalidJob
        Aliases make it too large or endless.
    """
    return _Reader(draft, override).value(node, path)


class _Reader:
    def __init__(self, draft: Draft, override: str | None) -> None:
        self._draft = draft
        self._override = override
        self._count = 0

    def value(self, node: yaml.Node, path: FieldPath, name: yaml.Node | None = None) -> Any:
        """Return the value of ``node``; ``name`` is the node of the field's name, which is where people look for it."""
        self._count += 1
        place = self._place(name or node, node.value if isinstance(node, yaml.ScalarNode) else None)
        # An alias that holds itself never ends, but its path grows.
        if self._count > _VALUES or len(path) > 2 * _DEPTH:
            raise InvalidJob([Problem(place.source, place.line, "", f"aliases (*name) make more than {_VALUES} values of it, or no end")])
        self._draft.places[path] = place
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, place)
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _TAG + kind:
            self._draft.add(path, f"the tag {_show_tag(node.tag)} is not read; leave it out")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, node_below in node.value:
            place = self._place(name, None)
            if not isinstance(name, yaml.ScalarNode) or name.tag != _TAG + "str":
                self._refuse_name(name, path, place)
                continue
            key = _joined(name.value)
            below = (*path, key or "")
            if key is None:
                self._draft.add(path, "a name is not valid Unicode", place)
            elif key == "<<" and name.style is None:
                self._draft.add(below, "merge keys (<<) are not read; write the fields out", place)
            elif key in result:
                message = f"given twice, first on line {self._draft.places[below].line}"
                self._draft.problems.append(Problem(place.source, place.line, show_field(below), message))  # the first one is checked
            else:
                result[key] = self.value(node_below, below, name)
        return result

    def _refuse_name(self, name: yaml.Node, path: FieldPath, place: Place) -> None:
        if isinstance(name, yaml.ScalarNode):
            self._draft.add((*path, name.value), f'the name is not text; write it in quotes: "{name.value}"', place)
        else:
            self._draft.add(path, "a name must be text", place)

    def _scalar(self, node: yaml.ScalarNode, path: FieldPath, place: Place) -> Any:
        text, tag = node.value, node.tag.removeprefix(_TAG)
        if tag == "str":
            joined = _joined(text)
            if joined is None:
                self._draft.add(path, "not valid Unicode", place)
            return joined
        if tag not in {"null", "bool", "int", "float"}:
            self._draft.add(path, f"the tag {_show_tag(node.tag)} is not read; leave it out", place)
            return None
        if plain_type(text) != tag and not (tag == "float" and _FLOAT.fullmatch(text)):
            self._draft.add(path, f'"{text}" is not what its tag {_show_tag(node.tag)} says', place)
            return None
        if tag == "null":
            return None
        if tag == "bool":
            return _TRUE.fullmatch(text) is not None
        if tag == "int":
            return int(text, 16 if "x" in text else 10)
        number = float(text)
        if not math.isfinite(number):
            self._draft.add(path, f"{text[:40]} is too large for a number", place)
            return None
        return number

    def _place(self, node: yaml.Node, text: str | None) -> Place:
        if self._override is not None:
            return Place(self._override, None, text)
        return Place(self._draft.source, node.start_mark.line + 1, text)


def _joined(text: str) -> str | None:
    r"""Return ``text`` with halves of characters joined: JSON writes ``"\ud83d\ude00"`` for one character, and PyYAML reads two halves."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def _show_tag(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
