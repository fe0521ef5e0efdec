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
# You will learn what a neural ODE is, what its gradient costs, how exactly it can be run backward, and which functions
# it cannot represent. Section 2 of {cite:t}`chalvidal2021` starts from here.

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
import math

import numpy as np
import torch

from ncode import MLP, NeuralODE, Solver
from ncode.analysis.topology import overtakings
from ncode.reproduction.experiments.neural_odes import analysis, figures
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("02_neural_odes", profile, runs)

# %% [markdown]
# ## The claim
#
# A neural ODE {cite:p}`chen2018` is an initial value problem. Its vector field $f$ is a network with weights $\theta$
# (Eqs. 1 and 2 of the paper, without the time $t$ that its $f$ may also depend on):
#
# $$
# x' = f(x, \theta), \qquad x(0) = x_0, \qquad \Phi(x_0, t) = x(t) = x_0 + \int_0^t f(x(s), \theta)\,ds .
# $$ (eq-node)
#
# $\Phi$ is its **flow**. The **orbit** of $x_0$ is the set of all states that it passes through. The paper recalls four
# properties, the first three in Section 2, the last in Sections 3.1 and 4.1 and with Fig. 4. This page checks each of
# them:
#
# 1. The flow is reversible: run backward, it returns to $x_0$.
# 2. A ResNet is its discretisation with unit steps (Eq. 3).
# 3. Its gradient needs only a second solve, the adjoint, whose memory does not grow with the number of steps.
# 4. In one dimension paths cannot cross, so there are functions that it cannot represent.
#
# ## The setting
#
# We take a random tanh network with somewhat large weights. Everything is in double precision, so that solver errors
# are visible down to rounding. `reference` is a tight solve that the others are measured against.

# %%
options = page.options
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
field = MLP(2, (16,))
with torch.no_grad():
    field.layers[1].weight.mul_(6.0)
x0 = torch.randn(64, 2)
reference = Solver("dopri8", rtol=1e-12, atol=1e-12)

# %% [markdown]
# The flow of {eq}`eq-node` composes: $\Phi(\Phi(x, s), t) = \Phi(x, s + t)$, and $\Phi(x, 0) = x$. That is so because $f$
# does not depend on $t$. If it did, it would matter when a path starts.


# %%
def flow(T, solver=reference):
    """Φ(·, T) as a module."""
    return NeuralODE(field, horizon=T, solver=solver)


composed = analysis.composes(flow, x0)
assert composed < 1e-10, composed

# %% tags=["hide-input"]
page.figure(
    figures.orbits(flow(1.0), x0[:8]),
    name="fig-orbits",
    caption="The vector field (arrows, length to scale) and the orbits of some points (dots), followed forward (blue) and "
    "backward (orange) in time. Orbits fill the plane and never meet.",
    alt="A plane of arrows with eight smooth curves, each with a dot from which a blue part leads forward and an orange "
    "part backward in time.",
)

# %% [markdown]
# ## The run
#
# **Reversibility.** The exact flow satisfies $\Phi(\Phi(x, T), -T) = x$. A solver adds its error twice. Contraction
# makes it worse: a field that contracts as $e^{-\lambda t}$ expands when it is run backward, so the error of the
# forward solve grows by $e^{\lambda T}$ on the way back. The adjoint method reconstructs the path in just this way.

# %%
tolerances = np.logspace(-2, -10, options["tolerances"])
rates = (0.0, 4.0, 8.0)
errors = {
    rate: np.array(
        [analysis.returned(field, x0, rate, tol) for tol in tolerances]
    )
    for rate in rates
}

# %% [markdown]
# **Eq. 3.** With $K$ steps of length $h = T/K$, Euler's method is
#
# $$x_{k+1} = x_k + h f(x_k, \theta) .$$ (eq-resnet)
#
# That is a ResNet of $K$ blocks which share their weights. We write it as a ResNet and call it as a solver. Both are
# the same computation.


# %%
def resnet(x, blocks):
    """K residual blocks with shared weights, scaled by h = 1/K."""
    for _ in range(blocks):
        x = x + field(torch.tensor(0.0), x, {}) / blocks
    return x


# %%
depths = np.array(options["depths"])
with torch.no_grad():
    exact = flow(1.0)(x0)
    same = max(
        (flow(1.0, Solver("euler", steps=int(k)))(x0) - resnet(x0, k)).abs().max()
        for k in depths
    ).item()
assert same < 1e-12, same
depth_errors = analysis.depth_errors(field, x0, exact, depths)
order = analysis.orders(depths, depth_errors)

# %% [markdown]
# **Memory.** Backpropagation through the solver keeps what every step computed. The adjoint keeps the end, and solves
# backward again. (The library's default also keeps a fixed number of checkpoints, so that contraction does no harm.
# Here we switch them off, to show the method by itself.) PyTorch tells what it saves, so we can count the bytes.

# %%
memory = {
    gradients: [analysis.saved(field, x0, gradients, k) for k in depths]
    for gradients in ("direct", "adjoint")
}
kilobytes = analysis.kilobytes(memory)

