# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["remove-cell"]
import importlib.metadata as installed
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("ncode") is None:
    url = "git+https://github.com/ncode-companion/ncode"
    ncode = f"ncode-ode[reproduction] @ {url}"
    if "COLAB_RELEASE_TAG" not in os.environ:
        raise ImportError(f'ncode is not installed: pip install "{ncode}"')
    kept = [f"{p}=={installed.version(p)}" for p in ("torch", "numpy", "ipython")]
    pip = [sys.executable, "-m", "pip", "install", "-q", ncode, *kept]
    if subprocess.run(pip).returncode:
        raise ImportError("pip could not install ncode: it says above why")

# %% [markdown]
# # Neural ODEs
#
# What a neural ODE is, what it costs, and what it cannot do: the ground that Section 2 of
# {cite:t}`chalvidal2021` starts from.

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU

# %% tags=["hide-input"]
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from ncode import MLP, Field, NeuralODE, Solver, TimedMLP
from ncode.analysis.topology import overtakings
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing.display import Page

page = Page("02_neural_odes", profile)
style.use_style()

# %% [markdown]
# ## The claim
#
# A neural ODE {cite:p}`chen2018` is an initial value problem whose vector field $f$ is a network (Eqs. 1, 2):
#
# $$
# x' = f(x, \theta), \qquad x(0) = x_0, \qquad \Phi(x_0, t) = x(t) = x_0 + \int_0^t f(x(s), \theta)\,ds .
# $$
#
# $\Phi$ is its **flow**; the **orbit** of $x_0$ is the set of all states that it passes through. Section 2 recalls
# four properties, which this page checks one by one:
#
# 1. the flow is reversible: run backward, it returns to $x_0$;
# 2. a ResNet is its discretisation with unit steps (Eq. 3);
# 3. its gradient can be had by a second solve, the adjoint, with memory that does not grow with the steps;
# 4. in one dimension paths cannot cross, so there are functions that it cannot represent.
#
# ## The setting
#
# A random tanh network with somewhat large weights, in double precision, so that solver errors can be seen down to
# rounding. `reference` is the tight solve that the others are measured against.

# %%
settings = page.settings
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
field = MLP(2, (16,))
with torch.no_grad():
    field.layers[1].weight.mul_(6.0)
x0 = torch.randn(64, 2)
reference = Solver("dopri8", rtol=1e-12, atol=1e-12)

# %% [markdown]
# The flow of an autonomous field composes: $\Phi(\Phi(x, s), t) = \Phi(x, s + t)$, and $\Phi(x, 0) = x$.


# %%
def flow(T, solver=reference, field=field):
    """Φ(·, T) as a module."""
    return NeuralODE(field, horizon=T, solver=solver)


with torch.no_grad():
    composed = (flow(0.7)(flow(0.3)(x0)) - flow(1.0)(x0)).abs().max().item()
assert composed < 1e-10, composed

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-orbits", "caption": "The vector field (arrows, length to scale) and eight orbits through the dots, followed forward (blue) and backward (orange) in time. Orbits fill the plane and never meet."}, "image": {"alt": "A plane of arrows with eight smooth curves, each with a dot from which a blue part leads forward and an orange part backward in time."}}
side = torch.linspace(-3, 3, 17)
points = torch.cartesian_prod(side, side)
with torch.no_grad():
    arrows = field(torch.tensor(0.0), points, {})
    forward, backward = (
        NeuralODE(field, solver=reference)
        .trajectory(x0[:8], torch.linspace(0, T, 81))
        .x
        for T in (1.0, -1.0)
    )
figure, axes = style.panels(1, width=4.4, height=4.0)
panel = axes[0, 0]
panel.quiver(*points.T, *arrows.T, color="#bbbbbb", angles="xy")
for i in range(8):
    panel.plot(
        *forward[:, i].T,
        color=style.COLOURS["open"],
        label="forward" if i == 0 else None,
    )
    panel.plot(
        *backward[:, i].T,
        color=style.COLOURS["anode"],
        label="backward" if i == 0 else None,
    )
panel.plot(*x0[:8].T, "o", color="black", markersize=4, label="x(0)")
panel.set(
    xlabel="$x_1$", ylabel="$x_2$", xlim=(-3, 3), ylim=(-3, 3), aspect="equal"
)
panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## The run
#
# **Reversibility.** $\Phi(\Phi(x, T), -T) = x$ holds for the exact flow. A solver adds its error twice. And a field
# that contracts as $e^{-\lambda t}$ expands when run backward: what the forward solve got wrong grows by
# $e^{\lambda T}$. The adjoint method reconstructs the path in just this way.


