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
# # Theorem 1
#
# We want the gradient of a cost that a path collects on its way. It needs only a second solve, backward in time. You
# will learn which terms that gradient has, how much memory it takes, and when you should not trust it.

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
import torch
from IPython.display import Markdown

from ncode import Solver, path_cost
from ncode.reproduction.claims import evidence
from ncode.reproduction.experiments import theorem_1
from ncode.reproduction.experiments.theorem_1 import (
    analysis,
    checks,
    figures,
    tables,
)
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("07_theorem_1", profile, runs)
options = page.options

# %% [markdown]
# ## The claim
#
# The pair $z = (x, \theta)$ follows $z' = h(z, t; \mu)$ with $h = (f, g)$ and $z(0) = (x(0), \gamma(x(0)))$. Here
# $\mu$ stands for every parameter of $f$, $g$, $\gamma$, and of the cost itself.
#
# :::{prf:theorem} The augmented adjoint
# :label: thm-adjoint
#
# Let $h$, $\ell$ and $\varphi$ be continuously differentiable and
# $l = \int_0^T \ell(z, t; \mu)\,dt + \varphi(z(T))$. With the row vector $a$ that solves, backward from $T$,
#
# $$a' = -a\,\frac{\partial h}{\partial z} - \frac{\partial \ell}{\partial z}, \qquad
#   a(T) = \frac{\partial \varphi}{\partial z}(z(T)),$$ (eq-adjoint)
#
# the gradient is
#
# $$\frac{dl}{d\mu} = \int_0^T a\,\frac{\partial h}{\partial \mu}\,dt
#   + \underbrace{\int_0^T \frac{\partial \ell}{\partial \mu}\,dt}_{\text{direct}}
#   + \underbrace{a(0)\,\frac{\partial z(0)}{\partial \mu}}_{\text{boundary}} .$$ (eq-gradient)
# :::
#
# The paper {cite:p}`chalvidal2021` states the theorem without a terminal cost ($a(T) = 0$, Eq. 6). Its proof drops the
# boundary term. That term is all that $\gamma$ ever receives, and Remark 1 brings it back. The paper has no direct
# term, because its $\ell$ has no parameters.
#
# *Derivation.* For any row vector $a(t)$, since $h - z' = 0$,
#
# $$l = \varphi(z(T)) + \int_0^T \big(\ell + a\,(h - z')\big)\,dt .$$ (eq-lagrangian)
#
# Vary $\mu$ and integrate $-\int a\,\delta z'\,dt = -\big[a\,\delta z\big]_0^T + \int a'\,\delta z\,dt$ by parts:
#
# $$\delta l = \Big(\frac{\partial\varphi}{\partial z} - a(T)\Big)\delta z(T) + a(0)\,\delta z(0)
#   + \int_0^T \Big(\frac{\partial\ell}{\partial z} + a\,\frac{\partial h}{\partial z} + a'\Big)\delta z\,dt
#   + \int_0^T \Big(\frac{\partial\ell}{\partial\mu} + a\,\frac{\partial h}{\partial\mu}\Big)\delta\mu\,dt .$$ (eq-variation)
#
# We choose $a$ as in {eq}`eq-adjoint`. Then both unknown variations in {eq}`eq-variation`, $\delta z(T)$ and
# $\delta z(t)$, drop out, and {eq}`eq-gradient` remains. $\blacksquare$
#
# To differentiate $z$ by $\mu$ we need that there is one solution $z$ and that it depends smoothly on $\mu$. Both hold
# as long as the solution exists, because $h$ is continuously differentiable and hence locally Lipschitz (Picard and
# Lindelöf). This is the well-posedness that the paper claims for the coupled system.

# %% [markdown]
# ## The setting
#
# We take random systems in float64: $f$ is a perceptron whose last layer is steered, $\gamma$ and $g$ are perceptrons,
# and the running cost has parameters $w$:
#
# $$\ell = w_1 \lVert x\rVert^2 \cos t + w_2 \lVert\theta\rVert^2 / m + \lVert f\rVert^2, \qquad
#   \varphi = \textstyle\sum_i \sin x_i .$$ (eq-adjoint-cost)
#
# The reference is a gradient by an unrelated method: backpropagation through dopri8 at tolerance $10^{-13}$. We compare
# it with three ways that use dopri5. The *direct* way backpropagates through the solver's steps. The *plain* adjoint
# solves $z$ backward from $T$ in one go. The library's adjoint restarts from *checkpoints*.

# %%
setting = theorem_1.Setting.build(seed=0)
horizon = options["horizon"]
setting.model.horizon, setting.model.solver = horizon, Solver()
with torch.no_grad():
    worst = setting.model.solver_error(setting.x0).max().item()
Markdown(
    f"At the default tolerance, {numbers.setting(Solver().rtol)}, the worst sample's end $x(T)$ is wrong by "
    f"{numbers.number(worst)}."
)

# %% [markdown]
# A user needs one call. It serves every model and either kind of gradient.

# %%
setting.model.solver = Solver(gradients="adjoint")
out = path_cost(
    setting.model,
    setting.x0,
    running=setting.cost,
    terminal=lambda x, theta: x.sin().sum(1),
)
out.cost.sum().backward()
out.cost

