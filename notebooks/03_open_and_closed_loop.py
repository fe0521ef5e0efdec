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
# # Open and closed loop
#
# In N-CODE, a controller sets the weights of a neural ODE, separately for every sample. It does so once (open loop), or
# all along the path (closed loop). You will learn what such a module is, why it has exactly one solution as long as that
# does not leave every bounded set, and why its paths may cross (Section 3 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
import torch

from ncode import (
    MLP,
    NCODE,
    ClosedLoop,
    DataControlledODE,
    NeuralODE,
    OpenLoop,
    Solver,
)
from ncode.reproduction.experiments.open_and_closed_loop import (
    analysis,
    figures,
    tables,
    verdict,
)
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("03_open_and_closed_loop", profile, runs)
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## The claim
#
# An N-CODE module is the coupled system (Eq. 4 of the paper, without the time $t$ that its $f$ may also depend on)
#
# $$
# x' = f(x, \theta), \qquad \theta' = g(\theta, x, t), \qquad \theta(0) = \gamma(x(0)) .
# $$ (eq-ncode)
#
# - **Open loop**: $g = 0$. Every sample keeps the weights that $\gamma$ gave it.
# - **Closed loop**: $g$ changes the weights as the state moves.
#
# {numref}`fig-ncode` draws both. The paper makes two claims:
#
# **N3.** The coupled system $z = (x, \theta)$ has a unique solution. Seen in $x$ alone the closed loop is non-autonomous:
# the field changes with time. Each $x(0)$ has a flow of its own, so orbits may intersect. (The *orbit* of $x(0)$ is the
# set of all states that its path $x(t)$ passes through, as in {doc}`02_neural_odes`. We ask for more than the paper does:
# two paths *cross* if they are at one state at the same time.)
#
# **N6.** Data control {cite:p}`massaroli2020`, a field that also sees $x(0)$, is an open loop.

# %% tags=["hide-input"]
page.figure(
    figures.module(),
    name="fig-ncode",
    caption="Fig. 2 anew: the N-CODE module. White: the neural ODE, a field whose integral feeds back into it. Shaded: "
    "the controllers. Red arrows run forward in time. Blue arrows are the adjoint system: it runs backward from the loss "
    "and gives every part its gradient. In the open loop γ reads x(0) and sets θ once. In the closed loop γ sets only "
    "the first θ. Then g reads the state and θ, and moves θ. The paper draws both loops in one diagram.",
    alt="Two block diagrams. Left: x(0) feeds the block f and the block gamma, whose output theta feeds f; f's output is "
    "integrated and fed back by red arrows. Right: the same, with a second integral of the block g, which reads x(t) and "
    "theta(t). In both, blue arrows lead from x(T) back to f and gamma, and on the right to g.",
)

# %% [markdown]
# ## The setting
#
# We use untrained models, so nothing here depends on training. Their state $x$ is one number, so we can see at once
# whether paths cross. All models have the same kind of field. The controllers steer all of its parameters. Their
# weights are large, so different samples get very different fields.

# %%
T, tight = 2.0, Solver("dopri8", rtol=1e-11, atol=1e-11)


def build(loop, dim=1, solver=tight):
    """A random model: `node` (nothing steered), `open` or `closed`."""
    torch.manual_seed(0)
    field, given = MLP(dim, (16,)), {"horizon": T, "solver": solver}
    if loop == "node":
        return NeuralODE(field, **given)
    if loop == "open":
        gamma = OpenLoop(hidden=(16,), spread=1.5)
        return NCODE(field, gamma=gamma, **given)
    g = ClosedLoop(hidden=(16,), spread=3.0)
    return NCODE(field, g=g, **given)


# %% [markdown]
# ## The run
#
# :::{prf:proposition} The coupled system is well posed
# :label: prop-well-posed
# Let $f$ and $g$ be continuously differentiable, with
#
# $$\lvert f(x, \theta)\rvert + \lvert g(\theta, x, t)\rvert \le a + b\,\lvert(x, \theta)\rvert .$$ (eq-growth)
#
# Then $z = (x, \theta)$ has exactly one solution for every $z(0)$ and all $t$. The flow of $z$ is a homeomorphism: it is
# continuous, and so is its inverse. Two different $z$ never meet.
# :::
#
# :::{prf:proof}
# $(f, g)$ is locally Lipschitz in $z$, so solutions are locally unique (Picard and Lindelöf). By Grönwall's
# inequality the growth bound {eq}`eq-growth` keeps $\lvert z(t)\rvert$ below
# $(\lvert z(0)\rvert + a t)\,e^{b t}$. So no solution becomes infinite in finite time, and each extends to all $t$.
# Run the flow backward to get its inverse.
# :::
#
# **Tanh networks satisfy the growth bound**, even if γ steers every parameter. A tanh layer is bounded, so
# $\lvert f(x, \theta)\rvert$ grows at most linearly with the weights and biases of the last layer. A tanh $g$ is bounded.
#
# **The linear field $x' = \theta x$ does not.** Take $\theta' = x$ with $\theta(0) = 0$ and $x(0) > 0$. Then $x = x(0) +
# \theta^2/2$, so $\theta' = x(0) + \theta^2/2$. Its solution $\theta(t) = \sqrt{2 x(0)}\,\tan(t\sqrt{x(0)/2})$ is
# infinite after a finite time.
#
# If there is only one solution, every good solver finds it. We take two unrelated methods, one with adaptive and one
# with fixed steps. How much do they differ at $T$?