# %%
class Contracted(Field):
    """f(x) - λ x."""

    def __init__(self, field, rate):
        super().__init__(field.shape)
        self.field, self.rate = field, rate

    def forward(self, t, x, theta):
        return self.field(t, x, theta) - self.rate * x


tolerances = np.logspace(-2, -10, settings["tolerances"])
rates = (0.0, 4.0, 8.0)


# %%
def returned(rate, tolerance):
    """The worst sample's distance from x(0) after T = 1 forward and back, and its error at T."""
    solver = Solver(rtol=tolerance, atol=tolerance)
    there, back = (flow(T, solver, Contracted(field, rate)) for T in (1.0, -1.0))
    with torch.no_grad():
        distance = (back(there(x0)) - x0).norm(dim=1).max().item()
    return distance, there.solver_error(x0, tolerance=1e-12).max().item()


errors = {
    rate: np.array([returned(rate, tolerance) for tolerance in tolerances])
    for rate in rates
}

# %% [markdown]
# **Eq. 3.** With steps of length $h = T/K$, Euler's method is $x_{k+1} = x_k + h f(x_k, \theta)$: a ResNet of $K$
# blocks that share their weights. Written as a ResNet and called as a solver it is the same computation.


# %%
def resnet(x, blocks):
    """K residual blocks with shared weights, scaled by h = 1/K."""
    for _ in range(blocks):
        x = x + field(torch.tensor(0.0), x, {}) / blocks
    return x


# %%
depths = np.array(settings["depths"])
with torch.no_grad():
    exact = flow(1.0)(x0)
    same = max(
        (flow(1.0, Solver("euler", steps=k))(x0) - resnet(x0, k))
        .abs()
        .max()
        .item()
        for k in depths
    )
    depth_error = {
        method: [
            (flow(1.0, Solver(method, steps=k))(x0) - exact)
            .norm(dim=1)
            .max()
            .item()
            for k in depths
        ]
        for method in ("euler", "midpoint", "rk4")
    }
assert same < 1e-12, same

# %% [markdown]
# **Memory.** Backpropagation through the solver keeps what every step computed. The adjoint keeps the end and solves
# backward again. (By default the library keeps a fixed number of checkpoints as well, so that contraction does no harm;
# none of them here, to show the method by itself.) PyTorch tells what it saves: count the bytes.


