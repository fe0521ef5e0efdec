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
# # Concentric annuli
#
# Take a disk out of the annulus around it: a neural ODE has to stretch the plane thin, a controlled one goes around
# (Section 4.1, Figs. 1, 5 and A.1 of {cite:t}`chalvidal2021`; the problem is ANODE's,
# {cite:t}`dupont2019`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown
from torch.nn import functional as F

from ncode.reproduction.experiments import toy
from ncode.reproduction.experiments.annuli import experiment as annuli
from ncode.reproduction.experiments.annuli import steering
from ncode.reproduction.metrics.intervals import ratio_interval
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs import recordings, store

page = Page("06_annuli", profile)
style.use_style()

# %% [markdown]
# ## The claim
#
# **N9.** NODE entangles the annuli; open and closed loop separate them, with simpler paths and faster convergence.
#
# **N10.** Crossing the class boundary is a bifurcation of the controlled field.
#
# A flow of the plane is a homeomorphism: it cannot take the disk out of the annulus, so no *linear* readout of
# $x(T)$ can have the whole disk on one side and the whole annulus on the other. That is a statement about the two
# regions. On a finite sample a neural ODE can still reach any accuracy: it stretches a
# side of the annulus so thin that few points show it, and presses the disk against it. Accuracy on some points is therefore the wrong thing to compare. We also look at
# the cross-entropy, and at the error on a grid of spacing 0.02, which few such stretches escape.

# %% [markdown]
# ## The setting
#
# The disk has radius $0.5$, the annulus reaches from $1$ to $1.5$. All models get a tanh field of one hidden layer of the
# same width (ANODE's and data control's see their additional inputs, too), the same optimiser with the same clipping, the
# same batches, solver and tolerance, and a linear readout of $x(T)$. N-CODE's controllers steer the field's biases; they
# come on top, so numbers of parameters differ ({numref}`tab-annuli`). The control experiment is **γ alone**: a
# controller like the open loop's, with two outputs and a linear readout, and no flow at all. If that separates the
# classes, separating them does not show that the flow is needed.

# %%
settings = dict(page.settings)
seeds = settings.pop("seeds")
settings

# %% [markdown]
# ## The run

# %%
records = store.sweep(
    annuli.train, annuli.Config, annuli.MODELS, seeds, **settings
)
every_record = [record for runs_ in records.values() for record in runs_]


# %%
def trained(record):
    """The record's model, flow (or γ alone) and readout, with its trained weights."""
    return record.load_weights(
        annuli.build(annuli.Config(**record.config))
    ).eval()


def metric(model, name):
    return [record.metrics[name] for record in records[model]]


# %% [markdown]
# ## What came out
#
# Where the points go. NODE drags the disk through the annulus and stretches what lies between; the others' paths may
# cross, and do.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-annuli-flow", "caption": "Figs. 1 and A.1 anew: paths in the plane, first seed. Open circles mark starts, dots ends; blue is the disk, red the annulus. For ANODE the first two of its three dimensions are shown. NODE presses the disk into the thinned annulus; controlled paths cross."}, "image": {"alt": "Five panels with paths of points of both classes in the plane. In NODE's the annulus is stretched and the disk pressed into it; in the others' the two classes move apart across each other's paths."}}
points, labels = annuli.sample(60, seed=10_001)
t = torch.linspace(0, 1, 41)
figure, axes = style.panels(3, 2, width=2.6, height=2.5)
for panel, model in zip(axes.flat, toy.FLOWS, strict=False):
    with torch.no_grad():
        path = trained(records[model][0])[0].trajectory(points, t).x
    for i, label in enumerate(labels.int()):
        panel.plot(
            path[:, i, 0],
            path[:, i, 1],
            color=style.CLASSES[1 - label],
            linewidth=0.7,
            alpha=0.8,
        )
        panel.plot(
            *path[0, i, :2],
            "o",
            color=style.CLASSES[1 - label],
            markersize=2.5,
            fillstyle="none",
        )
        panel.plot(
            *path[-1, i, :2], "o", color=style.CLASSES[1 - label], markersize=3
        )
    panel.set(title=style.LABELS[model], aspect="equal", adjustable="datalim")
