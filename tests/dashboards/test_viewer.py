"""What the viewer is made of: packages of free licences, from whatever registry the machine uses."""

import json
import re

import pytest

from tests.dashboards.bundle import SOURCES, VIEWER

LOCK = json.loads((VIEWER / "package-lock.json").read_text())
PACKAGES = {name: package for name, package in LOCK["packages"].items() if name}
FREE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "CC0-1.0", "ISC", "MIT", "Unlicense", "Zlib"),
}
SAID_ELSEWHERE = {"fast-shallow-equal": "Unlicense", "get-document": "MIT", "react-universal-interface": "Unlicense"}
"""Packages whose licence stands only in a file: LICENSE or README.md."""


def licences(name, package):
    said = package.get("license") or SAID_ELSEWHERE[name.rpartition("node_modules/")[2]]
    return said, set(re.findall(r"[\w.-]+", said)) - {"AND", "OR"}


def test_grafanas_packages_are_apache():
    direct = [PACKAGES[f"node_modules/@grafana/{name}"] for name in ("data", "schema", "ui")]
    assert {package["license"] for package in direct} == {"Apache-2.0"}


def test_every_package_has_a_free_licence():
    for name, package in PACKAGES.items():
        said, words = licences(name, package)
        # Of alternatives one is enough.
        assert words & FREE if " OR " in said else words <= FREE, f"{name}: {said}"


def test_nothing_of_the_application_that_is_agpl():
    names = {name.rpartition("node_modules/")[2] for name in PACKAGES}
    assert not names & {"@grafana/prometheus", "@grafana/scenes", "@grafana/runtime", "grafana"}
    assert not [name for name, package in PACKAGES.items() if "GPL" in package.get("license", "")]


@pytest.mark.parametrize("licence", ["AGPL-3.0-only", "GPL-3.0", "LGPL-3.0 AND MIT", "SSPL-1.0"])
def test_another_licence_would_be_found(licence):
    _, words = licences("node_modules/planted", {"license": licence})
    assert not words <= FREE


def test_the_lock_file_names_no_registry():
    assert not [name for name, package in PACKAGES.items() if "resolved" in package]
    assert all("integrity" in package for package in PACKAGES.values())


def test_versions_are_pinned():
    wanted = json.loads((VIEWER / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        assert PACKAGES[f"node_modules/{name}"]["version"] == version


def test_lines_are_no_longer_than_elsewhere():
    for path in SOURCES.iterdir():
        assert all(len(line) <= 140 for line in path.read_text().splitlines()), path.name
