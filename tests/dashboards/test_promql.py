"""The checker of expressions finds what a server would answer with an error or, worse, with nothing."""

import pytest

from support.promql import check

JOB = {"namespace", "federatedjob"}


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        pytest.param('max by (namespace, federatedjob) (fedcore_phase{phase="Degraded"}) == 1', JOB, id="a value that is known"),
        pytest.param('sum by (reason) (rate(fedcore_requests_refused_total{reason=~"busy|stalled"}[5m]))', {"reason"}, id="two of them"),
        pytest.param('fedcore_worker_up{worker="worker-7"} unless on (namespace) fedcore_phase', None, id="a value that nobody knows"),
        pytest.param("histogram_quantile(0.9, sum by (le, method) (rate(fedcore_rpc_duration_seconds_bucket[$window])))", {"method"},
                     id="a variable as a range"),
        pytest.param('sum(last_over_time(fedcore_workers{namespace=~"$namespace", state!="lost"}[${__range}]))', set(),
                     id="a variable as a value"),
        pytest.param("sum by (federatedjob) (fedcore_workers) * on (federatedjob) group_left (task) fedcore_run_info",
                     {"federatedjob", "task"}, id="a label brought over"),
        pytest.param('count(ALERTS{alertname=~"FedCore.*", alertstate="firing"}) or vector(0)', set(), id="alerts"),
        pytest.param("time() - process_start_time_seconds", None, id="the process's own"),
        pytest.param('absent(fedcore_build_info{component="operator"})', set(), id="an absence"),
    ],
)  # fmt: skip
def test_what_is_exported_passes(expression, labels):
    checked = check(expression)
    assert checked.problems == []
    assert labels is None or checked.labels == labels


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        pytest.param("rate(fedcore_round_total[5m])", "fedcore_round_total is in no catalogue", id="a misspelt metric"),
        pytest.param("fedcore_rounds", "fedcore_rounds is in no catalogue", id="a counter without its ending"),
        pytest.param("sum(fedcore_round_duration_seconds)", "is in no catalogue", id="a histogram without its ending"),
        pytest.param('{federatedjob="a"}', "is in no catalogue", id="no metric at all"),
        pytest.param('fedcore_phase{state="Running"}', "fedcore_phase has no label state", id="a renamed label"),
        pytest.param('fedcore_phase{phase="Runing"}', "has no phase='Runing'", id="a misspelt value"),
        pytest.param('fedcore_phase{phase!~"Failed|Done"}', "has no phase='Done'", id="a misspelt value among others"),
        pytest.param("sum by (outcome) (fedcore_updates_total)", "sum: no label outcome in", id="a sum by what is not there"),
        pytest.param("max by (pod) (sum by (federatedjob) (fedcore_workers))", "max: no label pod in federatedjob", id="dropped"),
        pytest.param("fedcore_run_info and on (worker) fedcore_worker_up", "left of and: no label worker", id="joined by too much"),
        pytest.param("fedcore_workers * on (pod) group_left (tasks) fedcore_run_info", "group_left: no label tasks", id="brings nothing"),
        pytest.param("histogram_quantile(0.5, sum by (method) (rate(fedcore_rpc_duration_seconds_bucket[1m])))", "no label le in method",
                     id="a quantile without buckets"),
        pytest.param("sum(rate(fedcore_rounds_total[5m])", "it does not parse", id="an unbalanced brace"),
        pytest.param("rate(fedcore_rounds_total)", "it does not parse", id="a rate without a range"),
    ],
)  # fmt: skip
def test_what_is_not_exported_is_named(expression, problem):
    assert problem in "\n".join(check(expression).problems)
