"""Equilibria of fields whose portraits are known."""

import torch
from torch import nn

from ncode import Field
from ncode.phase import equilibria


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