# %%
starts = torch.linspace(-1.5, 1.5, 13).unsqueeze(1)
t = torch.linspace(0, T, 101)
other = Solver("rk4", steps=1000)
with torch.no_grad():
    loops = ("node", "open", "closed")
    paths = {loop: build(loop).trajectory(starts, t) for loop in loops}
    second = {loop: build(loop, solver=other)(starts) for loop in loops}
agreement = {
    loop: (second[loop] - paths[loop].x[-1]).abs().max().item() for loop in loops
}

# %% [markdown]
# Now we look at every pair of samples. Do their states $x$ change order? And how near do their $z = (x, \theta)$ come to
# each other, compared with their distance at the start?

# %%
crossed = {loop: analysis.crossings(path) for loop, path in paths.items()}
crossed

# %% [markdown]
# ## What came out

# %% tags=["hide-input"]
page.figure(
    figures.crossing(paths),
    name="fig-crossing",
    caption="Top: paths x(t) of some samples under three random models, coloured by x(0). NODE's paths keep their order, "
    "controlled paths cross. Bottom: the distance of one pair (black in the panels above). In x (dashed) it passes "
    "through zero where the two cross; in z = (x, θ) (solid) it never does.",
    alt="Top, three panels of paths against time: NODE's do not cross, the open and the closed loop's do. Bottom, the "
    "distance of a pair against time on a logarithmic axis: in x it dips to zero at the crossing, in z it stays well "
    "above.",
)

# %% tags=["hide-input"]
pairs = len(starts) * (len(starts) - 1) // 2
page.table(
    "tab-crossing",
    f"How many of the {pairs} pairs change order in x; the smallest distance of any pair in z = (x, θ), divided by its "
    "distance at the start; and the largest difference at T between the two solvers.",
    tables.COLUMNS,
    tables.crossings(crossed, agreement),
)

# %% [markdown]
# **Why may paths cross?** Not because the field changes with time. If all samples *share* a field $f(t, x)$, it keeps
# their order ({doc}`02_neural_odes`, {prf:ref}`prop-order`). Paths cross because each sample has its *own* field
# $f(\cdot, \theta_i(t))$. To see this, we give all samples the control of the middle sample. It still moves, but nothing
# crosses any more:

# %%
shared = build("closed")
shared.g = analysis.Replayed(shared.g)
with torch.no_grad():
    path = shared.trajectory(starts, t)
replayed, _ = analysis.crossings(path)
moved = (path.theta[-1, 0] - path.theta[0, 0]).norm().item()
replayed, moved

# %% [markdown]
# **Does the field change with time?** We take the field that a sample sees, on a grid of states. How much does it differ
# between the start and the end of the path, compared with its own size at the start? In the open loop $\theta$ is
# constant, so every sample's field is autonomous. In the closed loop it changes:

# %%
changed = {
    loop: analysis.change_of_field(build(loop), starts, T)
    for loop in ("open", "closed")
}
changed

# %% [markdown]
# **Data control is an open loop.** In $x' = f([x : x(0)], \theta)$ the field has a second input, and a controller fills it
# once, with $x(0)$. In the paper's words $\gamma(x) = [C : x]$, where $C$ are the ordinary learned weights. We write this
# in two ways, and compare both with the library's `DataControlledODE` at the same weights:
#
# 1. A *slot* is an extra input of the field that a controller may set. $\gamma(x) = x$ sets the slot $u$ of
#    $f([x : u])$.
# 2. The field sees $x$ alone. A linear $\gamma$ steers the bias of its first layer:
#    $W[x : x_0] + b = W_x x + (W_{x_0} x_0 + b)$.

# %%
torch.manual_seed(0)
dim, hidden = 3, 16
x0 = torch.randn(page.options["points"], dim)
data = DataControlledODE(MLP(dim, (hidden,), inputs=dim), solver=tight)
parity = {
    name: analysis.difference(write(data, dim, hidden), data, x0)
    for name, write in (("slot", analysis.as_slot), ("bias", analysis.as_bias))
}
parity

# %% [markdown]
# The ends $x(T)$ agree to rounding, and so do the gradients. The gradient with respect to $x(0)$ passes through the path
# *and* through the controller.
#
# **How exact is each sample?** Samples have their own fields, and some fields are harder to solve than others. torchdiffeq
# accepts a step if the *mean* error of the batch is within the tolerance. This library accepts it only if the error of
# the *worst* sample is.

