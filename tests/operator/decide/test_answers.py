"""What the API server's answers mean."""

import pytest

from fedcore_operator.decide.answers import Answer, Created, creation, verdict


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(Answer(201), "Valid", id="would be created"),
        pytest.param(Answer(409), "Valid", id="the name is taken"),
        pytest.param(Answer(400, 'strict decoding error: unknown field "spec.x"'), "InvalidPodTemplate", id="unknown field"),
        pytest.param(Answer(422, "Pod is invalid"), "InvalidPodTemplate", id="a value that cannot be"),
        pytest.param(Answer(400, 'webhook "w" does not support dry run'), "ValidNotDryRun", id="a webhook with side effects"),
        pytest.param(Answer(403, "exceeded quota"), "PodForbidden", id="quota"),
        pytest.param(Answer(429), None, id="too many requests"),
        pytest.param(Answer(500), None, id="trouble"),
        pytest.param(Answer(504), None, id="timeout"),
    ],
)
def test_verdict(answer, reason):
    found = verdict(answer)
    assert (found and str(found.reason)) == reason
    assert found is None or found.accepted == (reason in {"Valid", "ValidNotDryRun"})


@pytest.mark.parametrize(
    ("answer", "holder", "is_job", "expected"),
    [
        pytest.param(Answer(201), None, False, Created.DONE, id="done"),
        pytest.param(Answer(409), "me", True, Created.OURS, id="an earlier pass made it"),
        pytest.param(Answer(409), "other", True, Created.WAIT, id="an earlier job of that name has it"),
        pytest.param(Answer(409), "other", False, Created.CONFLICT, id="somebody else has it"),
        pytest.param(Answer(409), None, False, Created.CONFLICT, id="it belongs to nobody"),
        pytest.param(Answer(404), None, False, Created.DROP, id="the namespace is gone"),
        pytest.param(Answer(403, causes=("NamespaceTerminating",)), None, False, Created.DROP, id="the namespace is going"),
        pytest.param(Answer(403, "exceeded quota"), None, False, Created.REFUSED, id="quota"),
        pytest.param(Answer(422), None, False, Created.REFUSED, id="invalid"),
        pytest.param(Answer(429), None, False, Created.RETRY, id="too many requests"),
        pytest.param(Answer(503), None, False, Created.RETRY, id="trouble"),
    ],
)
def test_creation(answer, holder, is_job, expected):
    assert creation(answer, holder_uid=holder, holder_is_job=is_job, job_uid="me") is expected
