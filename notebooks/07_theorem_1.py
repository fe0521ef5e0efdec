# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
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
# When the gradient of a cost along the path can be had by a second solve, backward in time; which terms it has; and
# when such a gradient is not to be trusted.

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU

# %% tags=["hide-input"]
import numpy as np
import torch
from IPython.display import Markdown

from ncode import MLP, NCODE, OpenLoop, Solver, path_cost
from ncode.costs import jacobian, kinetic
from ncode.reproduction.claims import evidence
from ncode.reproduction.experiments.theorem_1 import experiment as theorem_1
from ncode.reproduction.experiments.theorem_1.price import distance
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs.store import run

page = Page("07_theorem_1", profile)
style.use_style()
settings = page.settings
ORANGE, BLUE, GREEN = "#D55E00", "#0072B2", "#009E73"

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
# The paper {cite:p}`chalvidal2021` states it without a terminal cost ($a(T) = 0$, Eq. 6). Its proof drops the
# boundary term, which is all that $\gamma$ ever receives and which Remark 1 brings back, and it has no direct term:
# its $\ell$ has no parameters.
#
# *Derivation.* For any row vector $a(t)$, since $h - z' = 0$,
#
# $$l = \varphi(z(T)) + \int_0^T \big(\ell + a\,(h - z')\big)\,dt .$$
#
# Vary $\mu$ and integrate $-\int a\,\delta z'\,dt = -\big[a\,\delta z\big]_0^T + \int a'\,\delta z\,dt$ by parts:
#
# $$\delta l = \Big(\frac{\partial\varphi}{\partial z} - a(T)\Big)\delta z(T) + a(0)\,\delta z(0)
#   + \int_0^T \Big(\frac{\partial\ell}{\partial z} + a\,\frac{\partial h}{\partial z} + a'\Big)\delta z\,dt
#   + \int_0^T \Big(\frac{\partial\ell}{\partial\mu} + a\,\frac{\partial h}{\partial\mu}\Big)\delta\mu\,dt .$$
#
# {eq}`eq-adjoint` is the choice of $a$ that makes both unknown variations, $\delta z(T)$ and $\delta z(t)$, vanish;
# what remains is {eq}`eq-gradient`. $\blacksquare$
#
# Differentiating $z$ by $\mu$ at all supposes that there is one solution $z$ and that it depends smoothly on $\mu$.
# Both follow from $h$ being continuously differentiable, and hence locally Lipschitz, as long as the solution exists
# (Picard and Lindelöf): the well-posedness that the paper claims for the coupled system.

# %% [markdown]
# ## The setting
#
# Random systems: $f$ a perceptron whose last layer is steered, $\gamma$ and $g$ perceptrons, and a running cost with
# parameters $w$, in float64:
#
# $$\ell = w_1 \lVert x\rVert^2 \cos t + w_2 \lVert\theta\rVert^2 / m + \lVert f\rVert^2, \qquad
#   \varphi = \textstyle\sum_i \sin x_i .$$
#
# The reference is a gradient of another kind by another method: backpropagation through dopri8 at tolerance
# $10^{-13}$. Three ways by dopri5 are compared with it: *direct* backpropagation through the solver's steps, the
# *plain* adjoint that solves $z$ backward from $T$ in one go, and the library's, which restarts from *checkpoints*.

# %%
setting = theorem_1.Setting.build(seed=0)
horizon = settings["horizon"]
setting.model.horizon, setting.model.solver = horizon, Solver()
with torch.no_grad():
    worst = setting.model.solver_error(setting.x0).max().item()
Markdown(
    f"At tolerance $10^{{-3}}$ the worst sample's end $x(T)$ is wrong by {worst:.1e}."
)

# %% [markdown]
# One call is all that a user needs; the same call serves every model and either kind of gradient.

# %%
setting.model.solver = Solver(gradients="adjoint")
out = path_cost(
    setting.model,
    setting.x0,
    running=setting.cost,
    terminal=lambda x, theta: x.sin().sum(1),
)
out.cost.sum().backward()
Markdown(
    f"The costs of the four samples: {', '.join(f'{c:.3f}' for c in out.cost.tolist())}."
)

# %% [markdown]
# ## The run

# %%
records = [
    run(theorem_1.run, theorem_1.Config(seed, settings["tolerances"], horizon))
    for seed in settings["seeds"]
]
tolerances = settings["tolerances"]


def errors(pattern):
    """One row a seed, one column a tolerance."""
    return np.array(
        [
            [record.metrics[pattern.format(f"{tol:g}")] for tol in tolerances]
            for record in records
        ]
    )


