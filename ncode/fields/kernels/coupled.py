"""The kernel of the closed loop, from those of its field and of its controller."""

from __future__ import annotations

import torch

from ncode.fields.kernels.base import Kernel


class Coupled:
    """(x, θ)' = (f(t, x; θ), g(x, θ)): the closed loop, a :class:`Kernel` whose z is x above θ, the batch last.

    Args:
        field: with its steered weights in θ and only the others among its :attr:`~Kernel.weights`.
        g: reads all of z, and gives θ's rows.
        dim, control: how many rows are x's and θ's.
    """

    def __init__(self, field: Kernel, g: Kernel, dim: int, control: int):
        self.field, self.g, self.sizes = field, g, [dim, control]
        self.weights = (*field.weights, *g.weights)

    def pack(self, state):
        return torch.cat([part.t() for part in state]).contiguous()

    def unpack(self, z):
        return tuple(part.transpose(-1, -2) for part in z.split(self.sizes, dim=-2))

    def rms(self, squares):
        return torch.stack([part.mean(0) for part in squares.split(self.sizes)]).sqrt()

    def velocity(self, t, z, w, compiled=False):
        x, theta = z.split(self.sizes)
        n = len(self.field.weights)
        dx = self.field.velocity(t, x, (theta, *w[:n]), compiled)
        return torch.cat([dx, self.g.velocity(t, z, w[n:], compiled)])

    def products(self, t, z, w, g):
        (x, theta), (up, control), n = z.split(self.sizes), g.split(self.sizes), len(self.field.weights)
        dz, of_g = self.g.products(t, z, w[n:], control)
        dx, of_field = self.field.products(t, x, (theta, *w[:n]), up)
        dtheta, *rest = self.field.gathered(of_field, (theta, *w[:n]))
        return dz + torch.cat([dx, dtheta]), [*rest, *of_g]

    def gathered(self, pieces, w):
        n = len(self.field.weights)
        return [*pieces[:n], *self.g.gathered(pieces[n:], w[n:])]

    def recipe(self):
        return self.field.recipe(), self.g.recipe(), tuple(self.sizes)

    def bind(self, w, like):
        n = len(self.field.weights)
        self.w, self.buffer = w[:n], like.new_empty(self.sizes[0], like.shape[1])
        self.g.bind(w[n:], like)

    def bind_gradients(self, gw):
        n = len(self.field.weights)
        self.gw = gw[:n]
        self.g.bind_gradients(gw[n:])

    def f(self, t, z, out):
        (x, theta), (dx, dtheta) = z.split(self.sizes), out.split(self.sizes)
        self.field.bind((theta, *self.w), x)
        return theta, self.field.f(t, x, dx), self.g.f(t, z, dtheta)

    def vjp(self, saved, g, out):
        theta, of_field, of_g = saved
        (up, control), (dx, dtheta) = g.split(self.sizes), out.split(self.sizes)
        self.g.vjp(of_g, control, out)
        self.field.bind((theta, *self.w), up)
        self.field.bind_gradients((dtheta, *self.gw))
        self.field.vjp(of_field, up, self.buffer)
        dx.add_(self.buffer)

    def finish(self):
        self.g.finish()