# %% [markdown]
# ## The run
#
# One run for each random system compares the gradients. One more run makes the checks below: signs, memory, contraction,
# and a regularised flow.

# %%
tolerances = options["tolerances"]
records = [
    theorem_1.experiment.run(theorem_1.Config(seed, tolerances, horizon))
    for seed in options["seeds"]
]
checked = checks.experiment.run(
    checks.Config(
        horizon,
        options["horizons"],
        options["checkpoints"],
        tolerance=options["contractive_tolerance"],
        weights=options["weights"],
        iterations=options["iterations"],
    )
)

# %% [markdown]
# ## What came out
#
# ### The gradient is right

# %% tags=["hide-input"]
page.figure(
    figures.errors(records, tolerances),
    name="fig-adjoint-error",
    caption="Relative error of the whole gradient against the solver's tolerance: medians over random systems, with the "
    "smallest and largest. All three ways follow the tolerance.",
    alt="Three nearly coinciding lines fall with the tolerance, along the diagonal.",
)

# %% tags=["hide-input"]
page.table(
    "tab-adjoint-groups",
    "Relative error of the checkpointed adjoint by what the gradient is taken of, median over the random systems.",
    ["gradient of", *(f"tolerance {numbers.setting(tol)}" for tol in tolerances)],
    tables.groups(records, tolerances),
)

# %%
tight = tolerances.index(1e-12)
assert analysis.errors(records, "plain@{}", tolerances)[:, tight].max() < 1e-9

# %% [markdown]
# ### Either sign flipped is wrong
#
# A test that cannot fail shows nothing. So we write {eq}`eq-adjoint` out by hand, flip each of its two signs, and compare
# with the library's gradient.

# %%
flips = analysis.flips(checked)
page.table(
    "tab-adjoint-signs",
    "The adjoint equation with each sign flipped: relative error of the gradient with respect to g.",
    ["right-hand side", "relative error"],
    [[name, numbers.number(error)] for name, error in flips.items()],
)

# %% [markdown]
# ### Memory does not grow with the path
#
# We count the bytes of the tensors that autograd keeps for the backward pass.

# %%
kept = analysis.memory(checked)
assert kept.grows()
Markdown(
    "; ".join(
        f"{way} gradients keep {numbers.number(min(kept.kept(way)))} to "
        f"{numbers.number(max(kept.kept(way)))} bytes"
        for way in ("direct", "adjoint")
    )
    + "."
)

# %% tags=["hide-input"]
page.figure(
    figures.memory(options["horizons"], kept),
    name="fig-adjoint-memory",
    caption="Bytes kept for the backward pass, against the horizon (left) and, at a fixed horizon, against the evaluations "
    "that a tighter tolerance takes (right). Backpropagation keeps every evaluation's graph. The adjoint keeps at most "
    f"{Solver().checkpoints} states.",
    alt="Two panels: the direct line rises steadily, the adjoint's stays flat, far lower.",
)

# %% [markdown]
# ### Contractive dynamics break the plain adjoint
#
# {prf:ref}`thm-adjoint` supposes that $z(t)$ is known. The plain adjoint finds it by solving $z' = h$ backward from
# $z(T)$. If the flow contracts as $e^{-\lambda t}$, every error of $z(T)$, the solver's or rounding's, grows by about
# $e^{\lambda T}$ on the way back. A gradient quadratic in $x$ squares that. Take
#
# $$x' = Wx + \tanh x - \lambda x, \qquad \ell = \lVert x\rVert^2, \qquad T = 5 .$$ (eq-contractive)

# %%
counts, tolerance = options["checkpoints"], options["contractive_tolerance"]
plain, default = (
    analysis.contraction(checked, refined) for refined in (False, True)
)

# %% tags=["hide-input"]
page.figure(
    figures.contraction(counts, plain, default),
    name="fig-adjoint-contractive",
    caption=f"Contractive dynamics at tolerance {numbers.setting(tolerance)}. Left: the relative error of the gradient if "
    "every stretch is taken as it comes, by the number of checkpoints. A cross marks the gradients that came with a "
    "warning. Right: the same with the library's default, which adds checkpoints where the state found backward misses "
    "one.",
    alt="Left panel: errors are enormous without checkpoints and fall as checkpoints are added. Right panel: all errors "
    "are small.",
)

# %% tags=["hide-input"]
page.table(
    "tab-adjoint-contractive",
    "Contractive dynamics: error and price. Without checkpoints the default finds by itself where it needs them, and "
    "pays for the search in evaluations (NFE).",
    ["λ", "adjoint", "relative error", "NFE forward", "NFE backward"],
    tables.contraction(plain, default),
)

# %%
assert plain[10.0, 0].error > 1e14
assert all(found.warned for found in plain.values() if found.error > 1e-2)
assert max(found.error for found in default.values()) < 1e-3
assert max(default[rate, 16].error for rate in checks.RATES) < 1e-5