# %% [markdown]
# ## What came out
#
# ### The gradient is right

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-adjoint-error", "caption": "Relative error of the whole gradient against the solver's tolerance: medians over random systems, with the smallest and largest. All three ways follow the tolerance down to twelve digits."}, "image": {"alt": "Three nearly coinciding lines fall from about one per cent at tolerance 1e-3 to about 1e-12 at tolerance 1e-12, along the diagonal."}}
figure, axes = style.panels(1, width=4.6, height=3.2)
axis = axes[0, 0]
styles = {
    "direct": (ORANGE, "-"),
    "plain": (BLUE, (0, (5, 1.5))),
    "checkpointed": (GREEN, "-"),
}
for way, (colour, dashes) in styles.items():
    found = errors(way + "@{}")
    axis.fill_between(
        tolerances,
        found.min(0),
        found.max(0),
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    label = way if way == "direct" else f"{way} adjoint"
    axis.loglog(
        tolerances,
        np.median(found, 0),
        color=colour,
        linestyle=dashes,
        marker="o",
        markersize=3,
        label=label,
    )
axis.loglog(
    tolerances,
    tolerances,
    color="#777777",
    linewidth=0.8,
    linestyle=":",
    label="error = tolerance",
)
axis.set(
    xlabel="tolerance (relative and absolute)",
    ylabel="relative error of the gradient",
)
_ = axis.legend()
# %%
groups = {
    "f": "f",
    "g": "g",
    "γ": "γ, by the boundary term",
    "ℓ": "w of ℓ, by the direct term",
    "x(0)": "x(0)",
}
rows = [
    [label, *(f"{e:.0e}" for e in np.median(errors(name + ":{}"), 0))]
    for name, label in groups.items()
]
page.table(
    "tab-adjoint-groups",
    "Relative error of the checkpointed adjoint by what the gradient is taken of, median over the random systems.",
    ["gradient of", *(f"tolerance {tol:g}" for tol in tolerances)],
    rows,
)

# %%
tight = tolerances.index(1e-12)
assert errors("plain@{}")[:, tight].max() < 1e-9

# %% [markdown]
# ### Either sign flipped is wrong
#
# A test that cannot fail shows nothing. So {eq}`eq-adjoint` is written out and solved with each of its two signs
# turned round, and compared with the library's gradient.

# %%
exact = setting.gradient(horizon, Solver(rtol=1e-12, atol=1e-12, max_nfe=10**6))[
    "g"
]
signs = {"as in the theorem": (1, 1), "+a ∂h/∂z": (-1, 1), "+∂ℓ/∂z": (1, -1)}
flips = {
    name: distance(theorem_1.written_out(setting, horizon, state, running), exact)
    for name, (state, running) in signs.items()
}
page.table(
    "tab-adjoint-signs",
    "The adjoint equation with each sign flipped: relative error of the gradient with respect to g.",
    ["right-hand side", "relative error"],
    [[name, f"{error:.1e}"] for name, error in flips.items()],
)

# %% [markdown]
# ### Memory does not grow with the path
#
# Counted, not sampled: the bytes of the tensors that autograd keeps for the backward pass.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-adjoint-memory", "caption": "Bytes kept for the backward pass, against the horizon (left) and, at a fixed horizon, against the evaluations that a tighter tolerance takes (right). Backpropagation keeps every evaluation's graph; the adjoint keeps at most sixteen states."}, "image": {"alt": "Two panels: the direct line rises steadily, the adjoint's stays flat, about two orders of magnitude lower."}}
figure, axes = style.panels(2, width=3.0, height=2.6, sharey=True)
horizons = settings["horizons"]
memory = {
    way: [theorem_1.saved_bytes(way, T) for T in horizons]
    for way in ("direct", "adjoint")
}
steps = {
    way: [
        theorem_1.saved_bytes(way, 10.0, tol) for tol in (1e-3, 1e-5, 1e-7, 1e-9)
    ]
    for way in memory
}
for way, colour in (("direct", ORANGE), ("adjoint", GREEN)):
    axes[0, 0].semilogy(
        horizons,
        [kept for kept, _ in memory[way]],
        color=colour,
        marker="o",
        label=way,
    )
    axes[0, 1].semilogy(
        [nfe for _, nfe in steps[way]],
        [kept for kept, _ in steps[way]],
        color=colour,
        marker="o",
    )
axes[0, 0].set(xlabel="horizon T", ylabel="bytes kept")
axes[0, 1].set(xlabel="evaluations forward (T = 10)")
style.legend(figure, axes[0, 0])
# %%
kept = {way: [b for b, _ in memory[way] + steps[way]] for way in memory}
# A state (x, c) of the two samples has 48 bytes: two ends, at most sixteen checkpoints, and as much as four states
# for W and for the graph of the single evaluation that finds W.
bound = (2 + 16 + 4) * 48
assert kept["direct"][len(horizons) - 1] > 5 * kept["direct"][0]
Markdown(
    f"Direct gradients keep {min(kept['direct']):,} to {max(kept['direct']):,} bytes, the adjoint "
    f"{min(kept['adjoint']):,} to {max(kept['adjoint']):,}."
)

# %% [markdown]
# ### Contractive dynamics break the plain adjoint
#
# {prf:ref}`thm-adjoint` supposes that $z(t)$ is known. The plain adjoint finds it by solving $z' = h$ backward from
# $z(T)$. Where the flow contracts as $e^{-\lambda t}$, that multiplies every error of $z(T)$, the solver's and rounding's,
# by about $e^{\lambda T}$, and a gradient quadratic in $x$ squares it: take
#
# $$x' = Wx + \tanh x - \lambda x, \qquad \ell = \lVert x\rVert^2, \qquad T = 5 .$$

# %%
tol, rates, counts = (
    settings["contractive_tolerance"],
    [1.0, 5.0, 10.0],
    settings["checkpoints"],
)
common = {
    "rtol": tol,
    "atol": tol,
    "gradients": "adjoint",
    "max_nfe": 10**6,
}
broken, cured, warned = {}, {}, {}
for rate in rates:
    exact, _, _ = theorem_1.contractive(
        rate, 5.0, Solver("dopri8", rtol=1e-11, atol=1e-11, max_nfe=10**6)
    )
    for count in counts:
        plain = Solver(checkpoints=count, refine=False, **common)
        found, nfe, warned[rate, count] = theorem_1.contractive(rate, 5.0, plain)
        broken[rate, count] = distance(found, exact), nfe
        found, nfe, _ = theorem_1.contractive(
            rate, 5.0, Solver(checkpoints=count, **common)
        )
        cured[rate, count] = distance(found, exact), nfe

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-adjoint-contractive", "caption": "Contractive dynamics at tolerance 1e-6. Left: the relative error of the gradient where every stretch is taken as it comes, by the number of checkpoints; a cross marks the gradients that came with a warning. Right: the same with the library's default, which adds checkpoints where the state found backward misses one."}, "image": {"alt": "Left panel: errors fall from up to 1e29 without checkpoints to 1e-6 with thirty-two. Right panel: all errors lie below 1e-3."}}
figure, axes = style.panels(2, width=3.2, height=2.9)
for rate, colour in zip(rates, (GREEN, BLUE, ORANGE), strict=True):
    for axis, values in zip(axes[0], (broken, cured), strict=True):
        line = [values[rate, count][0] for count in counts]
        axis.semilogy(
            range(len(counts)),
            line,
            color=colour,
            marker="o",
            markersize=3,
            label=f"λ = {rate:g}",
        )
    flagged = [i for i, count in enumerate(counts) if warned[rate, count]]
    axes[0, 0].plot(
        flagged,
        [broken[rate, counts[i]][0] for i in flagged],
        "x",
        color=colour,
        markersize=9,
    )
for axis, title in zip(axes[0], ("refine=False", "default"), strict=True):
    axis.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    axis.set(
        title=title,
        xlabel="checkpoints",
        xticks=range(len(counts)),
        xticklabels=counts,
    )
axes[0, 0].set_ylabel("relative error of the gradient")
style.legend(figure, axes[0, 0])
# %%
rows = []
for rate in rates:
    for name, values, count in (
        ("plain", broken, 0),
        ("default", cured, 16),
        ("default, none given", cured, 0),
    ):
        error, nfe = values[rate, count]
        rows.append(
            [
                f"{rate:g}",
                name,
                f"{error:.1e}",
                f"{nfe.forward}",
                f"{nfe.backward}",
            ]
        )
page.table(
    "tab-adjoint-contractive",
    "Contractive dynamics: error and price. Without checkpoints the default finds by itself where it needs them, and "
    "pays for the search in evaluations.",
    ["λ", "adjoint", "relative error", "NFE forward", "NFE backward"],
    rows,
)

# %%
assert broken[10.0, 0][0] > 1e14 and all(
    warned[case] for case in broken if broken[case][0] > 1e-2
)
assert max(error for error, _ in cured.values()) < 1e-3
assert max(cured[rate, 16][0] for rate in rates) < 1e-5

# %% [markdown]
# No gradient that is wrong by more than a per cent comes without a warning, and the default's are right whatever the
# number of checkpoints. Fixed-step methods cannot refine; they warn.
#
# ### A regularised flow
#
# A running cost is a loss like any other. Kinetic energy and the Jacobian's size {cite:p}`finlay2020` keep an
# open loop's paths simple while it learns $x \mapsto -x$; all gradients are by the adjoint, and the weights of the
# two terms are the same.


# %%
def train(weight, seed=0):
    torch.manual_seed(seed)
    field = MLP(1, [16])
    model = NCODE(
        field,
        gamma=OpenLoop(1, field.size(), hidden=[16]),
        solver=Solver(gradients="adjoint"),
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    x0 = torch.linspace(-1, 1, 64)[:, None]
    for _ in range(settings["iterations"]):
        penalty = jacobian(torch.randn_like(x0))
        out = path_cost(
            model, x0, running=lambda p, penalty=penalty: kinetic(p) + penalty(p)
        )
        loss = (out.x[-1] + x0).square().mean() + weight * out.cost.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        energy = path_cost(model, x0, running=kinetic).cost.mean().item()
    return (model(x0) + x0).square().mean().item(), energy, model.nfe.forward


# %%
trained = {weight: train(weight) for weight in (0.0, 0.01, 0.1)}
# From x to -x in unit time a straight path at constant speed 2|x| costs the least: the mean of 4x².
least = 4 * torch.linspace(-1, 1, 64).square().mean().item()
page.table(
    "tab-adjoint-regularised",
    f"Reflection with a regularised open loop. Exact reflection costs at least a mean kinetic energy of {least:.2f}; "
    "less means that the reflection is missed. One seed.",
    ["weight of the running cost", "mean squared error", "kinetic energy", "NFE"],
    [
        [f"{w:g}", f"{mse:.1e}", f"{energy:.2f}", f"{nfe}"]
        for w, (mse, energy, nfe) in trained.items()
    ],
)

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper proves the theorem and gives no numbers. Ours hold its formula, with the two terms that the proof leaves
# out, against gradients obtained otherwise.

# %%
checks = {
    "gradient within 1e-9 of the reference at tolerance 1e-12": errors(
        "checkpointed@{}"
    )[:, tight].max()
    < 1e-9,
    "either sign flipped: error above 0.1": min(
        flips["+a ∂h/∂z"], flips["+∂ℓ/∂z"]
    )
    > 0.1,
    "memory bounded as T and the steps grow": max(kept["adjoint"]) <= bound,
}
page.verdict(
    "N4",
    [
        evidence.exact(
            "a",
            "random systems, float64",
            "paper",
            checks["gradient within 1e-9 of the reference at tolerance 1e-12"],
        ),
    ],
    checks,
    runs=records,
    note=(
        "With the boundary and the direct term that the proof leaves out. As it is usually computed, by solving z "
        "backward in one go, it fails on contractive dynamics; checkpoints cure that."
    ),
)

# %%
checks = {
    "gradient of γ within 1e-9 of the reference at tolerance 1e-12": errors(
        "γ:{}"
    )[:, tight].max()
    < 1e-9,
    "∂l/∂θ(0), from a solve without γ, times ∂θ(0)/∂μ is the same": errors(
        "chain:{}"
    )[:, tight].max()
    < 1e-9,
}
page.verdict(
    "N5",
    [
        evidence.exact(
            "a", "random systems, float64", "paper", all(checks.values())
        ),
    ],
    checks,
    runs=records,
)

# %% [markdown]
# ## Deviations
#
# - *Two terms added.* The direct term for a cost with parameters, and the boundary term for $\gamma$, $x(0)$ and
#   $\theta(0)$; a terminal cost and costs at discrete times, which are jumps of $a$, come with them.
# - *Checkpoints.* The paper's algorithm solves $z$ backward from $T$. Here it restarts from at most
#   `Solver.checkpoints` states kept evenly over the forward solve's steps, and what is found back is compared with
#   them.
# - *Quadratures.* $\int a\,\partial h/\partial\mu\,dt$ feeds back into nothing, so the error control does not watch
#   it and the solver does not carry it: it is summed from the stages of the accepted steps.
#
# ## What it took

# %%
page.took(records)
