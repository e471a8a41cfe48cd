"""helm, and what it makes of the chart."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts/fedcore"


class Rendered(list):
    """Objects of a rendered chart."""

    def of(self, kind):
        return [one for one in self if one["kind"] == kind]

    def one(self, kind, name):
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        return found


@pytest.fixture(scope="session")
def helm(apiserver):
    """Run helm; the API server is only the reason that helm is there."""

    def helm(*arguments, check=True):
        done = subprocess.run([apiserver.helm_program, *arguments], capture_output=True, text=True, timeout=180)
        assert not check or done.returncode == 0, done.stderr
        return done

    return helm


@pytest.fixture(scope="session")
def render(helm):
    @cache  # most tests look at the same chart
    def render(*values):
        done = helm("template", "r", str(CHART), "--namespace=own", "--kube-version=1.31.0", *values)
        return Rendered(one for one in yaml.safe_load_all(done.stdout) if one)

    return render
