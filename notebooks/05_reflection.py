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
# # Reflection
#
# You will see a function that no one-dimensional neural ODE can learn, why it cannot, and two ways in which a
# controller learns it all the same. The function is $x \mapsto -x$ on $[-1, 1]$ (Section 4.1 and Fig. 4 of
# {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
from IPython.display import Markdown

from ncode.reproduction.experiments import reflection
from ncode.reproduction.experiments.reflection import (
    analysis,
    figures,
    live,
    tables,
    verdict,
)
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("05_reflection", profile, runs)

# %% [markdown]
# ## The claim
#
# **N8.** A neural ODE cannot learn $x \mapsto -x$. The open loop and the closed loop can, by different means. The open
# loop needs to control only a single parameter of $f$.
#
# The first half is a theorem. Two solutions of $x' = f(x)$ on the line cannot cross. So the flow keeps the order of
# points: $x(T)$ is an increasing function of $x(0)$. Which increasing function $h$ is nearest to $-x$? A constant.
#
# :::{prf:proposition} The floor of a one-dimensional flow
# :label: prop-reflection-floor
# Let $X$ be a random variable with $\mathbb{E}[X] = 0$ and finite variance, and let $h$ be increasing. Then
#
# $$\mathbb{E}[(h(X) + X)^2] \ge \mathbb{E}[X^2],$$ (eq-reflection-floor)
#
# with equality for $h = 0$.
# :::
#
# :::{prf:proof}
# Expand the square: $\mathbb{E}[(h + X)^2] = \mathbb{E}[h^2] + 2\,\mathbb{E}[h X] + \mathbb{E}[X^2]$. The middle term
# is not negative: $h$ is increasing, so $(h(X) - h(0))\,X \ge 0$ everywhere, and $\mathbb{E}[X] = 0$, so
# $\mathbb{E}[h X] = \mathbb{E}[(h(X) - h(0)) X] \ge 0$.
# :::
#
# If $X$ is uniform on $[-1, 1]$, the floor {eq}`eq-reflection-floor` is $1/3$. The theorem does not bind a controlled
# flow. With $\theta = \gamma(x(0))$ every sample follows a field of its own, and the paths may cross.

# %% [markdown]
# ## The setting
#
# All models have the same kind of field: a tanh network with one hidden layer. They share the training points, the
# optimiser, the number of iterations, the solver and its tolerance. One open loop controls a single parameter of its
# field, as the paper's does. It is the bias of the last layer, the only one that is a single number. The two other
# controllers steer *every* parameter of the field.
#
# | model | what sets θ |
# | --- | --- |
# | NODE | nothing: one learned θ for all samples |
# | ANODE | the same, in two dimensions: the state starts at $[x, 0]$ |
# | data control | the field also sees $x(0)$ |
# | N-CODE, open loop, one parameter | $\theta = \gamma(x(0))$ is the field's last bias, constant along the path |
# | N-CODE, open loop | $\theta = \gamma(x(0))$ is every parameter, constant along the path |
# | N-CODE, closed loop | one learned $\theta(0)$ for all samples, then $\theta' = g(\theta, x)$ |

# %%
settings, seeds = page.settings, page.options["seeds"]
settings

# %% [markdown]
# ## The run

# %%
records = reflection.experiment.sweep(reflection.MODELS, seeds, **settings)
every_run = [record for runs in records.values() for record in runs]

# %% [markdown]
# ## What came out
#
# {numref}`fig-reflection-paths` shows the paths of the first seed. NODE's paths are squeezed towards the middle and
# never cross. All others cross.

# %% tags=["hide-input"]
page.figure(
    figures.paths(records),
    name="fig-reflection-paths",
    caption="Fig. 4 anew: paths x(t) from evenly spaced starting points, coloured by x(0), first seed. The grey ticks "
    "mark where a perfect reflection ends. NODE's paths cannot cross, and end near the best constant, zero. The paper "
    "shows three of these six models.",
    alt="Six panels of paths against time. In NODE's, the paths converge to zero. In the five others they cross and "
    "end reflected.",
)

# %% [markdown]
# The two loops do it *by different means*. In the open loop every sample has its own field from the start and keeps it.
# In the closed loop all samples start with the same field. Then $g$ reads the state, and the fields move apart. NODE has
# one field for all samples at all times.

# %% tags=["hide-input"]
page.live(
    "fig-reflection-live",
    "line",
    caption="The reflection, live: the trained models of the first seed run in this page. Choose a model and a sample x(0). The "
    "arrows are the field that this sample is given at every time; the grey paths are other samples'.",
    alt="Paths on the line over time, one of them chosen, with the field that it is given.",
    data=live.data(
        {m: records[m][0].model() for m in ("node", "anode", "open", "closed")}
    ),
    still=figures.paths(records),
)

# %% tags=["hide-input"]
page.figure(
    figures.fields(records),
    name="fig-reflection-fields",
    caption="The fields that seven samples see, coloured by x(0), first seed. NODE has one curve. The open loops have one "
    "curve for every sample, constant in time. If one parameter is controlled, these curves are one curve, moved up or "
    "down. The closed loop has one common curve at t = 0, and seven different ones at half time.",
    alt="Five panels of velocity against state: a single curve for NODE, seven parallel curves for the open loop of one "
    "parameter, seven different curves for the open loop, one common curve for the closed loop at time zero, and seven "
    "different ones at half time.",
)

# %% [markdown]
# {numref}`fig-reflection-training` shows the training of all seeds.

