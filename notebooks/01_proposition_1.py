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
# Two flows that can be written down in full show that neither the open nor the closed loop is limited to
# homeomorphisms, as a neural ODE is (Proposition 1 and Appendix A.1 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU

# %% tags=["hide-input"]
import math

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn

from ncode import NCODE, DataControl, Field, Solver
from ncode.fields.elementary import Velocity
from ncode.reproduction.claims import evidence
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing.display import Page

page = Page("01_proposition_1", profile)
style.use_style()

# %% [markdown]
# ## The claim
#
# The flow $\Phi(\cdot, t)$ of a neural ODE maps $x(0)$ to $x(t)$. It is a homeomorphism: continuous, with a continuous
# inverse, namely the flow run backward. Two points never end in one. **N1** and **N2** say that control lifts this.
#
# :::{prf:proposition} Neither loop is limited to homeomorphisms
# :label: prop-collapse
#
# 1. *Open loop.* Let $x' = -\theta$ with $\theta(0) = x(0)$ and $\theta' = 0$. Then $\Phi(x, t) = (1 - t)\,x$, so
#    $\Phi(0, 1) = \Phi(1, 1) = 0$.
# 2. *Closed loop.* Let $x' = \theta$ and $\theta' = -x$ with $\theta(0) = 0$. Then $\Phi(x, t) = x \cos t$, so
#    $\Phi(x, \pi/2) = 0$ for every $x$, and $\Phi(\cdot, \pi)$ is the reflection $x \mapsto -x$.
# :::
#
# :::{prf:proof}
# In the open loop the velocity is constant along a path: $x(t) = x(0) - t\,\theta = x(0) - t\,x(0)$. In the closed
# loop $x'' = \theta' = -x$: a harmonic oscillator that starts at $x(0)$ with velocity $x'(0) = \theta(0) = 0$, whose
# solution is $x(t) = x(0) \cos t$ (and $\theta(t) = -x(0) \sin t$). Both right-hand sides are linear, hence Lipschitz,
# so these are the only solutions. A map that sends two points to one has no inverse.
# :::
#
# The same by computer algebra, from the equations alone:

# %%
t = sp.Symbol("t")
x0 = sp.Symbol("x_0", real=True)
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
# From top to bottom: $x(t)$ in the open loop, $x(t)$ and $\theta(t)$ in the closed one.

# %%
symbolic = {
    "open loop: Φ(x, t) = (1 - t) x": sp.simplify(open_path - (1 - t) * x0) == 0,
    "open loop: Φ(0, 1) = Φ(1, 1) = 0": open_path.subs({x0: 0, t: 1})
    == open_path.subs({x0: 1, t: 1})
    == 0,
    "closed loop: Φ(x, t) = x cos t": sp.simplify(closed_path - x0 * sp.cos(t))
    == 0,
    "closed loop: Φ(x, π/2) = 0 for every x": sp.simplify(
        closed_path.subs(t, sp.pi / 2)
    )
    == 0,
    "closed loop: Φ(x, π) = -x": sp.simplify(closed_path.subs(t, sp.pi) + x0)
    == 0,
}

# %% [markdown]
# ## The setting
#
# The same two systems as models of the library. A vector field is a module with a shape and a formula. The open
# loop's has a *slot*: an input that only a controller can fill, here `DataControl`, $\gamma(x) = x$.


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
# The closed loop's field $x' = \theta$ comes with the library. Its own initial value, zero, becomes the control that
# all samples start from: $\theta(0) = 0$.

# %%
tight = {"method": "dopri8", "rtol": 1e-13, "atol": 1e-13}


def open_loop(T):
    return NCODE(
        Against(), gamma=DataControl(), horizon=T, solver=Solver(**tight)
    )


def closed_loop(T):
    return NCODE(
        Velocity(1), g=Restoring(), horizon=T, solver=Solver(**tight)
    ).double()


# %% [markdown]
# ## The run
#
# A grid of starting points in double precision, solved numerically up to the times that the proposition names.

