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
# # Proposition 1
#
# You will see two controlled flows that take two points to one, each written in a single line. A neural ODE cannot do
# that. So neither the open loop, which sets a control once, nor the closed loop, which moves it along the path, is
# limited to *homeomorphisms*, continuous maps with a continuous inverse (Proposition 1 and Appendix A.1 of
# {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
import math

import sympy as sp
import torch
from torch import nn

from ncode import NCODE, DataControl, Field, Solver
from ncode.fields.elementary import Velocity
from ncode.reproduction.claims import evidence
from ncode.reproduction.experiments.proposition_1 import analysis, figures
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("01_proposition_1", profile, runs)

# %% [markdown]
# ## The claim
#
# The flow $\Phi(\cdot, t)$ of a neural ODE maps $x(0)$ to $x(t)$. It is a homeomorphism: it is continuous, and it has
# a continuous inverse, the flow run backward. Two points never end in one. **N1** and **N2** say that control lifts
# this limit.
#
# :::{prf:proposition} Neither loop is limited to homeomorphisms
# :label: prop-collapse
#
# 1. *Open loop.* Let
#
#    $$x' = -\theta, \qquad \theta' = 0, \qquad \theta(0) = x(0) .$$ (eq-collapse-open)
#
#    Then $\Phi(x, t) = (1 - t)\,x$, so $\Phi(0, 1) = \Phi(1, 1) = 0$.
# 2. *Closed loop.* Let
#
#    $$x' = \theta, \qquad \theta' = -x, \qquad \theta(0) = 0 .$$ (eq-collapse-closed)
#
#    Then $\Phi(x, t) = x \cos t$, so $\Phi(x, \pi/2) = 0$ for every $x$, and $\Phi(\cdot, \pi)$ is the reflection
#    $x \mapsto -x$.
# :::
#
# :::{prf:proof}
# In the open loop {eq}`eq-collapse-open` the velocity is constant along a path: $x(t) = x(0) - t\,\theta = x(0) -
# t\,x(0)$. In the closed loop {eq}`eq-collapse-closed`, $x'' = \theta' = -x$. That is a harmonic oscillator which
# starts at $x(0)$ with velocity $x'(0) = \theta(0) = 0$. Its solution is $x(t) = x(0) \cos t$, with $\theta(t) =
# -x(0) \sin t$. Both right-hand sides are linear, hence Lipschitz, so there are no other solutions. A map that sends
# two points to one has no inverse.
# :::
#
# Computer algebra finds the same from the equations alone:

# %%
t, x0 = sp.Symbol("t"), sp.Symbol("x_0", real=True)
x, theta = sp.Function("x"), sp.Function("theta")

open_path = sp.dsolve(x(t).diff(t) + x0, x(t), ics={x(0): x0}).rhs
closed = sp.dsolve(
    [x(t).diff(t) - theta(t), theta(t).diff(t) + x(t)],
    [x(t), theta(t)],
    ics={x(0): x0, theta(0): 0},
)
closed_path, closed_control = (sp.simplify(solution.rhs) for solution in closed)
sp.Matrix([open_path.factor(), closed_path, closed_control])

# %% [markdown]
# From top to bottom: $x(t)$ in the open loop, then $x(t)$ and $\theta(t)$ in the closed loop. They are what the
# proposition says:

# %%
symbolic = analysis.symbolic(open_path, closed_path)
symbolic

# %% [markdown]
# ## The setting
#
# Now the same two systems as models of the library. A vector field is a module with a shape and a formula. The open
# loop's field has a *slot*: an input that only a controller can fill. Here the controller is `DataControl`,
# $\gamma(x) = x$.


# %%
class Against(Field):
    """x' = -θ."""

    def __init__(self):
        super().__init__(shape=(1,), slots={"theta": (1,)})

    def forward(self, t, x, theta):
        return -theta["theta"]


class Restoring(nn.Module):
    """g(θ, x) = -x."""

    def forward(self, t, x, theta):
        return -x


# %% [markdown]
# The closed loop's field $x' = \theta$ comes with the library. All samples start from the field's own initial value of
# the control, which is zero: $\theta(0) = 0$.

# %%
tight = Solver("dopri8", rtol=1e-13, atol=1e-13)


def open_loop(T):
    return NCODE(Against(), gamma=DataControl(), horizon=T, solver=tight)


def closed_loop(T):
    return NCODE(Velocity(1), g=Restoring(), horizon=T, solver=tight).double()


# %% [markdown]
# ## The run
#
# We solve numerically, in double precision, from a grid of starting points up to the times that the proposition names.

# %%
grid = torch.linspace(-1, 1, 201, dtype=torch.float64).unsqueeze(1)
cases = {
    "open loop, T = 1": (open_loop(1.0), 0 * grid),
    "closed loop, T = π/2": (closed_loop(math.pi / 2), 0 * grid),
    "closed loop, T = π": (closed_loop(math.pi), -grid),
}
errors = {
    name: analysis.error(model, grid, end) for name, (model, end) in cases.items()
}

# %% [markdown]
# The library's `solver_error` measures every sample's distance to a tight numerical reference, for problems whose exact
# solution nobody knows. Here we know it. So the last two columns of {numref}`tab-collapse` compare the two, for the
# default solver: dopri5 at tolerance $10^{-3}$.

