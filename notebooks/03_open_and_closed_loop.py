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
# N-CODE lets a controller set the weights of a neural ODE for every sample, once or all along the path. You will learn
# what that is, why it is well posed, and why its paths may cross (Section 3 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU; "recorded": draws finished runs, trains nothing
runs = ""  # a folder to keep finished runs in; on Colab also on your drive: "/content/drive/MyDrive/ncode"

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
# An N-CODE module is the coupled system (Eq. 4 of the paper)
#
# $$
# x' = f(x, \theta), \qquad \theta' = g(\theta, x, t), \qquad \theta(0) = \gamma(x(0)) .
# $$ (eq-ncode)
#
# - **Open loop**: $g = 0$. Every sample keeps the weights that $\gamma$ gave it.
# - **Closed loop**: $g$ changes the weights as the state moves.
#
# {numref}`fig-ncode` draws both. The paper claims:
#
# **N3.** The coupled system $z = (x, \theta)$ has a unique solution; restricted to $X$ it is non-autonomous; since each
# $x(0)$ has a flow of its own, orbits may intersect. **N6.** Data control {cite:p}`massaroli2020` is an open loop.

# %% tags=["hide-input"]
page.figure(
    figures.module(),
    name="fig-ncode",
    caption="Fig. 2 anew: the N-CODE module. White: the neural ODE, a field and an integral that feeds back. Shaded: the "
    "controllers. Red arrows run forward in time. Blue arrows are the adjoint system, which runs backward from the loss "
    "and gives every part its gradient. In the open loop γ reads x(0) and sets θ once. In the closed loop γ sets only "
    "where θ begins, and g moves it as it sees the state and θ itself. The paper draws one diagram, with the closed "
    "loop dotted.",
    alt="Two block diagrams. Left: x(0) feeds the block f and the block gamma, whose output theta feeds f; f's output is "
    "integrated and fed back by red arrows. Right: the same, with a second integral of the block g, which reads x(t) and "
    "theta(t). In both, blue arrows lead from x(T) back to f and gamma, and on the right to g.",
)

# %% [markdown]
# ## The setting
#
# The models are untrained and live on the line, so nothing here depends on training. Their controllers have a large
# spread, so samples get very different fields. All of them steer every parameter of the same kind of field.

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
# Then $z = (x, \theta)$ has exactly one solution for every $z(0)$ and all $t$, and the flow of $z$ is a homeomorphism.
# Distinct $z$ never meet.
# :::
#
# :::{prf:proof}
# $(f, g)$ is locally Lipschitz in $z$, so solutions are locally unique (Picard and Lindelöf). By Grönwall's
# inequality the growth bound {eq}`eq-growth` keeps $\lvert z(t)\rvert$ below
# $(\lvert z(0)\rvert + a t)\,e^{b t}$. So no solution leaves in finite time, and each extends to all $t$. The flow
# run backward is its inverse.
# :::
#
# The growth bound matters. A tanh network satisfies it even if every parameter is steered: $\lvert f(x,
# \theta)\rvert$ is at most linear in the last layer's weights and biases, and a tanh $g$ is bounded. The linear field
# $x' = \theta x$ does not satisfy it. With $\theta' = x$, $\theta(0) = 0$ and $x(0) > 0$ one has $x = x(0) +
# \theta^2/2$. Then $\theta' = x(0) + \theta^2/2$, and $\theta(t) = \sqrt{2 x(0)}\,\tan(t\sqrt{x(0)/2})$ is infinite
# in finite time.
#
# Numerically, well posed means that the answer does not depend on the solver. We take two unrelated methods, one with
# adaptive and one with fixed steps, and ask how much they differ at $T$:

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
# Now look at every pair of samples. Do their states change order somewhere? And how near do their $z = (x, \theta)$
# come, as a share of their first distance?

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
    f"Of {pairs} pairs of samples: how many change order in x, and how near z = (x, θ) of any pair comes, as a share of "
    "its first distance. Last, the largest difference at T between the two solvers.",
    tables.COLUMNS,
    tables.crossings(crossed, agreement),
)

