"""Events of jobs, posted: what is said of one that cannot be."""

import asyncio

import pytest

from fedcore_operator.decide.events import Event
from fedcore_operator.io.events import post_event
from fedcore_operator.io.kube import Reply
from support.operator_objects import make_job


class Server:
    """Answers each creation alike."""

    def __init__(self, code, message="", cause=""):
        self.reply = Reply(code, {"kind": "Status", "message": message, "details": {"causes": [{"reason": cause}]}})

    async def create(self, manifest):
        return self.reply


@pytest.mark.parametrize(
    ("server", "is_told"),
    [
        (Server(201), False),
        (Server(500, "etcd is busy"), True),
        (Server(403, "no right"), True),
        (Server(403, "is being terminated", "NamespaceTerminating"), False),
        (Server(404, "namespaces not found"), False),
    ],
)
def test_an_event_that_is_lost_is_told_unless_its_namespace_goes(capsys, server, is_told):
    asyncio.run(post_event(server, make_job(), Event("Normal", "Started", "coordinator at x"), "operator-1"))
    captured = capsys.readouterr()
    assert ("event_lost" in captured.out + captured.err) is is_told
