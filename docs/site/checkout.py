"""Give what lies outside of docs/ a page: on a forge links lead to any file of the checkout, and a site has only what it is built of.

A Markdown file becomes a page as it is, any other file a page that shows it, a folder its README.md or a list. The links in the pages' text
are turned to those. mkdocs finds the functions by their names: https://www.mkdocs.org/user-guide/configuration/#hooks.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

FOLDER = "checkout"
"""Where these pages lie on the site."""
# Code, inline or fenced, is matched so that nothing in it is taken for a link.
_LINK = re.compile(r'(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)|\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?P<title>\s+"[^"]*")?\)', re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".rb": "ruby", ".toml": "toml", ".c": "c", ".sh": "bash", ".csv": "text"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each path outside of docs/ that a page links to, and for those that these link to."""
    root = Path(config.config_file_path).parent
    waiting = [("docs/" + file.src_uri, file.content_string) for file in files.documentation_pages()]
    while waiting:
        origin, text = waiting.pop()
        for path in _outside(origin, text, root):
            uri = _uri(path, root)
            if files.get_file_from_path(uri) is None:
                content = _content(root / path, path)
                files.append(File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
                waiting.append((path, content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_files: Files) -> str:
    """Turn links that lead out of docs/, or from outside into it, to the pages of the site."""
    root = Path(config.config_file_path).parent
    uri = page.file.src_uri
    origin = uri.removeprefix(f"{FOLDER}/") if uri.startswith(f"{FOLDER}/") else f"docs/{uri}"

    def turned(link: re.Match[str]) -> str:
        path = _path(origin, link["target"])
        if path is None or not (root / path).exists():
            return link[0]  # elsewhere; or broken, which mkdocs says better
        there = posixpath.relpath(_uri(path, root), posixpath.dirname(uri) or ".")
        return f"]({there}{link['anchor'] or ''}{link['title'] or ''})"

    return _LINK.sub(turned, markdown)


def _outside(origin: str, text: str, root: Path) -> Iterator[str]:
    for link in _LINK.finditer(text):
        path = _path(origin, link["target"])
        if path is not None and PurePosixPath(path).parts[0] != "docs" and (root / path).exists():
            yield _readme(path, root)


def _path(origin: str, target: str | None) -> str | None:
    """Path in the checkout that a link means; None for other places."""
    if target is None or ":" in target or target.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    return None if path.startswith("..") else path


def _readme(path: str, root: Path) -> str:
    return posixpath.join(path, "README.md") if (root / path / "README.md").exists() else path


def _uri(path: str, root: Path) -> str:
    """Source of the page that shows a path of the checkout."""
    path = _readme(path, root)
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def _content(file: Path, path: str) -> str:
    if file.is_dir():
        lines = "\n".join(f"- [{one.name}]({file.name}/{one.name})" for one in sorted(file.iterdir()) if one.is_file())
        return f"# {path}\n\n{lines}\n"
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 3)
    return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n{fence}{_LANGUAGES.get(file.suffix, 'text')}\n{text}{fence}\n"
