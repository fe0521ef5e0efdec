"""What surrounds what: exact cases first, then flows, which keep it, and coarse steps, which need not."""

from __future__ import annotations

import math

import pytest
import torch

from ncode import MLP, NeuralODE, Solver
from ncode.analysis.topology import (
    degree,
    icosphere,
    image_winding_number,
    lowest_on_sphere,
    overtakings,
    winding_number,
)


def circle(s):
    return torch.stack([torch.cos(2 * math.pi * s), torch.sin(2 * math.pi * s)], dim=1)


@pytest.mark.parametrize("turns", [-2, -1, 1, 3])
def test_winding_number_of_a_multiple_circle(turns):
    s = torch.arange(100, dtype=torch.float64) / 100
    assert winding_number(circle(turns * s), torch.tensor([0.2, -0.3]).double()) == turns
    assert winding_number(circle(turns * s), torch.tensor([1.2, 0.0]).double()) == 0


def test_a_curve_through_the_point_is_an_error():
    with pytest.raises(ValueError, match="through the point"):
        winding_number(circle(torch.arange(4, dtype=torch.float64) / 4), torch.tensor([1.0, 0.0]).double())


def test_an_excursion_is_seen_by_pieces_shorter_than_it_and_only_by_them():
    def f(x):
        """A spike of the circle at angle 0 that reaches around (3, 0)."""
        turn = torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi)
        return x * (1 + 5 * torch.exp(-((turn / 1e-2) ** 2)))[:, None]

    point = torch.tensor([3.0, 0.0]).double()
    # No first piece of 16 ends in the spike; of 64, some do, and the pieces beside them are halved.
    seen = [image_winding_number(f, lambda s: circle(s + 0.5 / 16), point, start=start) for start in (16, 64)]
    assert seen == [0, 1]


def test_a_turn_that_cannot_be_resolved_is_an_error():
    torn = image_winding_number
    with pytest.raises(ValueError, match="halvings"):
        torn(lambda x: torch.where(x[:, :1] > 0, x, x - 5), circle, torch.tensor([-2.0, 0.0]).double(), rounds=5)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_icosphere_is_closed_and_its_degree_is_one_inside_and_zero_outside(level):
    points, faces = icosphere(level)
    assert len(points) - len(faces) * 3 // 2 + len(faces) == 2  # Euler's formula
    assert torch.allclose(points.norm(dim=1), torch.ones(len(points)).double())
    inside, outside = torch.tensor([[0.3, -0.2, 0.4], [1.0, 1.0, 0.1]]).double()
    assert degree(points, faces, inside) == 1
    assert degree(points, faces, outside) == 0
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0])
    assert degree(mirrored, faces, inside * torch.tensor([-1.0, 1.0, 1.0])) == -1


def test_degree_counts_the_squaring_map_twice():
    points, faces = icosphere(4)
    radius, angle = points[:, :2].norm(dim=1), 2 * torch.atan2(points[:, 1], points[:, 0])
    squared = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle), points[:, 2]], dim=1)
    assert degree(squared, faces, torch.tensor([0.1, 0.05, -0.02]).double()) == 2


def wild(dim, seed):
    torch.manual_seed(seed)
    field = MLP(dim, (32,)).double()
    with torch.no_grad():
        field.layers[1].weight.mul_(6.0)
    return field


@pytest.mark.parametrize("seed", range(4))
def test_a_flow_keeps_order_winding_number_and_degree(seed):
    tight = Solver(rtol=1e-6, atol=1e-6)
    line = torch.linspace(-2, 2, 101).double().unsqueeze(1)
    plane, space = NeuralODE(wild(2, seed), solver=tight), NeuralODE(wild(3, seed), solver=tight)
    points, faces = icosphere(4)
    with torch.no_grad():
        assert (
            overtakings(NeuralODE(wild(1, seed), solver=tight).trajectory(line, torch.linspace(0, 1, 11)).x[..., 0])
            == 0
        )
        assert image_winding_number(plane, circle, plane(torch.zeros(1, 2).double())[0]) == 1
        assert degree(space(points), faces, space(torch.zeros(1, 3).double())[0]) == 1


def test_one_step_of_euler_breaks_the_order():
    field = wild(1, 0)
    with torch.no_grad():
        field.layers[1].weight.mul_(10.0)
    line = torch.linspace(-2, 2, 101).double().unsqueeze(1)
    with torch.no_grad():
        path = NeuralODE(field, solver=Solver("euler", steps=1)).trajectory(line, [0.0, 1.0]).x[..., 0]
        fine = NeuralODE(field, solver=Solver(rtol=1e-8, atol=1e-8)).trajectory(line, [0.0, 1.0]).x[..., 0]
    assert overtakings(path) > 0
    assert overtakings(fine) == 0


def test_overtakings_counts_pairs_and_wants_an_ordered_start():
    assert overtakings(torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 1.0, 3.0], [0.0, 1.0, 2.0, 3.0]])) == 1
    with pytest.raises(ValueError, match="increasing"):
        overtakings(torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_lowest_on_sphere_finds_a_linear_functions_minimum(dim):
    normal = torch.nn.functional.normalize(torch.arange(1.0, dim + 1).double(), dim=0)
    value, where = lowest_on_sphere(lambda x: x @ normal, dim, radius=2.0)
    assert value == pytest.approx(-2.0, abs=1e-6)
    assert torch.allclose(where, -2 * normal, atol=1e-2)