# %%
grid = torch.linspace(-1, 1, 201, dtype=torch.float64).unsqueeze(1)
cases = [
    ("open loop, T = 1", open_loop(1.0), 0 * grid),
    ("closed loop, T = π/2", closed_loop(math.pi / 2), 0 * grid),
    ("closed loop, T = π", closed_loop(math.pi), -grid),
]
with torch.no_grad():
    errors = {
        name: (model(grid) - exact).abs().max().item()
        for name, model, exact in cases
    }

# %% [markdown]
# Where no exact solution is known, the library's `solver_error` measures every sample's distance to a tight
# numerical reference. Here both can be had: the last two columns show the default solver, dopri5 at tolerance 1e-3.

# %%
rows = []
for (name, model, exact), end in zip(
    cases, ("$0$", "$0$", "$-x(0)$"), strict=True
):
    evaluations = model.nfe.forward
    model.solver = Solver()
    with torch.no_grad():
        default = (model(grid) - exact).abs().max().item()
    measured = model.solver_error(grid).max().item()
    assert abs(default - measured) < 1e-9
    rows.append(
        [
            name,
            end,
            f"{errors[name]:.1e}",
            str(evaluations),
            f"{default:.1e}",
            f"{measured:.1e}",
        ]
    )
# %% tags=["hide-input"]
page.table(
    "tab-collapse",
    f"Largest distance to the exact end over {len(grid)} starting points in [-1, 1], in double precision, with "
    "function evaluations (NFE); and the same for the default solver, exactly and as its diagnostic measures it.",
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
# The whole path agrees too, not only its end.

# %%
times = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)
with torch.no_grad():
    paths = {
        "open": open_loop(1.0).trajectory(grid, times),
        "closed": closed_loop(1.0).trajectory(grid, times),
    }
column = times.reshape(-1, 1, 1)
exact = {"open": grid * (1 - column), "closed": grid * column.cos()}
along = {loop: (paths[loop].x - exact[loop]).abs().max().item() for loop in paths}
assert (paths["closed"].theta + grid * column.sin()).abs().max() < 1e-12

