"""The three experiments without a process: which runs they want, what they read off them, when they object, and that they draw."""

from __future__ import annotations

from importlib.resources import files

import pytest

from fedcore.engine.reasons import EndReason
from fedcore.experiments.accuracy import AccuracyByWorkers
from fedcore.experiments.drawing import draw_figure
from fedcore.experiments.experiment import per_point
from fedcore.experiments.failures import Failures
from fedcore.experiments.page import experiment_page
from fedcore.experiments.trips import RoundTrips
from fedcore.jobfile import load_job
from fedcore.local.faults import Slow
from fedcore.report.page import render
from support.experiments import SUMMARY, UNREACHABLE

ALL = (AccuracyByWorkers, RoundTrips, Failures)


def resolved(experiment, run):
    """The job of a run, as `fedcore run` resolves its file and flags."""
    shorthand = {"--workers": "spec.workers.replicas", "--rounds": "spec.rounds"}
    overrides = []
    for flag, value in zip(run.flags[::2], run.flags[1::2], strict=True):
        if flag == "--set":
            overrides.append(tuple(value.split("=", 1)))
        elif flag in shorthand:
            overrides.append((shorthand[flag], value))
    return load_job(files("fedcore.experiments") / "jobs" / f"{experiment.NAME}.yaml", overrides).spec


@pytest.mark.parametrize("kind", ALL)
def test_the_job_file_is_valid_as_it_stands(kind):
    path = files("fedcore.experiments") / "jobs" / f"{kind.NAME}.yaml"
    assert load_job(path).metadata.name == kind.NAME


@pytest.mark.parametrize("kind", ALL)
def test_every_run_has_a_name_of_its_own_and_seeds_go_round_last(kind):
    runs = kind(seeds=3).runs()
    assert len({run.name for run in runs}) == len(runs)
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert {run.seed for run in runs} == {0, 1, 2}


@pytest.mark.parametrize(("images", "dataset"), [(12_000, "shipped"), (40_000, "full")])
def test_accuracy_splits_the_same_images_among_all_and_needs_all(images, dataset):
    experiment = AccuracyByWorkers(workers=(1, 8), seeds=1, images=images)
    one, eight = (resolved(experiment, run) for run in experiment.runs())
    assert (one.workers.replicas, eight.workers.replicas) == (1, 8)
    assert eight.quorum.percent == 100
    assert (eight.rounds, eight.workload.policy, eight.workload.epochs) == (2, "fixed", 4.5)
    assert {key: eight.task.parameters[key] for key in ("images", "dataset", "partition")} == {
        "images": str(images), "dataset": dataset, "partition": "iid",
    }  # fmt: skip


def test_accuracy_reads_the_final_model(ended):
    experiment = AccuracyByWorkers(workers=(4,), seeds=1)
    [run] = experiment.runs()
    [row] = experiment.rows(ended(run))
    assert tuple(row) == experiment.COLUMNS
    assert (row["workers"], row["accuracy"], row["loss"], row["reason"], row["exit_code"]) == (4, 0.975, 0.1, "Completed", 0)
    assert row["run_dir"] == "runs/4-workers-seed-0"


@pytest.mark.parametrize(
    ("changes", "exit_code", "said"),
    [
        pytest.param({}, 0, "", id="as it should"),
        pytest.param({"reason": "QuorumLost"}, 3, "QuorumLost", id="another end"),
        pytest.param({}, 1, "exit 1", id="another exit code"),
        pytest.param({"rounds_completed": 2}, 0, "2 of 3 rounds", id="a round short"),
        pytest.param({"metrics": None}, 0, "not measured", id="no accuracy"),
    ],
)
def test_accuracy_objects(ended, changes, exit_code, said):
    experiment = AccuracyByWorkers(workers=(4,), seeds=1)
    [run] = experiment.runs()
    wrong = experiment.wrong(ended(run, {**SUMMARY, **changes}, exit_code))
    assert said in wrong
    assert bool(wrong) == bool(said)


def test_a_run_that_was_killed_has_no_summary_and_is_wrong(ended):
    for experiment in (AccuracyByWorkers(seeds=1), RoundTrips(seeds=1), Failures(seeds=1)):
        assert "exit -9, without a summary" in experiment.wrong(ended(experiment.runs()[0], {}, -9))


@pytest.mark.parametrize(
    ("workers", "quorum", "killed", "expected"),
    [
        pytest.param(16, 75, 4, EndReason.COMPLETED, id="just enough left"),
        pytest.param(16, 75, 5, EndReason.QUORUM_UNREACHABLE, id="one too few"),
        pytest.param(50, 75, 12, EndReason.COMPLETED, id="as many as in the paper"),
        pytest.param(50, 75, 14, EndReason.QUORUM_UNREACHABLE, id="where the ancestor stood still"),
    ],
)
def test_failures_expects_what_the_arithmetic_says(workers, quorum, killed, expected):
    experiment = Failures(workers=workers, quorum=quorum, kill=(killed,), seeds=1)
    [run] = experiment.runs()
    assert run.expected == expected
    kills = [value for flag, value in zip(run.flags[::2], run.flags[1::2], strict=True) if flag == "--kill"]
    assert len(set(kills)) == killed
    assert all(kill.endswith("@2") for kill in kills)
    spec = resolved(experiment, run)
    assert (spec.workers.replicas, spec.workers.max_restarts_per_worker, spec.quorum.percent) == (workers, 0, quorum)


