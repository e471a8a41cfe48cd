"""Links as a forge shows them: relative ones lead to a file of the checkout, anchors to a heading; others are well formed, as there is no
network to try them with. The site has links of its own making: test_site.py."""

import re
from urllib.parse import urlsplit

import pytest

from tests.cluster.places import REPOSITORY
from tests.docs.pages import Page, pages

PAGES = {page.path: page for page in pages()}


def broken(page):
    """Links of a page that lead nowhere."""
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (REPOSITORY / page.path).parent / parts.path if parts.path else REPOSITORY / page.path
        target = target.resolve()
        if not target.is_relative_to(REPOSITORY) or not target.exists():
            yield link
        elif parts.fragment and target.suffix == ".md":
            text = target.read_text(encoding="utf-8")
            if parts.fragment not in Page(target.relative_to(REPOSITORY).as_posix(), text).anchors:
                yield link


@pytest.mark.parametrize("page", PAGES.values(), ids=str)
def test_links_lead_somewhere(page):
    assert list(broken(page)) == []


def test_links_to_elsewhere_are_well_formed():
    external = {link for page in PAGES.values() for link in page.links if urlsplit(link).scheme or urlsplit(link).netloc}
    assert external
    wrong = {link for link in external if not re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[\w./#%?=&~+@:-]*)?", link)}
    assert wrong == set()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[x](nowhere.md)", id="a file that is not there"),
        pytest.param("[x](concepts.md#no-such-heading)", id="a heading that is not there"),
        pytest.param("[x](#neither)", id="a heading of the page itself"),
        pytest.param("[x](../../elsewhere)", id="out of the checkout"),
        pytest.param("| a |\n|---|\n| [x](nowhere.md) |", id="in a table"),
    ],
)
def test_a_broken_link_is_found(text):
    assert list(broken(Page("docs/planted.md", text)))


def test_the_readme_leads_to_every_part():
    linked = {link.partition("#")[0] for link in PAGES["README.md"].links}
    for name in ("quickstart", "your-model", "install", "concepts", "protocol", "crd", "run-directory", "kubectl-fedjob", "eks", "faq"):
        assert f"docs/{name}.md" in linked