# %% tags=["hide-input"]
page.figure(
    figures.training(records),
    name="fig-reflection-training",
    caption="Training loss, and function evaluations (NFE) of a forward solve, over the iterations: median and range "
    "over seeds. The dotted line is the floor of {prf:ref}`prop-reflection-floor`.",
    alt="Left: training loss on a logarithmic scale. NODE's stays on the dotted line, the others' fall far below it. "
    "Right: number of function evaluations.",
)

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper shows this experiment as a picture and prints no number.

# %% tags=["hide-input"]
page.table(
    "tab-reflection",
    f"Reflection: mean squared error (MSE) on {len(reflection.grid())} evenly spaced points over {seeds} seeds, as mean "
    "± standard deviation, and a 95 % interval of its geometric mean. Then the factor by which NODE's error is larger "
    "(geometric mean, paired by seed, 95 % interval), evaluations (NFE), parameters, and the largest global solver "
    "error of any sample.",
    tables.COLUMNS,
    tables.errors(records),
)

# %% [markdown]
# The floor and the order of points are theorems, so they must hold on every seed, whatever the budget:

# %%
for record in records["node"]:
    assert record.metrics["mse"] >= analysis.floor() - 1e-3
    assert analysis.keeps_order(record)

# %%
others = [style.LABELS[model] for model in analysis.also_reach(records)]
page.verdict(
    "N8",
    verdict.n8(records, page.near("paper")),
    analysis.checks(records),
    runs=every_run,
    note=(
        f"Other models that reach 10⁻³ as well: {', '.join(others) or 'none'}. The "
        "barrier is the order of points on the line, and any way around it will do. The "
        "function itself is linear: no flow is needed for it."
    ),
)

# %% tags=["hide-input"]
worst = max(metric(every_run, "solver_error"))
Markdown(
    f"**How exact is each sample?** The solver's tolerance was {numbers.setting(settings['tolerance'])}. It bounds the "
    "*local* error of one step. The largest *global* error of any sample of any model was "
    f"{numbers.number(worst)}, against a solve at {numbers.setting(1e-10)} in double precision. An MSE below the square "
    "of a model's own solver error, in the last column of the table, says nothing about its flow."
)

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
page.readings()

# %% [markdown]
# <details class="ncode-aside"><summary>How else these runs differ, and what we chose</summary>
#
# - We take points $x \sim U[-1, 1]$, $T = 1$, one tanh layer of 16 units, Adam, and one learning rate for all models.
# - We read *by different means* as follows: the open loop separates the samples' fields at once, the closed loop
#   during the flow.
# - The paper does not say which parameter its open loop controls. We took the last bias.
# - The models have equal fields, not equal numbers of parameters. A controller that steers all of a field's
#   parameters has more of its own. The table prints them.
#
# </details>
#
# ## What to remember
#
# - A one-dimensional flow keeps the order of points. No width and no budget changes that.
# - A controller gives every sample a field of its own, so paths can cross.
# - The open loop chooses each field at the start. The closed loop starts with one field and changes it on the way.
#
# ## Exercises
#
# Try each on paper first. Every solution ends in a check that runs.
#
# **1. Another floor.** Replace the target by $x \mapsto -x^3$. What is the least mean squared error of an increasing
# function on $X \sim U[-1, 1]$?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# The target decreases, so the best increasing function is again a constant: its mean, zero. The floor is
# $\mathbb{E}[X^6] = 1/7$. Isotonic regression, which finds the best increasing function, agrees.
#
# ```python
# import numpy as np
# from sklearn.isotonic import IsotonicRegression
#
# x = np.linspace(-1, 1, 2001)
# best = IsotonicRegression().fit_transform(x, -(x**3))
# assert abs(np.mean((best + x**3) ** 2) - 1 / 7) < 0.01
# ```
# :::
#
# **2. A controller by hand.** Find an open loop and a closed loop that reflect exactly at $T = 1$, with no training.
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# Open loop: $x' = \theta$ with $\theta = \gamma(x(0)) = -2x(0)$. Closed loop: $x' = \theta$ and $\theta' = -\pi^2 x$
# from $\theta(0) = 0$, whose path is $x(t) = x(0)\cos \pi t$. In the first every sample has a field of its own from
# the start. In the second all start with the same one.
#
# ```python
# import math
#
# import torch
# from torchdiffeq import odeint
#
# x0 = torch.linspace(-1, 1, 5, dtype=torch.float64)
# times = torch.tensor([0.0, 1.0], dtype=torch.float64)
# start = (x0, torch.zeros_like(x0))
# x, theta = odeint(
#     lambda t, z: (z[1], -(math.pi**2) * z[0]), start, times, rtol=1e-9, atol=1e-9
# )
# assert torch.allclose(x0 + 1.0 * (-2 * x0), -x0)
# assert torch.allclose(x[-1], -x0, atol=1e-7)
# ```
# :::
#
# **3. One more dimension.** ANODE starts at $[x, 0]$. Which linear field of the plane takes it to $[-x, 0]$ at $T =
# 1$?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# A rotation by half a turn: $z' = \pi J z$ with $J = \begin{pmatrix} 0 & -1 \\ 1 & 0 \end{pmatrix}$. The paths go
# around each other in the plane. On the line there is no room for that.
#
# ```python
# import math
#
# import torch
#
# J = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
# turn = torch.linalg.matrix_exp(math.pi * J)
# assert torch.allclose(turn, -torch.eye(2, dtype=torch.float64))
# ```
# :::
#
# ## What it took

# %%
page.took(every_run)
