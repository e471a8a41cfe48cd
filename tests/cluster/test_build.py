import shutil

import pytest

from tests.cluster import build
from tests.cluster.errors import Unavailable
from tests.cluster.places import COMPONENTS


@pytest.fixture
def components(tmp_path, monkeypatch):
    """A copy of the modules that may be changed, and an empty cache."""
    copy = tmp_path / "components"
    shutil.copytree(COMPONENTS, copy)
    monkeypatch.setattr(build, "COMPONENTS", copy)
    monkeypatch.setenv("FEDCORE_CACHE", str(tmp_path / "cache"))
    return copy


def test_target_lies_in_the_cache_and_depends_on_every_module(components, tmp_path):
    seen = {build.target()}
    assert seen.pop().is_relative_to(tmp_path / "cache")
    for file in components.rglob("*.*"):
        seen.add(build.target())
        file.write_text(file.read_text() + "\n// changed\n")
        assert build.target() not in seen, file


def test_target_ignores_files_that_do_not_enter_a_build(components):
    before = build.target()
    (components / "init/init.orig").write_text("left by an editor")
    assert build.target() == before


def test_the_binary_says_the_version_that_is_pinned():
    program = next(program for program in build.PROGRAMS if program.name == "kubernetes")
    assert f"gitVersion={build.kubernetes_version()}" in build.linker_flags(program)
    assert build.kubernetes_version().startswith("v1.")


def test_programs_are_unavailable_without_go(components, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match="Go is not installed"):
        build.programs()


def test_programs_of_an_earlier_build_need_no_go(components, monkeypatch):
    build.target().mkdir(parents=True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert build.programs() == build.target()
    assert build.is_built()
