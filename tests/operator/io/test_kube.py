"""What is kept of an answer, and of none."""

import pytest

from fedcore_operator.io.kube import Reply


@pytest.mark.parametrize(
    ("code", "body", "message"),
    [
        (0, {"message": "the API server does not answer: timed out"}, "the API server does not answer: timed out"),
        (403, {"kind": "Status", "message": "no right"}, "no right"),
        (502, {"message": "bad gateway"}, "bad gateway"),
        (200, {"kind": "Status", "message": "deleted"}, "deleted"),
        (200, {"kind": "ConfigMap", "message": "a field of that name"}, ""),
    ],
)
def test_an_answer_says_what_went_wrong(code, body, message):
    assert Reply(code, body).answer.message == message