# %%
def saved_bytes(gradients, steps):
    """Distinct bytes that the forward pass saves for the backward pass, and the field's gradient."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = (
            tensor.untyped_storage().nbytes()
        )
        return tensor

    solver = Solver("rk4", steps=steps, gradients=gradients, checkpoints=0)
    model = flow(1.0, solver)
    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        end = model(x0)
    end.square().sum().backward()
    return sum(storages.values()), torch.cat(
        [p.grad.reshape(-1) for p in model.parameters()]
    )


memory = {
    g: [saved_bytes(g, int(k)) for k in depths] for g in ("direct", "adjoint")
}
kilobytes = {g: np.array([size for size, _ in memory[g]]) / 1024 for g in memory}

# %% [markdown]
# **One dimension.** Many random fields on the line, each with many starting points: does any path ever overtake
# another? The second half of them depends on time as well, $x' = f(t, x)$.

# %%
torch.manual_seed(1)
line = torch.linspace(-2, 2, 41).unsqueeze(1)
times = torch.linspace(0, 1, 21)
bundles = []
for k in range(settings["fields"]):
    one = (MLP if k % 2 == 0 else TimedMLP)(1, (16,))
    for parameter in one.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        bundles.append(
            NeuralODE(one, solver=Solver(rtol=1e-9, atol=1e-9))
            .trajectory(line, times)
            .x[..., 0]
        )
crossings = sum(map(overtakings, bundles))
smallest_gap = min(bundle.diff(dim=1).min().item() for bundle in bundles)
assert crossings == 0

# %% [markdown]
# ## What came out
#
# {numref}`fig-reversibility`: without contraction the way back is about as exact as the way there. With
# contraction it is worse than the forward error by a factor that grows exponentially, however small that error is.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-reversibility", "caption": "The worst of 64 samples after T = 1 forward and back (solid), and its error at T before turning back (dotted), over the solver's tolerance, for the field f(x) - λx. The black line is the tolerance itself: it bounds the error at T where the field contracts, not at λ = 0, and not the way back."}, "image": {"alt": "Log-log plot of distance against tolerance. For each of three contraction rates a solid and a dotted line fall with the tolerance; the larger the rate, the further the solid line lies above the dotted one."}}
figure, axes = style.panels(1, width=6.2, height=3.2)
panel = axes[0, 0]
for rate, colour in zip(
    rates, (style.COLOURS[m] for m in ("open", "data", "node")), strict=True
):
    panel.loglog(
        tolerances,
        errors[rate][:, 0],
        "o-",
        color=colour,
        markersize=3,
        label=f"λ = {rate:g}: there and back",
    )
    panel.loglog(
        tolerances,
        errors[rate][:, 1],
        ":",
        color=colour,
        label=f"λ = {rate:g}: there",
    )
panel.loglog(
    tolerances, tolerances, color="black", linewidth=1, label="tolerance"
)
panel.set(xlabel="tolerance (rtol = atol)", ylabel="worst sample's distance")
panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# :::{prf:proposition} The way back multiplies the error
# :label: prop-way-back
# Let $f$ be Lipschitz with constant $L$, and $\tilde x$ an approximation of $x(T)$. Then
# $e^{-LT} \le \lvert\Phi(\tilde x, -T) - x(0)\rvert \,/\, \lvert\tilde x - x(T)\rvert \le e^{LT}$. Where $f = -\lambda
# x$ the factor is $e^{\lambda T}$ exactly.
# :::
#
# :::{prf:proof}
# Grönwall's inequality for $-f$, which has the same constant, bounds the distance from above; applied to $f$ it
# bounds it from below. For $f = -\lambda x$, $\Phi(x, -T) = e^{\lambda T} x$.
# :::

# %%
growth = {
    rate: np.median(errors[rate][:, 0] / errors[rate][:, 1]) for rate in rates
}
for rate in rates:
    assert (
        errors[rate][-1, 0] < 1e-3 * errors[rate][0, 0]
    )  # a tighter tolerance helps the way back too
assert growth[0.0] < growth[4.0] < growth[8.0], growth
page.table(
    "tab-reversibility",
    "How much larger the distance after the way back is than the error before it: "
    "median over the tolerances. For f = -λx alone, what the forward solve left grows "
    "by the factor in the last column; the way back's own steps add to it.",
    ["contraction λ", "there and back / there", "$e^{λT}$"],
    [
        [f"{rate:g}", f"{growth[rate]:.3g}", f"{math.exp(rate):.3g}"]
        for rate in rates
    ],
)

# %% [markdown]
# A ResNet converges to the flow as its depth grows, with order one ({numref}`fig-depth`): twice the blocks, half
# the error. Better methods get more out of each evaluation of $f$.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-depth", "caption": "Left: the worst sample's distance to the exact flow over the number of steps; Euler's method is the ResNet of Eq. 3. Measured orders in the legend. Right: memory saved for the backward pass over the number of steps of rk4, counted tensor by tensor."}, "image": {"alt": "Left: log-log plot, error falls with slopes one, two and four for Euler, midpoint and rk4. Right: memory of direct gradients grows in proportion to the steps, the adjoint's is constant."}}
order = {
    method: -np.polyfit(np.log(depths[-4:]), np.log(depth_error[method][-4:]), 1)[
        0
    ]
    for method in depth_error
}
figure, axes = style.panels(2, width=4.2, height=3.0)
names = {"euler": "ResNet (Euler)", "midpoint": "midpoint", "rk4": "rk4"}
shades = [style.COLOURS[model] for model in ("node", "anode", "open")]
for (method, name), marker, shade in zip(
    names.items(), "os^", shades, strict=True
):
    label = f"{name}, order {order[method]:.2f}"
    style = {"marker": marker, "color": shade, "markersize": 4, "label": label}
    axes[0, 0].loglog(depths, depth_error[method], **style)
axes[0, 0].set(xlabel="steps (blocks) K", ylabel="worst sample's error at T")
for gradients, marker, shade in (
    ("direct", "o", "black"),
    ("adjoint", "s", shades[2]),
):
    style = {
        "marker": marker,
        "color": shade,
        "markersize": 4,
        "label": gradients,
    }
    axes[0, 1].loglog(depths, kilobytes[gradients], **style)
axes[0, 1].set(xlabel="steps of rk4", ylabel="saved tensors (KB)")
axes[0, 0].legend(fontsize=8, loc="lower left")
axes[0, 1].legend()
plt.show()

# %%
assert (
    abs(order["euler"] - 1) < 0.1
    and abs(order["midpoint"] - 2) < 0.2
    and abs(order["rk4"] - 4) < 0.4
), order
assert kilobytes["adjoint"].max() == kilobytes["adjoint"].min()
per_step = np.diff(kilobytes["direct"]) / np.diff(depths)
assert np.ptp(per_step) < 0.05 * per_step.mean(), per_step
# %%
disagreement = [
    ((a - d).norm() / d.norm()).item()
    for (_, d), (_, a) in zip(*memory.values(), strict=True)
]
page.table(
    "tab-adjoint",
    "Memory saved for the backward pass, and how far the adjoint's gradient is from the direct one, which "
    "differentiates the discrete solve: the two agree up to the solver's error.",
    [
        "steps of rk4",
        "direct, KB",
        "adjoint, KB",
        "relative difference of gradients",
    ],
    [
        [str(k), f"{d:.1f}", f"{a:.1f}", f"{e:.0e}"]
        for k, d, a, e in zip(
            depths,
            kilobytes["direct"],
            kilobytes["adjoint"],
            disagreement,
            strict=True,
        )
    ],
)

# %% [markdown]
# :::{prf:proposition} In one dimension paths do not cross
# :label: prop-order
# Let $x' = f(t, x)$ with $f$ Lipschitz in the real variable $x$. If $x(0) < y(0)$, then $x(t) < y(t)$ for all $t$.
# :::
#
# :::{prf:proof}
# Otherwise, by continuity, $x(s) = y(s)$ for some $s$. Then $x$ and $y$ solve the same problem from time $s$, and by
# uniqueness they agree at all times, also at $0$.
# :::
#
# So $\Phi(\cdot, T)$ is increasing, and no field, however wide its network, gives $x \mapsto -x$. A field that
# depends on time does not help: the proof never asks whether it does. In more dimensions paths can go around each
# other; there the flow is a homeomorphism, and {doc}`06_annuli` shows what that forbids.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-order", "caption": "Paths of four of the random fields on the line, two autonomous (left) and two that depend on time (right), coloured by x(0). They approach and never cross: the order of colours is the same at all times."}, "image": {"alt": "Four panels of paths against time that bend and bunch together without crossing."}}
figure, axes = style.panels(4, width=2.3, height=2.3)
colours = plt.get_cmap("coolwarm")(np.linspace(0, 1, 21))
for panel, k in zip(axes[0], (0, 2, 1, 3), strict=True):
    style.paths(panel, times, bundles[k][:, ::2], colours)
    panel.set(title="f(x)" if k % 2 == 0 else "f(t, x)", xlabel="time t")
axes[0, 0].set_ylabel("state x(t)")
plt.show()

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# Section 2 recalls known facts and makes no claim of its own, so there is no verdict to record. What it recalls is
# asserted above: composition, reversibility, Eq. 3 with its order, constant adjoint memory, and the order of paths.

# %% tags=["hide-input"]
page.table(
    "tab-section-2",
    "Section 2, checked.",
    ["property", "measured"],
    [
        ["flow composes, largest error", f"{composed:.0e}"],
        ["ResNet against Euler solver, largest difference", f"{same:.0e}"],
        ["order of convergence in depth", f"{order['euler']:.2f}"],
        [
            "random fields on the line, pairs that changed order",
            f"{len(bundles)}, {crossings}",
        ],
        ["smallest gap between neighbouring paths", f"{smallest_gap:.0e}"],
    ],
)

# %% [markdown]
# ## Deviations
#
# - A ResNet has weights of its own in every block. It discretises a field that depends on time; with shared weights,
#   as here, an autonomous one. And its blocks come without the factor $h$: it must be learned into the weights.
# - A tolerance bounds the local error of a step. In {numref}`fig-reversibility` the global one lies above it for λ = 0,
#   below it for contracting fields, and far above it after the way back.
# - The adjoint's memory is constant in the number of steps because it trusts the way back. Where the field
#   contracts, that trust is misplaced; output times along the path, which the library restarts from, restore it.
#
# ## What it took

# %%
page.took()