# %%
tolerance = 1e-3
torch.manual_seed(1)
batch = 2 * torch.randn(page.options["points"], 2)
errors = {}
for norm in ("mean", "worst"):
    solver = Solver(rtol=tolerance, atol=tolerance, norm=norm)
    model = build("open", 2, solver=solver)
    found = model.solver_error(batch).sort().values
    with torch.no_grad():
        model(batch)
    errors[norm] = (found, model.nfe.forward)

# %% tags=["hide-input"]
page.figure(
    figures.norms(errors, tolerance),
    name="fig-norms",
    caption="Error at T of every sample of one batch, sorted, under the two error norms at the same tolerance (dotted). "
    "Each sample has its own field. Under either norm the worst sample's error lies above the tolerance, because the "
    "tolerance bounds only the error of one step. Under the mean norm it lies further above.",
    alt="Two rising curves of error over sample rank on a logarithmic axis; the mean norm's lies above the worst-sample "
    "norm's, most at the right end.",
)

# %% tags=["hide-input"]
worst = {norm: found[-1].item() for norm, (found, _) in errors.items()}
assert worst["worst"] < worst["mean"], worst
page.say(
    f"At tolerance {numbers.setting(tolerance)} the mean norm takes {errors['mean'][1]} evaluations, and the worst of",
    f"{len(batch)} samples is wrong by {numbers.number(worst['mean'])}. The worst-sample norm takes",
    f"{errors['worst'][1]} evaluations, and its worst sample is wrong by {numbers.number(worst['worst'])}.",
    "**A tolerance bounds the error of each step, not the error at T.**",
    "`model.solver_error(x0)` measures the error at T.",
)

# %% [markdown]
# ## Paper versus ours, with a verdict

# %%
checks = verdict.n3_checks(agreement, crossed, (replayed, moved), changed)
page.verdict("N3", verdict.n3(checks), checks, note=verdict.N3_NOTE)

# %%
checks = verdict.n6_checks(parity)
page.verdict("N6", verdict.n6(checks), checks, note=verdict.N6_NOTE)

# %% [markdown]
# ## Deviations
#
# - In the open loop $\theta$ does not move, so the library does not integrate it. This keeps the state small.
# - In the closed loop the paper lets $\gamma$ set $\theta(0)$. Our model has no $\gamma$: all samples share one learned
#   $\theta(0)$, and their $z(0)$ differ only in $x(0)$.
# - Appendix B gives $x'$ to $g$. Eq. 4 (our {eq}`eq-ncode`) gives $x$ to $g$. We follow Eq. 4.
#
# ## What to remember
#
# - An N-CODE module is an ordinary flow of the pair $(x, \theta)$. It has exactly one solution, as long as that does not
#   leave every bounded set.
# - Its paths may cross in $x$, because every sample has its own field.
# - Data control is an open loop with a fixed controller.
#
# ## Exercises
#
# Try each on paper first. Every solution ends in a check that runs.
#
# **1. Paths that meet, pairs that do not.** For $x' = \theta$, $\theta' = -x$ with $\theta(0) = 0$, when do the paths of
# two samples meet? How far apart are their pairs $(x, \theta)$ at that time?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# $x(t) = x(0)\cos t$, so all paths meet at $t = \pi/2$. The pair $(x, \theta)$ turns around the origin. So its distance
# to another pair stays $\lvert x(0) - \tilde x(0)\rvert$. Paths may cross in $x$. They never meet in $z$.
#
# ```python
# import math
#
# import torch
#
# pair = torch.tensor([0.5, 2.0], dtype=torch.float64)
# t = torch.linspace(0, math.pi, 101, dtype=torch.float64).unsqueeze(1)
# x, theta = pair * t.cos(), -pair * t.sin()
# assert (x[50, 1] - x[50, 0]).abs() < 1e-12
# apart = torch.hypot(x[:, 1] - x[:, 0], theta[:, 1] - theta[:, 0])
# assert torch.allclose(apart, torch.full_like(apart, 1.5))
# ```
# :::
#
# **2. Where a solution ends.** Which bound of this page does $x' = x^2$ break, and when does its solution end?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# It grows faster than {eq}`eq-growth` allows. From $x(0) = x_0 > 0$ the solution is $x(t) = x_0/(1 - x_0 t)$, which
# leaves every bounded set before $t = 1/x_0$.
#
# ```python
# import sympy as sp
#
# t, start = sp.symbols("t x0", positive=True)
# x = start / (1 - start * t)
# assert sp.simplify(sp.diff(x, t) - x**2) == 0
# assert sp.limit(x.subs(start, 2), t, sp.Rational(1, 2), "-") == sp.oo
# ```
# :::
#
# ## What it took

# %%
page.took()
