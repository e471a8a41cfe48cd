"""The site: it builds without a warning, is whole by itself, and its search works from the disk, without a server or a network."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.cluster.places import REPOSITORY

LOADED_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@dataclass
class Html(HTMLParser):
    """What a browser finds in a page."""

    loads: list[str] = field(default_factory=list)
    """What it fetches by itself."""
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.classes |= set(values.get("class", "").split())
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and LOADED_RELATIONS & set(values.get("rel", "").split()):
            self.loads.append(values["href"])
        self.loads += [values[name] for name in ("src", "data", "poster") if name in values]
        self.loads += [one.split()[0] for one in values.get("srcset", "").split(",") if one.strip()]
        self.loads += stylesheet_loads(values.get("style", ""))


def read(text):
    page = Html()
    page.feed(text)
    page.loads += [one for style in re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL) for one in stylesheet_loads(style)]
    return page


def stylesheet_loads(text):
    return [one.strip("\"'") for pair in re.findall(r"url\(([^)]*)\)|@import\s+([^;]+)", text) for one in pair if one]


def foreign(loads):
    return [one for one in loads if urlsplit(one).netloc]


@pytest.fixture(scope="module")
def built(site):
    return {path: read(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_docs_is_in_the_site(site):
    for path in (REPOSITORY / "docs").rglob("*.md"):
        page = path.relative_to(REPOSITORY / "docs").as_posix().replace("README.md", "index.md")
        assert (site / page).with_suffix(".html").exists(), page


def test_a_page_loads_nothing_from_elsewhere(site, built):
    assert {path.name: foreign(page.loads) for path, page in built.items() if foreign(page.loads)} == {}
    for sheet in site.rglob("*.css"):
        assert foreign(stylesheet_loads(sheet.read_text(encoding="utf-8"))) == [], sheet.name
    # The theme's script fetches from elsewhere for diagrams in mermaid and for the star count of a repository.
    for path, page in built.items():
        assert not page.classes & {"mermaid", "md-source"}, path


def test_what_a_page_loads_is_there(built):
    for path, page in built.items():
        for one in page.loads:
            if not one.startswith("data:") and path.name != "404.html":  # which is written for the root of a server
                assert (path.parent / unquote(urlsplit(one).path)).exists(), (path, one)


def test_links_and_anchors_of_the_site_resolve(site, built):
    for path, page in built.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), (path, link)
            assert target.is_relative_to(site), (path, link)
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in built[target].anchors, (path, link)


@pytest.mark.parametrize(
    "planted",
    [
        '<link rel="stylesheet" href="https://fonts.example.com/css?family=Roboto">',
        '<link rel="preconnect" href="https://fonts.example.com">',
        '<script src="//cdn.example.com/x.js"></script>',
        '<img src="https://example.com/badge.svg">',
        "<style>@import 'https://example.com/a.css';</style>",
        '<div style="background: url(https://example.com/a.png)"></div>',
    ],
)
def test_a_load_from_elsewhere_is_found(planted):
    assert foreign(read(planted).loads)


def test_the_search_works_from_the_disk_without_a_network(site, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        missing = "chromium is not installed; Debian has it as the package chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    address = f"{Path(site, 'concepts.html').as_uri()}?q=lossGracePeriodSeconds"
    command = [browser, *flags, "--virtual-time-budget=20000", "--dump-dom", address]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=100).stdout
    results = re.findall(r'<a href="([^"]+)" class="md-search-result__link"', shown)
    assert any(urlsplit(one).path.endswith("concepts.html") for one in results), shown[-2000:]
