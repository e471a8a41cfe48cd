"""The documentation as data: pages with their blocks of code, links and headings, read by a Markdown parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from tests.cluster.places import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

__all__ = ["Block", "Page", "pages"]

_PARSER = MarkdownIt("commonmark").enable("table")
_OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/ruby/README.md", "operator/fedcore_operator/README.md")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    language: str
    title: str | None
    """Path of the file that the block shows, from its ``title="..."``."""
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """A Markdown file, by its path in the checkout."""

    path: str
    text: str

    def __str__(self) -> str:
        return self.path

    @cached_property
    def _tokens(self) -> list[Token]:
        return _PARSER.parse(self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        """Blocks in the order in which they stand."""
        found = []
        for token in self._tokens:
            if token.type == "fence":
                language, _, rest = token.info.strip().partition(" ")
                title = re.search(r'title="([^"]+)"', rest)
                found.append(Block(self.path, token.map[0] + 1, language, title and title[1], token.content))
        return found

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and pictures, as written."""
        return [str(one.attrs[name]) for one in self._inline() for name in ("href", "src") if name in one.attrs]

    @cached_property
    def code(self) -> list[str]:
        """Code in running text and tables."""
        return [one.content for one in self._inline() if one.type == "code_inline"]

    @cached_property
    def anchors(self) -> set[str]:
        """What a forge makes of headings: small letters, no punctuation, a hyphen for each blank; a number from the second of a name on."""
        seen: dict[str, int] = {}
        anchors = set()
        for opening, content in zip(self._tokens, self._tokens[1:], strict=False):
            if opening.type == "heading_open":
                text = "".join(one.content for one in content.children if one.type in {"text", "code_inline"})
                slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
                count = seen.get(slug, 0)
                seen[slug] = count + 1
                anchors.add(f"{slug}-{count}" if count else slug)
        return anchors

    def _inline(self) -> Iterator[Token]:
        for token in self._tokens:
            yield from token.children or ()


def pages() -> list[Page]:
    """Return every page: docs/, and those outside of it that readers are led to."""
    paths = [*map(Path, _OUTSIDE), *(path.relative_to(REPOSITORY) for path in sorted((REPOSITORY / "docs").rglob("*.md")))]
    return [Page(path.as_posix(), (REPOSITORY / path).read_text(encoding="utf-8")) for path in paths]
