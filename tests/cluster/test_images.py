import shutil

import pytest

from tests.cluster import images


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of what enters images, which may be changed."""
    for path in [
        *images.context(),
        images.ROOT / ".dockerignore",
        images.ROOT / "images/build.py",
        *images.ROOT.glob("images/*/Dockerfile"),
    ]:
        copy = tmp_path / path.relative_to(images.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    return tmp_path


def test_an_image_is_another_one_when_anything_that_enters_it_changes(checkout):
    seen = {images.fingerprint("operator")}
    for name in ("fedcore/spec/job.py", "requirements.lock", "images/install.py", "images/build.py", "images/operator/Dockerfile"):
        (checkout / name).write_text((checkout / name).read_text() + "\n# changed\n")
        assert images.fingerprint("operator") not in seen, name
        seen.add(images.fingerprint("operator"))


def test_an_image_is_the_same_when_something_else_changes(checkout):
    before = images.fingerprint("operator")
    for name in ("images/worker/Dockerfile", "tests/new.py", "fedcore/__pycache__/job.pyc"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("changed")
    assert images.fingerprint("operator") == before


def test_images_differ(checkout):
    assert len({images.fingerprint(name) for name in images.TEST_IMAGES}) == len(images.TEST_IMAGES)


def test_what_builds_see_is_what_dockerignore_names():
    seen = {path.relative_to(images.ROOT).parts[0] for path in images.context()}
    assert seen == {"fedcore", "operator", "images", "pyproject.toml", "hatch_build.py", "requirements.lock", "README.md", "LICENSE"}