# %% [markdown]
# ## What came out
#
# In {numref}`fig-collapse`, the open loop's map is a line that turns about the origin: flat at $t = 1$, and only
# there. The closed loop's is flat at $t = \pi/2$, and the reflection at $t = \pi$.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-collapse", "caption": "Paths (left) and the maps x(0) ↦ Φ(x(0), t) at some times (right), computed numerically. Top: open loop, everything meets in 0 at t = 1. Bottom: closed loop, everything meets in 0 at t = π/2 and has changed sides at t = π. A homeomorphism's map is never flat."}, "image": {"alt": "Four panels. Top left, straight paths that meet at zero at time one and part again. Top right, the map at five times: a line whose slope falls from one through zero to minus one. Bottom, the same for the closed loop with cosine-shaped paths, flat at half pi, and the reflection at pi."}}
figure, axes = style.panels(2, 2, width=4.2, height=2.5)
colours = plt.get_cmap("coolwarm")(np.linspace(0, 1, 9))
moments = {
    "open": ["0", "0.5", "1", "1.5", "2"],
    "closed": ["0", "π/4", "π/2", "3π/4", "π"],
}
for row, (loop, scale) in enumerate((("open", 0.5), ("closed", math.pi / 4))):
    model = open_loop(1.0) if loop == "open" else closed_loop(1.0)
    with torch.no_grad():
        dense = model.trajectory(
            grid[::25], torch.linspace(0, 4 * scale, 101, dtype=torch.float64)
        )
        maps = model.trajectory(
            grid, scale * torch.arange(5, dtype=torch.float64)
        ).x[..., 0]
    style.paths(axes[row, 0], dense.t, dense.x[..., 0], colours)
    axes[row, 0].axvline(2 * scale, color="grey", linestyle=":", linewidth=1)
    axes[row, 0].set(
        title=f"{loop} loop: paths", xlabel="time t", ylabel="state x(t)"
    )
    for k, (name, shade) in enumerate(
        zip(moments[loop], np.linspace(0, 0.9, 5), strict=True)
    ):
        axes[row, 1].plot(
            grid[:, 0],
            maps[k],
            color=plt.get_cmap("cividis")(shade),
            label=f"t = {name}",
        )
    axes[row, 1].set(
        title=f"{loop} loop: maps",
        xlabel="x(0)",
        ylabel="Φ(x(0), t)",
        ylim=(-1.1, 1.1),
    )
    axes[row, 1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Where did the information go? Into the control. The pair $(x, \theta)$ follows an ordinary flow, here a shear and a
# rotation, which is as invertible as any. Only its projection on $x$, which is what the model returns, collapses.


# %%
def determinant(matrix):
    """Of the flow on (x, θ), whose generator is `matrix`, at any time: one, so it is invertible and keeps area."""
    return sp.simplify((sp.Matrix(matrix) * t).exp().det())


assert determinant([[0, -1], [0, 0]]) == 1  # the open loop, θ' = 0
assert determinant([[0, 1], [-1, 0]]) == 1  # the closed loop

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-collapse-lifted", "caption": "The closed loop's flow of the pair (x, θ). Dots: the line of starting points, coloured by x(0), turned about the origin. Ticks below: their projections on x, which is what the model returns. The pair never collapses; its projection does at t = π/2."}, "image": {"alt": "Four panels of the plane of state and control. A line of coloured dots turns clockwise from horizontal to vertical to horizontal again; its shadow on the horizontal axis shrinks to a point and opens reversed."}}
figure, axes = style.panels(4, width=2.1, height=2.4, sharex=True, sharey=True)
starts = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(1)
moments = torch.tensor(
    [0, math.pi / 4, math.pi / 2, math.pi], dtype=torch.float64
)
with torch.no_grad():
    lifted = closed_loop(1.0).trajectory(starts, moments)
for k, (panel, name) in enumerate(
    zip(axes[0], ("0", "π/4", "π/2", "π"), strict=True)
):
    panel.scatter(
        lifted.x[k, :, 0],
        lifted.theta[k, :, 0],
        c=colours,
        s=28,
        edgecolors="#555555",
        linewidths=0.5,
    )
    panel.scatter(
        lifted.x[k, :, 0],
        np.full(9, -1.35),
        c=colours,
        marker="|",
        s=70,
        linewidths=2,
    )
    panel.set(
        title=f"t = {name}",
        xlabel="state x",
        xlim=(-1.2, 1.2),
        ylim=(-1.55, 1.2),
        aspect="equal",
    )
axes[0, 0].set_ylabel("control θ")
plt.show()

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# Both halves are theorems, so the verdicts rest on the symbolic solution and its numerical check, and on nothing
# random.

# %%
checks = {
    "symbolic: Φ(0, 1) = Φ(1, 1) = 0": symbolic[
        "open loop: Φ(0, 1) = Φ(1, 1) = 0"
    ],
    "numerical: every x(0) of the grid ends within 1e-12 of 0 at t = 1": errors[
        "open loop, T = 1"
    ]
    < 1e-12,
    "numerical: within 1e-12 of (1 - t) x(0) along the whole path": along["open"]
    < 1e-12,
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
    "symbolic: Φ(x, π/2) = 0 for every x": symbolic[
        "closed loop: Φ(x, π/2) = 0 for every x"
    ],
    "numerical: every x(0) of the grid ends within 1e-12 of 0 at t = π/2": errors[
        "closed loop, T = π/2"
    ]
    < 1e-12,
    "numerical: at t = π it is within 1e-12 of the reflection": errors[
        "closed loop, T = π"
    ]
    < 1e-12,
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
# What in the statement needs care; none of it changes the conclusion.
#
# - $\Phi(0, 1) = \Phi(1, 1)$ is the least that is needed. In fact *all* points end in 0 at $t = 1$, and at every
#   other time the open loop's $\Phi(\cdot, t)$ is a homeomorphism: the collapse lasts one instant.
# - The halves have different horizons, $1$ and $\pi/2$. With $x' = \omega\theta$, $\theta' = -\omega x$ and
#   $\omega = \pi/2$ the closed loop collapses at $t = 1$ as well.
# - What ceases to be a homeomorphism is the map of $x$ alone. The flow of $(x, \theta)$ is one, and $x(0)$ can be
#   read off $\theta(T)$. A readout that sees only $x(T)$ cannot tell the points apart.
# - The first half needs no learned controller: its $\gamma$ is the identity, which is data control
#   ({doc}`03_open_and_closed_loop`).
#
# ## What it took

# %%
page.took()
