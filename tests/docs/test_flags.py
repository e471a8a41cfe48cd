"""Flags of kubectl and helm in the pages, in blocks and in running text, are flags of theirs; values are values of the chart."""

import re
import shlex
import subprocess
from itertools import pairwise

import pytest

from tests.docs.pages import pages
from tests.docs.session import SHELL, run

pytestmark = pytest.mark.apiserver

PROGRAMS = ("kubectl", "helm")
COMMAND = re.compile(r"^(?:kubectl|helm) ", re.MULTILINE)
TRAINS = re.compile(r"^(?:\S*/)?(?:fedcore|python) ", re.MULTILINE)
INLINE = re.compile(r"(?:kubectl|helm) [a-z]")
DEEPER = {"create", "config", "rollout", "certificate"}
"""Commands of kubectl with commands of their own."""


def of_clusters(page):
    """Blocks of a page with such commands, and what they need: files that the page shows, variables; nothing that trains."""
    commands = [block for block in page.blocks if block.language in SHELL and not TRAINS.search(block.text)]
    files = [block for block in page.blocks if block.language == "yaml" and block.title]
    return [*files, *commands] if any(COMMAND.search(block.text) for block in commands) else []


PAGES = [page for page in pages() if of_clusters(page) or any(map(INLINE.match, page.code))]


@pytest.fixture(scope="module")
def known(apiserver):
    """Flags of a command, by the program itself."""
    paths = {"kubectl": apiserver.kubectl_program, "helm": apiserver.helm_program}
    cache = {}

    def known(program, *words):
        key = (program, *words)
        if key not in cache:
            said = subprocess.run([paths[program], *words], capture_output=True, text=True, timeout=60)
            assert said.returncode == 0, key
            cache[key] = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", said.stdout))
        return cache[key]

    def flags(program, *verbs):
        return known(program, *verbs, "--help") | (known(program, "options") if program == "kubectl" else set())

    return flags


def check(words, known):
    program, verb, *rest = words
    if verb == "fedjob" or not re.fullmatch(r"[a-z-]+", verb):
        return
    verbs = [verb, rest[0]] if verb in DEEPER and rest and re.fullmatch(r"[a-z-]+", rest[0]) else [verb]
    flags = known(program, *verbs)
    for flag in (word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)):
        assert flag in flags, (words, flag)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_flags_are_those_of_the_program(page, known, tmp_path):
    blocks = of_clusters(page)
    session = run(blocks, tmp_path / "checkout")
    assert session.code == 0, session.said
    commands = [words for words in session.commands if words[0] in PROGRAMS]
    assert commands or not blocks
    for words in [*commands, *(shlex.split(text) for text in page.code if INLINE.match(text))]:
        check(words, known)


@pytest.mark.parametrize(
    "planted", ["kubectl get fj --wach", "helm install fedcore charts/fedcore --name-space x", "kubectl create namespace x --levell=y"]
)
def test_a_flag_that_is_none_is_found(planted, known):
    with pytest.raises(AssertionError):
        check(planted.split(), known)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_values_of_the_chart_are_values(page, apiserver, tmp_path):
    """Those of each install and upgrade, by ``--set`` and by files: the chart refuses keys that it does not know."""
    session = run(of_clusters(page), tmp_path / "checkout")
    for words in [*session.commands, *(shlex.split(text) for text in page.code if text.startswith("helm "))]:
        if words[0] == "helm" and words[1] in {"install", "upgrade"} and "charts/fedcore" in words:
            given = []
            for word, following in pairwise([*words, ""]):
                if word.startswith("--set"):
                    given += [word] if "=" in word else [word, following]
                elif word == "--values" and (session.folder / following).exists():  # what `make images` writes is not there
                    given += [word, session.folder / following]
            apiserver.helm("template", "fedcore", session.folder / "charts/fedcore", *given)