# %% [markdown]
# Every gradient that is wrong by more than one per cent comes with a warning. The default's gradients are right with any
# number of checkpoints. Methods with fixed steps cannot refine, so they only warn.
#
# ### A regularised flow
#
# A running cost is a loss like any other. Kinetic energy and the Jacobian's size {cite:p}`finlay2020` keep an open
# loop's paths simple while it learns $x \mapsto -x$. All gradients are by the adjoint, and the two terms have the same
# weight.

# %% tags=["hide-input"]
page.table(
    "tab-adjoint-regularised",
    "Reflection with a regularised open loop. Exact reflection costs at least a mean kinetic energy of "
    f"{numbers.number(analysis.least_energy(), 3)}; less means that the reflection is missed. One seed.",
    ["weight of the running cost", "mean squared error", "kinetic energy", "NFE"],
    [
        [
            numbers.setting(w),
            numbers.number(mse),
            numbers.number(energy, 3),
            numbers.number(nfe),
        ]
        for w, (mse, energy, nfe) in analysis.regularised(checked).items()
    ],
)

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper proves the theorem and gives no numbers. We take its formula, add the two terms that the proof leaves out, and
# compare with gradients that do not use it.

# %%
held = analysis.holds(records, tolerances, flips, kept)
page.verdict(
    "N4",
    [
        evidence.exact(
            "a", "random systems, float64", "paper", next(iter(held.values()))
        ),
    ],
    held,
    runs=[*records, checked],
    note=(
        "With the boundary and the direct term that the proof leaves out. The usual computation solves z backward in "
        "one go and fails on contractive dynamics; checkpoints cure that."
    ),
)

# %%
reached = analysis.reaches_gamma(records, tolerances)
page.verdict(
    "N5",
    [
        evidence.exact(
            "a", "random systems, float64", "paper", all(reached.values())
        ),
    ],
    reached,
    runs=records,
)

# %% [markdown]
# ## Deviations
#
# - *Two terms added.* We add the direct term for a cost with parameters, and the boundary term for $\gamma$, $x(0)$ and
#   $\theta(0)$. We also allow a cost at the end, and costs at single times, where $a$ jumps.
# - *Checkpoints.* The paper's algorithm solves $z$ backward from $T$. Ours restarts from at most `Solver.checkpoints`
#   states, spread evenly over the forward solve's steps. On the way back it compares the states that it finds with the
#   stored ones.
# - *Quadratures.* Nothing depends on $\int a\,\partial h/\partial\mu\,dt$ but the gradient. So the solver does not carry
#   it, and the error control does not watch it. We add it up from the stages of the accepted steps.
#
# ## What to remember
#
# - One call gives the gradient of any cost along the path, for $f$, $g$, $\gamma$ and the cost's own parameters.
# - The adjoint's memory does not grow with the path.
# - If the flow contracts, a plain adjoint can be arbitrarily wrong. Checkpoints cure this. Where they don't, a warning
#   says so.
#
# ## Exercises
#
# Try each on paper first. Every solution ends in a check that runs.
#
# **1. The adjoint by hand.** Let $x' = \mu x$, $x(0) = 1$ and $l = \int_0^T x^2\,dt$. Solve {eq}`eq-adjoint` for $a$,
# and find $dl/d\mu$ from {eq}`eq-gradient`. Differentiate $l$ itself to check it.
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# $a' = -\mu a - 2x$ with $a(T) = 0$ gives $a(t) = (e^{2\mu T - \mu t} - e^{\mu t})/\mu$. There is no direct term and
# no boundary term, so $dl/d\mu = \int_0^T a\,x\,dt$.
#
# ```python
# import sympy as sp
#
# t, T, mu = sp.symbols("t T mu", positive=True)
# x = sp.exp(mu * t)
# a = (sp.exp(2 * mu * T - mu * t) - sp.exp(mu * t)) / mu
# assert sp.simplify(sp.diff(a, t) + mu * a + 2 * x) == 0
# assert sp.simplify(a.subs(t, T)) == 0
# loss = sp.integrate(x**2, (t, 0, T))
# ours = sp.integrate(sp.expand(a * x), (t, 0, T))
# assert sp.simplify(ours - sp.diff(loss, mu)) == 0
# ```
# :::
#
# **2. What γ receives.** In the open loop $x' = -\theta$ with $\theta = \gamma(x(0))$, take $l = x(T)^2/2$. Which
# term of {eq}`eq-gradient` holds the gradient for $\gamma$, and what is it?
#
# :::{admonition} Solution
# :class: dropdown ncode-solution
#
# The boundary term alone. For $z = (x, \theta)$ the adjoint of $x$ is constant, $x(T)$, and that of $\theta$ obeys
# $a_\theta' = a_x$ with $a_\theta(T) = 0$. So $a_\theta(0) = -T\,x(T)$, and $dl/d\mu =
# -T\,x(T)\,\partial\gamma/\partial\mu$. Without the boundary term $\gamma$ would never learn.
#
# ```python
# import torch
#
# x0, T = 1.0, 2.0
# theta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
# end = x0 - T * theta
# (end**2 / 2).backward()
# assert torch.isclose(theta.grad, -T * end.detach())
# ```
# :::
#
# ## What it took

# %%
page.took([*records, checked])