# %% [markdown]
# **One dimension.** Take many random fields on the line, each with many starting points. Does any path ever overtake
# another? Half of the fields also depend on time, $x' = f(t, x)$.

# %%
torch.manual_seed(1)
line = torch.linspace(-2, 2, 41).unsqueeze(1)
times = torch.linspace(0, 1, 21)
bundles = analysis.bundles(options["fields"], line, times)
crossings = sum(map(overtakings, bundles))
smallest_gap = min(bundle.diff(dim=1).min().item() for bundle in bundles)
assert crossings == 0

# %% [markdown]
# ## What came out
#
# In {numref}`fig-reversibility`, the way back is about as exact as the way there if the field does not contract. If it
# contracts, the error on the way back is larger than the forward error, by a factor that grows exponentially.

# %% tags=["hide-input"]
page.figure(
    figures.reversibility(tolerances, errors),
    name="fig-reversibility",
    caption="The worst sample's distance to its start after T = 1 forward and back (solid), and its error at T before "
    "turning back (dotted), over the solver's tolerance, for the field f(x) - λx. The black line is the tolerance. It "
    "bounds the error at T where the field contracts. It does not bound it without contraction. If the field contracts, "
    "it does not bound the distance after the way back, either.",
    alt="Log-log plot of distance against tolerance. For each of three contraction rates a solid and a dotted line fall "
    "with the tolerance; the larger the rate, the further the solid line lies above the dotted one.",
)

# %% [markdown]
# :::{prf:proposition} The way back multiplies the error
# :label: prop-way-back
# Let $f$ be Lipschitz with constant $L$, and let $\tilde x$ be an approximation of $x(T)$. Then
#
# $$e^{-LT} \le \frac{\lvert\Phi(\tilde x, -T) - x(0)\rvert}{\lvert\tilde x - x(T)\rvert} \le e^{LT} .$$ (eq-way-back)
#
# If $f = -\lambda x$, the factor is $e^{\lambda T}$ exactly.
# :::
#
# :::{prf:proof}
# Grönwall's inequality for $-f$, which has the same constant, bounds the distance from above. The same inequality for
# $f$ bounds it from below. If $f = -\lambda x$, then $\Phi(x, -T) = e^{\lambda T} x$.
# :::

# %%
growth = analysis.growth(errors)
for rate in rates:  # a tighter tolerance helps the way back, too
    assert errors[rate][-1, 0] < 1e-3 * errors[rate][0, 0]
assert growth[0.0] < growth[4.0] < growth[8.0], growth
assert (errors[0.0][:, 1] > tolerances).all()
# A contracting field: below the tolerance there, above it after the way back.
for rate in filter(None, rates):
    back, there = errors[rate].T
    assert (there < tolerances).all() and (back > 5 * tolerances).all()

# %% tags=["hide-input"]
page.table(
    "tab-reversibility",
    "How much larger the distance after the way back is than the error before it: median over the tolerances. If the "
    "field were -λx alone, the error of the forward solve would grow by the factor in the last column. The way back adds "
    "the errors of its own steps.",
    ["contraction λ", "there and back / there", "$e^{λT}$"],
    [
        [
            numbers.setting(rate),
            numbers.number(growth[rate], 3),
            numbers.number(math.exp(rate), 3),
        ]
        for rate in rates
    ],
)

# %% [markdown]
# A ResNet {eq}`eq-resnet` converges to the flow as its depth grows ({numref}`fig-depth`). Its order is one: twice the
# blocks, half the error. Better methods get more out of each evaluation of $f$.

# %% tags=["hide-input"]
page.figure(
    figures.depth(depths, depth_errors, order, kilobytes),
    name="fig-depth",
    caption="Left: the worst sample's distance to the exact flow over the number of steps. Euler's method is the ResNet of "
    "Eq. 3. The legend gives the measured orders. Right: memory saved for the backward pass over the number of steps of "
    "rk4, counted tensor by tensor.",
    alt="Left: log-log plot, error falls with slopes one, two and four for Euler, midpoint and rk4. Right: memory of "
    "direct gradients grows in proportion to the steps, the adjoint's is constant.",
)

# %%
nominal = {"euler": (1, 0.1), "midpoint": (2, 0.2), "rk4": (4, 0.4)}
for method, (expected, slack) in nominal.items():
    assert abs(order[method] - expected) < slack, order
assert np.ptp(kilobytes["adjoint"]) == 0
per_step = np.diff(kilobytes["direct"]) / np.diff(depths)
assert np.ptp(per_step) < 0.05 * per_step.mean(), per_step