axes[1, 2].set_axis_off()
figure.supxlabel("$x_1$")
figure.supylabel("$x_2$")
plt.show()

# %% [markdown]
# The same as a map: what each model says of every point of the plane.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-annuli-decision", "caption": "Decision maps, first seed: the probability of the disk's class at every x(0). Lines: the edges of the two regions. NODE's channel from the inside to the outside is where the annulus is stretched thin."}, "image": {"alt": "Six maps of predicted probability over the plane with circles at radius 0.5, 1 and 1.5. NODE's has a narrow channel through the annulus; the others' show a closed region around the disk."}}
side = torch.linspace(-2, 2, 161)
plane = torch.cartesian_prod(side, side)
figure, axes = style.panels(3, 2, width=2.5, height=2.4, sharex=True, sharey=True)
for panel, model in zip(axes.flat, records, strict=True):
    with torch.no_grad():
        probability = (
            torch.sigmoid(trained(records[model][0])(plane)).reshape(161, 161).T
        )
    shown = panel.imshow(
        probability,
        extent=(-2, 2, -2, 2),
        origin="lower",
        vmin=0,
        vmax=1,
        cmap="cividis",
    )
    for radius in (annuli.DISK, annuli.INNER, annuli.OUTER):
        panel.add_patch(
            plt.Circle((0, 0), radius, fill=False, color="white", linewidth=1)
        )
    panel.set(title=style.LABELS[model])
    panel.grid(False)
figure.supxlabel("$x_1(0)$")
figure.supylabel("$x_2(0)$")
figure.colorbar(shown, ax=axes, label="P(disk)", shrink=0.6)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-annuli-training", "caption": "Fig. 5's curves anew: cross-entropy and error on fresh points, and function evaluations of a forward solve, over the iterations; median and range over seeds."}, "image": {"alt": "Three panels over iterations. NODE's cross-entropy stays orders of magnitude above the others', its error above zero."}}
figure, axes = style.panels(3, width=2.6, height=2.7)
for model, runs_ in records.items():
    looks = [record.history.evaluations for record in runs_]
    iterations = runs_[0].history.evaluated
    style.band(
        axes[0, 0], iterations, [look["cross_entropy"] for look in looks], model
    )
    style.band(
        axes[0, 1],
        iterations,
        [100 * (1 - np.array(look["accuracy"])) for look in looks],
        model,
    )
    if model != "gamma":
        style.band(axes[0, 2], iterations, [look["nfe"] for look in looks], model)
axes[0, 0].set(yscale="log", ylabel="test cross-entropy (nats)")
axes[0, 1].set(yscale="symlog", ylabel="test error (%)", ylim=(0, 60))
axes[0, 1].set_yscale("symlog", linthresh=0.1)
axes[0, 2].set(ylabel="evaluations (NFE)")
for panel in axes[0]:
    panel.set_xlabel("iteration")
style.legend(figure, axes[0, 0], columns=3)
plt.show()

# %% [markdown]
# ### Two points and their fields
#
# One point of each class, and the field that *it* sees. In the open loop each has its own field, constant in time. In
# the closed loop both start in the same field, and their fields part on the way.


