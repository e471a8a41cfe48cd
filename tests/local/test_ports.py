"""Ports: which one a run gets."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from fedcore.local.ports import LOOPBACK, PortInUseError, reserve


@pytest.fixture
def free():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_the_usual_port_is_taken_when_it_is_free(free):
    with closing(reserve(None, free).claim) as claim:
        assert claim.fileno() >= 0


def test_any_other_when_it_is_not(taken):
    reserved = reserve(None, taken)
    assert reserved.port != taken
    reserved.release()


def test_two_runs_do_not_get_the_same_although_neither_listens_yet(free):
    first, second = reserve(None, free), reserve(None, free)
    assert first.port == free
    assert second.port != free
    first.release()
    second.release()
    again = reserve(free, 1)
    assert again.port == free
    again.release()


def test_a_port_asked_for_and_in_use_is_refused(taken):
    with pytest.raises(PortInUseError, match=f"port {taken} on 127.0.0.1 is in use"):
        reserve(taken, 1)


def test_the_coordinator_can_listen_on_a_reserved_port(free):
    reserved = reserve(free, 1)
    with socket.socket() as server:
        server.bind((LOOPBACK, reserved.port))
        server.listen()
    reserved.release()
