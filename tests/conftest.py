"""Fixtures for all tests."""

import signal

pytest_plugins = ["tests.cluster.fixtures"]


def pytest_configure():
    """Let what tests start not inherit that SIGINT is ignored, as in the background of a shell, or SIGHUP, as by nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