# %%
def field_seen_by(flow, x0, time):
    """The velocity on a grid of the plane under the control of the single sample x0 at a time."""
    with torch.no_grad():
        theta = flow.trajectory(x0, [0.0, max(time, 1e-6)]).theta[-1]
        u, v = torch.meshgrid(
            torch.linspace(-2.5, 2.5, 25),
            torch.linspace(-2.5, 2.5, 25),
            indexing="xy",
        )
        grid = torch.stack([u.reshape(-1), v.reshape(-1)], dim=1)
        velocity = flow.field(
            torch.tensor(0.0),
            grid,
            flow.field.unpack(theta.expand(len(grid), -1)),
        )
    return u.numpy(), v.numpy(), velocity.reshape(25, 25, 2).numpy()


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-annuli-two-points", "caption": "Fig. 5's two points anew, first seed: the streamlines of the field that each point sees, and its path (open circle to dot). Top: open loop, one field each for all times. Bottom: closed loop, at the start, where both points share one field, and at the end, where they do not."}, "image": {"alt": "Streamline plots of controlled fields with the paths of a point of the disk and a point of the annulus, for the open loop and for the closed loop at the start and at the end."}}
pair = torch.tensor([[0.3, 0.0], [1.2, 0.3]])
views = {
    "open loop, disk point": ("open", 0, 0.0),
    "open loop, annulus point": ("open", 1, 0.0),
    "closed loop, both, t = 0": ("closed", 0, 0.0),
    "closed loop, disk, t = T": ("closed", 0, 1.0),
    "closed loop, annulus, t = T": ("closed", 1, 1.0),
}
figure, axes = style.panels(3, 2, width=2.6, height=2.6, sharex=True, sharey=True)
places = [axes[0, 0], axes[0, 1], *axes[1]]
for panel, (title, (model, i, time)) in zip(places, views.items(), strict=True):
    flow = trained(records[model][0])[0]
    u, v, velocity = field_seen_by(flow, pair[i : i + 1], time)
    panel.streamplot(u, v, velocity[..., 0], velocity[..., 1], **style.STREAMS)
    with torch.no_grad():
        path = flow.trajectory(pair, t).x
    for j in (0, 1) if title.startswith("closed loop, both") else (i,):
        colour = style.CLASSES[j]
        panel.plot(path[:, j, 0], path[:, j, 1], color=colour, linewidth=2)
        panel.plot(*path[0, j], "o", color=colour, fillstyle="none")
        panel.plot(*path[-1, j], "o", color=colour)
    panel.set(title=title, xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")
axes[0, 2].set_axis_off()
figure.supxlabel("$x_1$")
figure.supylabel("$x_2$")
plt.show()

# %% [markdown]
# ### Is crossing the boundary a bifurcation?
#
# Walk along a ray from the disk's centre to the annulus' edge. At every step the open loop gives another field
# $f(\cdot, \gamma(x(0)))$; we find its equilibria and their kinds. A change in how many there are of each kind is a
# bifurcation. A change of place is not: a field whose one source moves to the other side of a point sends the point
# elsewhere without any bifurcation. (One that crosses the edge of the box in which we look counts as a change: beyond
# it we cannot see.) So the claim can fail: no change on the way from class to class, or as many
# changes inside the classes as in the gap between them.

# %%
rays = [
    [steering.portraits(trained(record)[0], angle) for angle in steering.ANGLES]
    for record in records["open"]
]
found = [steering.bifurcations(seed) for seed in rays]

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-annuli-bifurcation", "caption": "Left: bifurcation diagram of the open loop's field along one ray, first seed: the first coordinate of every equilibrium in the box against the radius of x(0); circles are sinks, crosses saddles, squares sources. Middle: what the trained model answers along that ray. Right: radii at which the portrait changes, over eight rays of every seed. Grey: the gap between the classes."}, "image": {"alt": "Left: equilibria against radius, coloured by kind. Middle: predicted probability against radius, falling from one to zero within the gap. Right: histogram of the radii of bifurcations."}}
figure, axes = style.panels(3, width=2.6, height=2.5)
for portrait, radius in zip(rays[0][0], steering.RADII, strict=True):
    for point, kind in zip(portrait.points, portrait.kinds, strict=True):
        mark = {
            "sink": ("o", "#0072B2"),
            "saddle": ("x", "#E69F00"),
            "source": ("s", "#D55E00"),
            "degenerate": ("+", "#222222"),
        }[kind]
        axes[0, 0].plot(radius, point[0], mark[0], color=mark[1], markersize=3)
with torch.no_grad():
    answer = torch.sigmoid(
        trained(records["open"][0])(F.pad(steering.RADII.unsqueeze(1), (0, 1)))
    )
axes[0, 1].plot(steering.RADII, answer, color=style.COLOURS["open"])
axes[0, 2].hist(
    # In the middle of the step in which the portrait changes.
    np.concatenate([steering.changes(ray) for seed in rays for ray in seed])
    - float(steering.RADII[1]) / 2,
    bins=np.linspace(0, 1.5, 31),
    color=style.COLOURS["open"],
)
for panel, label in zip(
    axes[0], ("equilibria, $x_1$", "P(disk)", "bifurcations"), strict=True
):
    panel.axvspan(annuli.DISK, annuli.INNER, color="#eeeeee", zorder=0)
    panel.set(xlabel="radius of x(0)", ylabel=label)
plt.show()

# %% [markdown]
# **Does it depend on what is steered?** The same in recorded runs, over what of the field the controllers may set:
# its biases, its weights, its first or its last layer, or everything.

# %% tags=["hide-input"]
rows = steering.rows(recordings.find("annuli_steering"))
shown = page.table(
    "tab-annuli-steering",
    "By what is steered, recorded runs. Open loop: rays whose ends have different portraits, and changes that lie in "
    f"the gap, mean ± standard deviation over seeds in % (the gap is {steering.GAP_SHARE:.0%} of a ray), and seeds on "
    "which the gap has more than its share. Then, open and closed loop: seeds on which no point of the dense grid is "
    "wrong; the worst test point's solver error over all seeds.",
    ["steered", "seeds", "rays differ %", "in the gap %", "gap above its share", "open: all right", "closed: all right",
     "open: solver error", "closed: solver error"],
    rows,
) if rows else Markdown("Not recorded yet.")  # fmt: skip
shown

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper shows these experiments as pictures and prints no number.

# %% tags=["hide-input"]
page.table(
    "tab-annuli",
    f"Annuli, over {seeds} seeds: mean ± standard deviation; the factor by which NODE's cross-entropy is larger "
    "(geometric mean, paired by seed, 95 % interval); evaluations; length of a path over the distance of its ends; "
    "the largest global solver error of any test point.",
    [
        "model",
        "parameters",
        "accuracy %",
        "cross-entropy",
        "NODE's / this one's",
        "grid error %",
        "NFE",
        "detour",
        "solver error",
    ],
    [
        [
            style.LABELS[model],
            f"{metric(model, 'parameters')[0]:.0f}",
            numbers.percent(metric(model, "accuracy")),
            numbers.spread(metric(model, "cross_entropy")),
            "1"
            if model == "node"
            else numbers.interval(
                ratio_interval(
                    metric("node", "cross_entropy"),
                    metric(model, "cross_entropy"),
                )
            ),
            numbers.percent(metric(model, "grid_error")),
            numbers.spread(metric(model, "nfe")) if model != "gamma" else "–",
            numbers.spread(metric(model, "detour")) if model != "gamma" else "–",
            f"{max(metric(model, 'solver_error')):.1e}"
            if model != "gamma"
            else "–",
        ]
        for model in records
    ],
)


# %%
def on_every_seed(name, model):
    """Whether NODE's metric is larger than the model's on every seed."""
    pairs = zip(metric("node", name), metric(model, name), strict=True)
    return all(node > other for node, other in pairs)


ncode = ("open", "closed")
right = [value for model in ncode for value in metric(model, "accuracy")]
wrong = [value for model in ncode for value in metric(model, "grid_error")]
better = {
    name: all(on_every_seed(name, model) for model in ncode)
    for name in ("cross_entropy", "detour")
}


def reached(record, level):
    """The first look at which the cross-entropy on fresh points is at most that."""
    looks = record.history.evaluations["cross_entropy"]
    seen = zip(record.history.evaluated, looks, strict=True)
    return next((k for k, value in seen if value <= level), np.inf)


def earlier(node, record):
    """Whether a run reaches the cross-entropy that NODE ends with before NODE does."""
    level = node.metrics["cross_entropy"]
    return reached(record, level) < reached(node, level)


better["earlier"] = all(
    earlier(*pair)
    for model in ncode
    for pair in zip(records["node"], records[model], strict=True)
)
parameters = {model: f"{metric(model, 'parameters')[0]:.0f}" for model in records}
checks = {
    "NODE leaves part of the dense grid wrong": min(metric("node", "grid_error"))
    > 0,
    "open and closed loop: every test point right": min(right) == 1,
    "open and closed loop: no point of the dense grid wrong": max(wrong) == 0,
    "their cross-entropy is smaller than NODE's": better["cross_entropy"],
    "faster: they reach the cross-entropy that NODE ends with before NODE does": better[
        "earlier"
    ],
    "simpler paths: their detours are smaller": better["detour"],
}

# %%
others = [
    style.LABELS[model]
    for model in ("anode", "data", "gamma")
    if min(metric(model, "accuracy")) == 1
]
page.verdict(
    "N9",
    checks,
    every_record,
    note="Every check is asked of every seed. Of the others, these get every test point "
    f"right on every seed as well: {', '.join(others) or 'none'}. Parameters are not matched: NODE has {parameters['node']}, "
    f"the open loop {parameters['open']}, the closed {parameters['closed']}, γ alone {parameters['gamma']}. What γ alone can do, with "
    "a linear readout and no flow, does not show that a controlled flow is needed.",
)

# %%
differs, gap = ([seed[name] for seed in found] for name in ("differs", "in_gap"))
changes = [len(steering.ANGLES) * seed["changes"] for seed in found]
page.verdict(
    "N10",
    {
        "the portraits of disk and annulus differ, on most rays of every seed": min(
            differs
        )
        > 0.5,
        "portraits change more often in the gap than its share of the radius, on every seed": min(
            gap
        )
        > steering.GAP_SHARE,
        "most changes lie in the gap, on every seed": min(gap) > 0.5,
    },
    records["open"],
    note="Share of rays whose ends have different portraits, by seed: "
    f"{', '.join(f'{share:.0%}' for share in differs)}. Share of the changes that lie in the gap, by seed: "
    f"{', '.join(f'{share:.0%} of {number:.0f}' for share, number in zip(gap, changes, strict=True))}; the gap is {steering.GAP_SHARE:.0%} of the radius. Where nothing "
    "bifurcates, the fields of both classes have the same equilibria, and separate the points by where these lie. "
    "Equilibria are those that Newton's method finds from a grid in a box of side 16.",
)

# %%
tolerance = settings["tolerance"]
worst = {model: max(metric(model, "solver_error")) for model in toy.FLOWS}
listed = ", ".join(
    f"{error:.1e} ({style.LABELS[model]})" for model, error in worst.items()
)
Markdown(
    f"**How exact is each sample?** The largest *global* errors over all test points and "
    f"seeds were {listed}: up to {max(worst.values()) / tolerance:.0f} times the tolerance, "
    f"{tolerance:g}. It bounds a step's local error, and a field that pulls close points "
    "apart amplifies it. What a trained model gets right it gets right under its solver."
)

# %% [markdown]
# ## Deviations
#
# - The paper gives no setting for Figs. 1, 5 and A.1. The regions are ANODE's; the learning rate is the one, of
#   three, that served the *baseline* NODE best on seeds that are not used here, for all models alike, with the same
#   clipping and the same cosine schedule.
# - The controllers steer the biases only, for both loops. We first steered every parameter and changed it after
#   seeing the results: the closed loop, whose control moves, then had single test points wrong on some of the seeds
#   used here, at the tolerance that all models share, and a solver error to match. The open loop had none. The choice
#   is therefore not blind; it was checked on other seeds (100 to 104) before it was run on these.
# - *Simpler paths* is read as a smaller detour: mean path length over mean distance between its ends.
# - ANODE's readout sees its added dimension, as in its own paper; all others read two dimensions.
# - *Bifurcation* is read as a change in the number of equilibria of some kind in a fixed box; the paper does not
#   say how it was established. The verdict on N10 is for controllers that steer the biases;
#   the recorded runs above it, where there are any, say what other choices give. Fig. 5's caption calls
#   two panels "First".
#
# ## What it took

# %%
page.took(every_record)