# %% [markdown]
# Why may they cross? "Non-autonomous" alone is not the reason. A field $f(t, x)$ that all samples *share* keeps their
# order on the line just as an autonomous field does ({doc}`02_neural_odes`, {prf:ref}`prop-order`). The reason is that
# each sample has its *own* $f(\cdot, \theta_i(t))$. To see this, give all samples one and the same moving control, that
# of the middle sample. Nothing crosses any more:

# %%
shared = build("closed")
shared.g = analysis.Replayed(shared.g)
with torch.no_grad():
    path = shared.trajectory(starts, t)
moved = (path.theta[-1, 0] - path.theta[0, 0]).norm().item()
assert analysis.crossings(path)[0] == 0 and moved > 0.1, moved

# %% [markdown]
# **Data control is an open loop.** In $x' = f([x : x(0)], \theta)$ the field has a second input, which a controller
# fills once. That is $\gamma(x) = [C : x]$: a constant part $C$, the ordinary learned weights, and $x$ itself. We write
# it in two ways and compare both with the library's `DataControlledODE`, with the same weights:
#
# 1. $\gamma(x) = x$ steers the slot $u$ of a field $f([x : u])$.
# 2. The field sees $x$ alone, and a linear $\gamma$ steers its first bias:
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
# Ends and gradients agree to rounding. The gradient with respect to $x(0)$ passes through the path *and* through the
# controller.
#
# **How exact is each sample?** Samples with fields of their own are not equally hard to solve. torchdiffeq accepts a
# step if the *mean* error of the batch is within tolerance. This library asks it of the *worst* sample.

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
    caption="Global error at T of every sample of one batch with different fields, sorted, under the two error norms at "
    "the same tolerance (dotted). The tolerance bounds the local error of one step. The worst sample's global error lies "
    "above it under either norm, and further above it under the mean norm.",
    alt="Two rising curves of error over sample rank on a logarithmic axis; the mean norm's lies above the worst-sample "
    "norm's, most at the right end.",
)

# %% tags=["hide-input"]
worst = {norm: found[-1].item() for norm, (found, _) in errors.items()}
assert worst["worst"] < worst["mean"], worst
page.say(
    f"At tolerance {numbers.setting(tolerance)} the worst of {len(batch)} samples is wrong by",
    f"{numbers.number(worst['mean'])} under the mean norm, for {errors['mean'][1]} evaluations, and by",
    f"{numbers.number(worst['worst'])} under the worst-sample norm, for {errors['worst'][1]} evaluations.",
    "**A tolerance bounds the local error of each step, not the global error at T.**",
    "`model.solver_error(x0)` measures the latter.",
)

# %% [markdown]
# ## Paper versus ours, with a verdict

# %%
checks = verdict.n3_checks(agreement, crossed)
page.verdict("N3", verdict.n3(checks), checks, note=verdict.N3_NOTE)

# %%
checks = verdict.n6_checks(parity)
page.verdict("N6", verdict.n6(checks), checks, note=verdict.N6_NOTE)

# %% [markdown]
# ## Deviations
#
# - In the open loop $\theta$ does not move, so the library does not integrate it: $\theta$ is a parameter of the
#   solve. As a part of the state, it would only make the state larger.
# - In the closed loop the paper lets $\gamma$ give $\theta(0)$. Without $\gamma$, as here, all samples share one
#   learned $\theta(0)$. Then $x(0)$ alone tells their $z(0)$ apart.
# - Appendix B passes $x'$ to $g$ where Eq. 4, our {eq}`eq-ncode`, passes $x$. We follow Eq. 4.
#
# ## What to remember
#
# - An N-CODE module is an ordinary, well-posed flow of the pair $(x, \theta)$.
# - Seen in $x$ alone its paths may cross, because every sample has its own field.
# - Data control is an open loop whose controller is fixed.
#
# ## Exercises
#
# Try each on paper first. Every solution ends in a check that runs.
#
# **1. Together apart.** For $x' = \theta$, $\theta' = -x$ with $\theta(0) = 0$, when do the paths of two samples
# meet? How far apart are their pairs $(x, \theta)$ at that time?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# $x(t) = x(0)\cos t$, so all paths meet at $t = \pi/2$. The pair turns around the origin: its distance to another
# pair is $\lvert x(0) - \tilde x(0)\rvert$ at all times. Paths may cross in $x$. They never meet in $z$.
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