def test_failures_kills_others_with_another_seed():
    first, second = (run.flags for run in Failures(kill=(5,), seeds=2).runs())
    assert first != second


def test_failures_has_a_row_for_each_round(ended):
    experiment = Failures(kill=(5,), seeds=1)
    [run] = experiment.runs()
    rows = experiment.rows(ended(run, UNREACHABLE, 3, rounds=("1,2.5", "2,0.75")))
    assert [tuple(row) for row in rows] == [experiment.COLUMNS] * 2
    assert [(row["round"], row["duration_s"], row["required"], row["killed"], row["exit_code"]) for row in rows] == [
        (1, "2.5", 12, 5, 3), (2, "0.75", 12, 5, 3),
    ]  # fmt: skip


def test_failures_objects_to_kills_that_did_not_strike_and_to_another_end(ended):
    experiment = Failures(kill=(2, 5), seeds=1)
    two, five = experiment.runs()
    assert experiment.wrong(ended(two, kills=(3, 7))) == ""
    assert experiment.wrong(ended(two, kills=(3,))) == "only 1 of 2 workers were killed"
    assert experiment.wrong(ended(five, UNREACHABLE, 3, kills=range(5))) == ""
    assert "expected exit 3, QuorumUnreachable" in experiment.wrong(ended(five, kills=range(5)))


def test_round_trips_reads_accepted_and_late_updates(ended):
    experiment = RoundTrips(workers=2, rounds=2, slow=(Slow(1, 4.0),), seeds=1)
    [run] = experiment.runs()
    assert run.flags[run.flags.index("--slow") + 1] == "worker-1=4"
    updates = ("1,worker-0,accepted,0.5,0.4,1.0", "1,worker-1,rejected,,,1.0", "1,worker-1,stale,1.5,,1.0")
    rows = experiment.rows(ended(run, updates=updates))
    assert [tuple(row) for row in rows] == [experiment.COLUMNS] * 2
    assert [(row["worker"], row["result"], row["round_trip_s"]) for row in rows] == [
        ("worker-0", "accepted", "0.5"),
        ("worker-1", "stale", "1.5"),
    ]


@pytest.mark.parametrize(
    ("runs", "said"),
    [([], "0"), ([(1, 0), (1, 1), (4, 0), (4, 1)], "2"), ([(1, 0), (1, 0), (1, 1), (4, 0)], "1 to 2")],
    ids=["none", "all", "broken off"],
)
def test_per_point(runs, said):
    assert per_point(runs) == said


def results(ended):
    """One of each, with all that its figure can show: repeats, late updates, the end without quorum."""
    accuracy = AccuracyByWorkers(workers=(1, 3), seeds=2)
    trips = RoundTrips(workers=2, rounds=2, slow=(Slow(1, 4.0),), seeds=2)
    failures = Failures(workers=4, kill=(0, 2), seeds=2)
    updates = ("1,worker-0,accepted,0.5,0.4,1.0", "1,worker-1,stale,1.5,,1.0", "2,worker-0,accepted,0.5,0.4,1.0")
    for experiment in (accuracy, trips, failures):
        runs = []
        for run in experiment.runs():
            if run.expected is EndReason.COMPLETED:
                runs.append(ended(run, rounds=("1,2.5", "2,3.5", "3,2.25"), updates=updates))
            else:
                runs.append(ended(run, UNREACHABLE, 3, rounds=("1,2.5", "2,0.75"), kills=(0, 1)))
        yield experiment, runs, [row for each in runs for row in experiment.rows(each)]


def test_each_draws_and_reports_what_there_is(ended):
    for experiment, runs, rows in results(ended):
        figure = draw_figure(experiment, rows)
        assert figure["png"].startswith(b"\x89PNG")
        assert b"<svg" in figure["svg"]
        page = experiment_page(experiment, runs, rows, figure, [], planned=len(runs), job="kind: FederatedJob")
        html = render(page)
        assert html.count("<img") == 1
        assert page.phase == "Succeeded"
        assert experiment.PAPER.split("'")[0] in html
        assert all(f"again/{each.run.name}<" in html for each in runs)
        assert "n = 2" in html


def test_the_page_says_what_went_wrong_and_what_is_missing(ended):
    experiment, runs, rows = next(results(ended))
    figure = draw_figure(experiment, rows)
    wrong = experiment_page(experiment, runs, rows, figure, ["3 workers, seed 1: <ended>"], planned=len(runs), job="")
    assert (wrong.phase, wrong.ending) == ("Failed", "3 of 4 runs ended as the arithmetic says")
    assert "3 workers, seed 1: &lt;ended&gt;" in render(wrong)
    broken_off = experiment_page(experiment, runs, rows, figure, [], planned=9, job="")
    assert (broken_off.phase, broken_off.notes) == ("Interrupted", ["Broken off: 4 of 9 runs."])


def test_the_same_values_give_the_same_picture(ended):
    experiment, _, rows = next(results(ended))
    assert draw_figure(experiment, rows) == draw_figure(experiment, rows)
