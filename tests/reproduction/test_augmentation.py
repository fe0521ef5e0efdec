"""Augmentation on toy functions: the functions, parameters held fixed, failures counted, and what a short run finds."""

from __future__ import annotations

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from ncode import Solver
from ncode.fields.base import Field
from ncode.models import NeuralODE
from ncode.reproduction.experiments import augmentation
from ncode.reproduction.experiments.augmentation import analysis, figures, notes, tables, train, verdict
from ncode.reproduction.experiments.augmentation.studies import EASY, HARD, TITLES, Studies
from ncode.reproduction.experiments.augmentation.train import Config
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.recordings import RecordedRun
from ncode.training import History

FLIP = Config("flip", 1, 1, 0, epochs=1, points=(64,), batch=32, hidden=16, matched=1, looks=2)
SHELLS = Config("shells", 2, 0, 0, epochs=1, points=(60, 120), hidden=8, looks=1)


def recorded(metrics=None, history=None, **config):
    """A recorded run, made by hand."""
    fields = {"task": "shells", "dim": 2, "augment": 0, "seed": 0} | config
    return RecordedRun("0", "by hand", Config(**fields), metrics or {}, history or {}, {})


def test_the_points_of_every_function():
    x, y = augmentation.sample(FLIP, 0)
    assert x.shape == (64, 1) and (y == -x[:, 0].sign()).all()
    assert (x.abs() - 1).abs().max() < 10 * train.NOISE
    x, y = augmentation.sample(replace(SHELLS, dim=3), 1, factor=2)
    radius = x.norm(dim=1)
    assert ((radius <= 0.5 + 1e-6) == (y == -1)).all() and (y == -1).sum() == 120
    assert ((radius[y == 1] >= 1 - 1e-6) & (radius[y == 1] <= 1.5 + 1e-6)).all()
    x, y = augmentation.sample(replace(SHELLS, task="labels"), 2)
    assert len(x) == 180 and x.abs().max() <= 1 and 60 < (y == 1).sum() < 120
    with pytest.raises(ValueError, match="flip, shells, labels"):
        augmentation.sample(replace(SHELLS, task="spirals"), 0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_all_p_have_nearly_the_same_number_of_parameters(dim):
    sizes = [
        sum(w.numel() for w in augmentation.build(Config("shells", dim, p, 0)).flow.parameters()) for p in (0, 1, 2, 5)
    ]
    assert augmentation.width(Config("shells", dim, 5, 0)) == 32
    # One unit more or less is 5 % of a field of this size.
    assert max(sizes) < 1.06 * min(sizes), sizes


def test_no_order_keeping_map_is_below_the_order_bound():
    x, y = augmentation.sample(FLIP, 0)
    bound = analysis.order_bound(recorded(**vars(FLIP)))
    assert 0.9 < bound <= 1.0
    below, above = (y[x[:, 0] < 0], y[x[:, 0] > 0])
    for low in torch.linspace(-2, 2, 41):
        for high in torch.linspace(float(low), 2, 21):
            error = (((below - low) ** 2).sum() + ((above - high) ** 2).sum()) / len(y)
            assert error >= bound - 1e-6


def test_a_short_run_has_every_metric_and_keeps_the_topology():
    result = train.train(SHELLS)
    metrics = result.metrics
    assert metrics["winding"] == 1 and metrics["separation"] < 1e-3
    assert all(math.isfinite(value) for name, value in metrics.items() if name != "failed_at")
    assert metrics["failed_at"] == math.inf and metrics["failures"] == 0
    assert len(result.history.evaluations["loss"]) == len(result.history.evaluated)


def test_an_exact_separation_is_seen_and_the_plane_does_not_allow_it():
    """x' = (0, 0, |x|²) lifts a disk's centre less than the ring; the readout of the third dimension separates them."""

    class Lift(torch.nn.Module):
        def forward(self, x):
            return x.square().sum(1)

    found = train._separation(Lift(), 1.25, torch.zeros(1, 2).double())
    assert found == pytest.approx(1.25**2)


def test_one_step_of_euler_may_turn_the_plane_over():
    class Mirror(Field):
        def forward(self, t, x, theta):
            return x * torch.tensor([-2.0, 0.0])

    centre = torch.zeros(1, 2).double()
    flows = {steps: NeuralODE(Mirror((2,)), solver=Solver("euler", steps=steps)) for steps in (1, 10)}
    # x_1 (1 - 2/K)^K: mirrored in one step, not in ten.
    assert {steps: augmentation.surrounds(flow, 1.0, centre) for steps, flow in flows.items()} == {1: -1, 10: 1}


def test_a_failed_solve_ends_a_provoked_run_and_is_counted():
    result = train.train(replace(SHELLS, max_nfe=13, stop=True, epochs=3))
    assert result.metrics["exceeded"] == 1 and result.metrics["failed_at"] == 0
    assert result.history.iterations == 1
    assert math.isnan(result.metrics["loss"]) and math.isnan(result.metrics["separation_trained"])
    counted = analysis.outcomes([recorded(dict(result.metrics))])
    assert dict(counted) == {"exceeded": 1}


def test_failures_are_counted_by_reason():
    reasons = ["step size underflow", "non-finite loss", "non-finite values"]
    history = History(failures=[{"iteration": k, "reason": reason} for k, reason in enumerate(reasons)])
    counted = train._failures(history)
    assert (counted["exceeded"], counted["underflow"], counted["non-finite"], counted["failures"]) == (0, 1, 1, 3)


def test_runs_by_p_are_of_whole_seeds():
    found = analysis.by_augment(recorded(augment=p, seed=seed) for p, seed in ((5, 1), (0, 0), (5, 0), (0, 1), (0, 2)))
    assert {p: [run.config.seed for run in runs] for p, runs in found.items()} == {0: [0, 1], 5: [0, 1]}
    assert analysis.by_augment([]) == {}


def test_values_at_equal_loss_are_of_the_first_look_that_reaches_it():
    looks = [
        {"loss": [0.5, 0.1, 0.01], "nfe": [20, 26, 32]},
        {"loss": [0.5, 0.4, 0.3], "nfe": [20, 20, 20]},
    ]
    runs = [recorded(history={"evaluated": [1, 2, 3], "evaluations": look}) for look in looks]
    found = analysis.when(runs, "nfe", 0.2)
    assert found[0] == 26 and np.isnan(found[1])


def test_fishers_test_wants_more_than_chance():
    assert analysis.fails_more(9, 10, 1, 10) is True
    assert analysis.fails_more(1, 10, 9, 10) is False
    assert analysis.fails_more(3, 10, 1, 10) is None


def test_plans_and_recordings_have_whole_seeds_first():
    plan = augmentation.experiment.planned()["augmentation_plane"].configs()
    assert [(c.seed, c.augment) for c in plan[:5]] == [(0, 0), (0, 1), (0, 2), (0, 5), (1, 0)]
    assert len(plan) == 40


@pytest.fixture(scope="module")
def studies():
    """The recorded studies, in this execution's place, too."""
    found = {study: analysis.by_augment(recordings.find(f"augmentation_{study}")) for study in TITLES}
    return Studies(found, found)


def test_the_pages_tables_have_a_row_for_every_p_of_their_studies(studies):
    per_study = {study: len(studies.shown[study]) for study in TITLES}
    assert len(tables.evaluations(studies)["rows"]) == sum(per_study[study] for study in EASY)
    assert len(tables.stability(studies)["rows"]) == sum(per_study.values())
    assert [row[1] for row in tables.spheres(studies)["rows"] if row[0].startswith(TITLES["plane"])] == [*"0125"]
    for made in (tables.flip, tables.equal_loss, tables.spheres, tables.evaluations, tables.stability):
        table = made(studies)
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    for drawn in (figures.training(studies), figures.stability(studies)):
        plt.close(drawn["drawing"])


def test_a_verdicts_evidence_follows_from_its_checks(studies):
    kept = {dim: analysis.Kept([1, 1], [1, 0]) for dim in (1, 2, 3)}
    (one,) = verdict.a1(studies, kept)
    assert one.exact and "3 of 6" in notes.a1(studies, kept)
    kept[2] = analysis.Kept([1, 0], [1, 1])
    assert verdict.a1(studies, kept)[0].exact is False
    # A point of the outer sphere far above the centre would refute the proposition.
    assert all(verdict.a2_context(studies).values())
    flat = studies.shown["plane"][0][0]
    raised = replace(flat, metrics={**flat.metrics, "separation": 1.0})
    wrong = {**studies.shown, "plane": {**studies.shown["plane"], 0: [raised]}}
    assert not all(verdict.a2_context(Studies(wrong, wrong)).values())


def test_failures_are_told_with_their_runs(studies):
    assert studies.provoked == list(HARD)
    for study in HARD:
        failed, of = verdict.failures(studies.shown[study][0])
        assert f"{TITLES[study]} {failed} of {of} against" in notes.a6(studies)
    assert "A constant 0 has a loss of 0.5. A training loss below 0.25 had, at the end: four shells" in notes.a6(
        studies
    )


def test_a4_says_at_which_error_it_counts_and_has_the_other_as_context(studies):
    assert "with the batch's mean error" in notes.a4(studies, True)
    worst = [text for text in verdict.a4_context(studies) if "at an equal error of the worst sample" in text]
    assert len(worst) == sum(p > 0 for study in EASY for p in studies.shown[study])