# %% tags=["hide-input"]
page.table(
    "tab-adjoint",
    "Memory saved for the backward pass, and how far the adjoint's gradient is from the direct one, which differentiates "
    "the discrete solve. The two agree up to the solver's error.",
    [
        "steps of rk4",
        "direct, KB",
        "adjoint, KB",
        "relative difference of gradients",
    ],
    [
        [
            str(k),
            *(numbers.number(float(size), 3) for size in sizes),
            numbers.number(difference, 1),
        ]
        for k, *sizes, difference in zip(
            depths,
            *kilobytes.values(),
            analysis.disagreement(memory),
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
# Otherwise, by continuity, $x(s) = y(s)$ for some $s$. Then $x$ and $y$ solve the same problem from time $s$. By
# uniqueness they agree at all times, also at $0$.
# :::
#
# So $\Phi(\cdot, T)$ is increasing, and no field gives $x \mapsto -x$, however wide its network. A field that depends
# on time does not help, because the proof never asks whether it does. In more dimensions paths can go around each
# other. There the flow is a homeomorphism, and {doc}`06_annuli` shows what that forbids.

# %% tags=["hide-input"]
page.figure(
    figures.order(bundles, times),
    name="fig-order",
    caption="Paths under four of the random fields on the line, two autonomous (left) and two that depend on time (right), "
    "coloured by x(0). They approach each other and never cross: the order of colours is the same at all times.",
    alt="Four panels of paths against time that bend and bunch together without crossing.",
)

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper recalls known facts here. It makes no claim of its own, so there is no verdict to record. The cells above
# assert what Section 2 recalls (reversibility, Eq. 3, constant adjoint memory) and what later sections recall (paths on
# the line do not cross). We added that the flow composes, and the order of Euler's method.

# %% tags=["hide-input"]
page.table(
    "tab-section-2",
    "The properties that the paper recalls, checked.",
    ["property", "measured"],
    [
        ["flow composes, largest error", numbers.number(composed, 1)],
        [
            "ResNet against Euler solver, largest difference",
            numbers.number(same, 1),
        ],
        ["order of convergence in depth", numbers.number(order["euler"], 3)],
        [
            "random fields on the line, pairs that changed order",
            f"{len(bundles)}, {crossings}",
        ],
        [
            "smallest gap between neighbouring paths",
            numbers.number(smallest_gap, 1),
        ],
    ],
)

# %% [markdown]
# ## Deviations
#
# - A ResNet has weights of its own in every block. So it discretises a field that depends on time. With shared weights,
#   as here, it discretises an autonomous field. And its blocks come without the factor $h$, which the weights have to
#   learn.
# - A tolerance bounds the local error of one step. In {numref}`fig-reversibility` the global error at $T$ lies above it for
#   λ = 0 and below it for contracting fields. For these the distance after the way back lies far above it.
# - The adjoint's memory does not grow with the number of steps, because it finds the path again on the way back. If the
#   field contracts, it finds another path. Ask for output times along the path: the library restarts from them.
#
# ## What to remember
#
# - A neural ODE is an initial value problem. A ResNet with shared weights is its Euler discretisation.
# - The adjoint needs constant memory, because it solves backward in time. If the field contracts, that solve is inexact.
# - On the line, no neural ODE changes the order of points.
#
# ## Exercises
#
# Try each on paper first. Every solution ends in a check that runs.
#
# **1. Steps and error.** Solve $x' = -x$, $x(0) = 1$ to $T = 1$ by $K$ steps of Euler's method. What is $x_K$, and
# what does halving the step do to the error?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# $x_K = (1 - 1/K)^K$. Against $e^{-1}$ it is wrong by about $e^{-1}/(2K)$, so half the step has half the error.
# Euler's method has order one.
#
# ```python
# import math
#
# wrong = [abs((1 - 1 / K) ** K - math.exp(-1)) for K in (100, 200)]
# assert abs(wrong[0] / wrong[1] - 2) < 0.02
# ```
# :::
#
# **2. A ResNet may cross where a flow may not.** Take $x' = -3x$ and one residual step $x + h f(x)$. For which $h$ do
# two points change their order? What does the flow do?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# The step multiplies by $1 - 3h$, which is negative for $h > 1/3$: then the order is reversed. The flow multiplies by
# $e^{-3h} > 0$ and keeps the order for every $h$.
#
# ```python
# import math
#
# left, right, h = 0.5, 1.0, 0.5
# assert left - 3 * h * left > right - 3 * h * right
# assert left * math.exp(-3 * h) < right * math.exp(-3 * h)
# ```
# :::
#
# **3. The way back.** A field contracts as $e^{-\lambda t}$. The forward solve ends with the error $\varepsilon$. How
# large is the error at the start when an exact solver runs back from there?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# Run backward the field expands, so the error becomes $\varepsilon e^{\lambda T}$. With $\lambda = 8$ and $T = 1$ it
# has grown three thousand times. This is the upper bound in {eq}`eq-way-back`, with $L = \lambda$.
#
# ```python
# import math
#
# rate, T, slip = 8.0, 1.0, 1e-6
# end = math.exp(-rate * T) + slip
# start = end * math.exp(rate * T)
# assert math.isclose(start - 1, slip * math.exp(rate * T), rel_tol=1e-6)
# ```
# :::
#
# ## What it took

# %%
page.took()
