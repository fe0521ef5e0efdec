"""Equilibria of fields whose portraits are known."""

import pytest
import torch
from torch import nn

from ncode import Field
from ncode.analysis import phase
from ncode.analysis.phase import equilibria
from ncode.fields.elementary import Linear
from ncode.reproduction.experiments.annuli import steering, tables
from ncode.reproduction.experiments.annuli.train import Config
from ncode.reproduction.runs.recordings import RecordedRun
from tests.written import typed


class Pitchfork(Field):
    """x' = r x - x³, y' = -y: one sink for r < 0; two sinks and a saddle for r > 0."""

    def __init__(self):
        super().__init__(shape=(2,))
        self.r = nn.Parameter(torch.zeros(1))

    def forward(self, t, x, theta):
        first = self.value("r", theta) * x[:, :1] - x[:, :1] ** 3
        return torch.cat([first, -x[:, 1:]], dim=1)


def test_the_pitchfork_is_found_and_its_kinds_are_right():
    field = Pitchfork()
    field.release()
    before, after = equilibria(field, torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    assert before.signature == (("sink", 1),)
    assert after.signature == (("saddle", 1), ("sink", 2))
    assert torch.allclose(after.points.abs().sum(1).sort().values, torch.tensor([0.0, 1, 1], dtype=torch.float64))


def test_equilibria_outside_the_box_do_not_count():
    field = Pitchfork()
    field.release()
    (seen,) = equilibria(field, torch.tensor([[25.0]]), box=2.0)
    assert seen.signature == (("saddle", 1),)


def test_changes_along_a_ray_are_counted_where_the_portrait_changes():
    one, other = (phase.Equilibria(torch.zeros(1, 2), [kind]) for kind in ("sink", "source"))
    gap = [one if radius <= 0.7 else other for radius in steering.RADII]
    inside = [one if radius <= 1.2 else other for radius in steering.RADII]
    assert steering.changes(gap) == pytest.approx([0.725], abs=1e-6)
    found = steering.bifurcations([gap, inside, [one] * len(gap)])
    assert found == pytest.approx({"differs": 2 / 3, "changes": 2 / 3, "in_gap": 1 / 2})
    assert steering.bifurcations([[one] * len(gap)])["in_gap"] == 0


def steered(model, seed, steer, **metrics):
    return RecordedRun("", "", Config(model, seed=seed, steer=steer), metrics, {}, {})


def test_the_table_of_what_is_steered_waits_for_both_loops():
    recorded = [
        steered("open", seed, steer, differs=0.5 + 0.25 * seed, in_gap=0.3 + 0.2 * seed, changes=1.0,
                grid_error=0.0, solver_error=0.1)
        for steer in ("*.bias", "*")
        for seed in (0, 1)
    ]  # fmt: skip
    recorded += [steered("closed", seed, "*.bias", grid_error=0.1 * seed, solver_error=1.0 + seed) for seed in (0, 1)]
    (row,) = tables.steered(recorded)
    # A third of the ray is gap: 0.3 is below its share, 0.5 above.
    assert typed(row) == [
        "biases",
        "2",
        "2 of 2",
        "62 ± 18",
        "40 ± 14",
        "50 %",
        "100 %",
        "50 %",
        "0.1",
        "2",
    ]
    assert tables.steered([]) == []
    # A model in which nothing changes says nothing of where changes lie.
    recorded[1].metrics.update(changes=0.0, in_gap=0.0)
    assert typed(tables.steered(recorded)[0])[2:6] == ["1 of 2", "62 ± 18", "30.0", "0 %"]


def test_a_centre_is_degenerate_and_spoils_no_other_sample():
    # A sink, a centre, and a matrix of rank one, whose equilibria are a line.
    theta = torch.tensor([[-1.0, 0, 0, -2], [0, 1, -1, 0], [1, 1, 1, 1]])
    field = Linear(2)
    field.release()
    sink, centre, line = equilibria(field, theta)
    assert sink.kinds == ["sink"]
    assert centre.kinds == ["degenerate"]
    assert set(line.kinds) == {"degenerate"}
