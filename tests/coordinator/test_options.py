"""A coordinator's options: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcore.coordinator.options import InvalidOptions, Options

NEEDED = {"FEDCORE_JOB_FILE": "/etc/fedcore/job/job.json", "FEDCORE_RUN_DIR": "/var/lib/fedcore/mnist"}


def test_defaults_are_those_of_a_pod():
    options = Options.read(NEEDED)
    assert options.job == Path("/etc/fedcore/job/job.json")
    assert (options.port, options.metrics_port, options.attempt, options.token_file) == (8470, 9464, 1, None)


def test_flags_win_over_the_environment():
    options = Options.read({**NEEDED, "FEDCORE_PORT": "1", "FEDCORE_JOB": "mnist"}, {"port": 2, "host": None})
    assert options.port == 2
    assert options.job == Path(NEEDED["FEDCORE_JOB_FILE"])


def test_all_problems_are_named_at_once():
    with pytest.raises(InvalidOptions) as caught:
        Options.read({"FEDCORE_RUN_DIR": "/r", "FEDCORE_PORT": "70000", "FEDCORE_ATTEMPT": "0"})
    assert [line.split(":")[0].split(" is")[0] for line in str(caught.value).splitlines()] == [
        "--job (or FEDCORE_JOB_FILE)",
        "--port (or FEDCORE_PORT)",
        "--attempt (or FEDCORE_ATTEMPT)",
    ]


def test_a_certificate_needs_its_key():
    with pytest.raises(InvalidOptions, match="--tls-cert and --tls-key go together"):
        Options.read({**NEEDED, "FEDCORE_TLS_CERT_FILE": "/c"})