# %%
rows = []
for (name, (model, end)), exact in zip(
    cases.items(), ("$0$", "$0$", "$-x(0)$"), strict=True
):
    evaluations, model.solver = model.nfe.forward, Solver()
    default = analysis.error(model, grid, end)
    measured = model.solver_error(grid).max().item()
    assert abs(default - measured) < 1e-9
    found = (errors[name], evaluations, default, measured)
    rows.append([name, exact, *map(numbers.number, found)])

# %% tags=["hide-input"]
page.table(
    "tab-collapse",
    f"Largest distance to the exact end over {len(grid)} starting points, in double precision, with function evaluations "
    "(NFE). Then the same for the default solver: exactly, and as its diagnostic measures it.",
    [
        "flow",
        "exact end",
        "error",
        "NFE",
        "error, default solver",
        "its `solver_error`",
    ],
    rows,
)

# %% [markdown]
# The whole path agrees, not only its end:

# %%
times = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)
models = {"open": open_loop(1.0), "closed": closed_loop(1.0)}
along = {
    loop: analysis.error_along(loop, model, grid, times)
    for loop, model in models.items()
}
{loop: numbers.number(error) for loop, error in along.items()}

# %% [markdown]
# ## What came out
#
# In {numref}`fig-collapse`, the open loop's map is a line that turns about the origin. It is flat at $t = 1$, and only
# there. The closed loop's map is flat at $t = \pi/2$, and it is the reflection at $t = \pi$.

# %% tags=["hide-input"]
page.figure(
    figures.collapse(models, grid),
    name="fig-collapse",
    caption="Paths (left) and the maps x(0) ↦ Φ(x(0), t) at some times (right), computed numerically. Top, the open loop: "
    "everything meets in zero at t = 1. Bottom, the closed loop: everything meets in zero at t = π/2 and has changed sides at "
    "t = π. The map of a homeomorphism is never flat.",
    alt="Four panels. Top left, straight paths that meet at zero at time one and part again. Top right, the map at five "
    "times: a line whose slope falls from one through zero to minus one. Bottom, the same for the closed loop with "
    "cosine-shaped paths, flat at half pi, and the reflection at pi.",
)

# %% [markdown]
# Where did the information go? Into the control. The pair $(x, \theta)$ follows an ordinary flow: a shear in the open
# loop, a rotation in the closed one. Both are invertible and keep area, as the determinants say. Only the projection
# on $x$ collapses, and that is what the model returns ({numref}`fig-collapse-lifted`).

# %%
assert analysis.determinant([[0, -1], [0, 0]]) == 1  # the open loop
assert analysis.determinant([[0, 1], [-1, 0]]) == 1  # the closed loop

# %% tags=["hide-input"]
page.figure(
    figures.lifted(closed_loop(1.0)),
    name="fig-collapse-lifted",
    caption="The closed loop's flow of the pair (x, θ). Dots: the line of starting points, coloured by x(0), turned about "
    "the origin. Ticks below: their projections on x, which is what the model returns. The pair never collapses; its "
    "projection does at t = π/2.",
    alt="Four panels of the plane of state and control. A line of coloured dots turns clockwise from horizontal to "
    "vertical to horizontal again; its shadow on the horizontal axis shrinks to a point and opens reversed.",
)

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# Both halves are theorems. The verdicts rest on the symbolic solution and on its numerical check, and on nothing
# random.

# %%
checks = {
    "symbolic: Φ(0, 1) = Φ(1, 1) = 0": symbolic["Φ(0, 1) = Φ(1, 1) = 0"],
    "numerical: every x(0) of the grid ends within 10⁻¹² of 0 at t = 1": (
        errors["open loop, T = 1"] < 1e-12
    ),
    "numerical: within 10⁻¹² of (1 - t) x(0) along the whole path": (
        along["open"] < 1e-12
    ),
}
page.verdict(
    "N1",
    [
        evidence.exact("a", "one dimension", "paper", all(checks.values())),
    ],
    checks,
)

# %%
checks = {
    "symbolic: Φ(x, π/2) = 0 for every x": (
        symbolic["Φ(x, π/2) = 0 for every x"]
    ),
    "numerical: every x(0) of the grid ends within 10⁻¹² of 0 at t = π/2": (
        errors["closed loop, T = π/2"] < 1e-12
    ),
    "numerical: at t = π it is within 10⁻¹² of the reflection": (
        errors["closed loop, T = π"] < 1e-12
    ),
}
page.verdict(
    "N2",
    [
        evidence.exact("a", "one dimension", "paper", all(checks.values())),
    ],
    checks,
)

# %% [markdown]
# ## Deviations
#
# None of these changes the conclusion.
#
# - The paper needs only $\Phi(0, 1) = \Phi(1, 1)$. In fact *all* points end in 0 at $t = 1$. At every other time the
#   open loop's $\Phi(\cdot, t)$ is a homeomorphism: the collapse lasts one instant.
# - The halves have different horizons, $1$ and $\pi/2$. With $x' = \omega\theta$, $\theta' = -\omega x$ and
#   $\omega = \pi/2$ the closed loop collapses at $t = 1$ as well.
# - The map of $x$ alone is no homeomorphism. The flow of $(x, \theta)$ is one, and $\theta(T)$ tells which $x(0)$ it
#   came from. A readout (the layer after the flow) that sees only $x(T)$ cannot tell the points apart.
# - The first half needs no learned controller. Its $\gamma$ is the identity, which is data control
#   ({doc}`03_open_and_closed_loop`).
#
# ## What to remember
#
# - A controlled flow can take many points to one. An uncontrolled flow never takes two points to one.
# - Nothing is lost: the control remembers what the state forgets.
#
# ## What it took

# %%
page.took()
