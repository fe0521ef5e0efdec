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
# # Augmented neural ODEs
#
# A flow cannot take a disk out of a ring. You will learn why, how a few added dimensions of zeros cure it, and what
# they are worth on functions that are small enough to see everything (Sections 3 to 5.1 of {cite:t}`dupont2019`).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
from ncode.reproduction.experiments.augmentation import (
    analysis,
    figures,
    notes,
    tables,
    verdict,
)
from ncode.reproduction.experiments.augmentation.studies import (
    EASY,
    SHELLS,
    Studies,
)
from ncode.reproduction.experiments.image_classification import evaluations
from ncode.reproduction.publishing.display import Page

page = Page("15_augmented_neural_odes", profile, runs)

# %% [markdown]
# ## The claim
#
# **A1.** A NODE's flow is a homeomorphism: it preserves the input's topology.
#
# **A2.** So there are functions that it cannot represent: in 1-d (trajectories would cross) and in higher dimensions
# (nested spheres).
#
# **A3.** Augmenting $\mathbb R^d$ to $\mathbb R^{d+p}$, starting at $[x; 0]$, represents them.
#
# **A4.** ANODE's flows are simpler and need significantly fewer function evaluations, and NODE's NFE (its number of
# evaluations) grows during training.
#
# **A6.** ANODE is more stable: NODE fails (step size underflow, too many evaluations) on hard functions.
#
# :::{prf:proposition} What surrounds a point goes on surrounding it
# :label: prop-surrounded
# Let $\Phi$ be the flow of $x' = f(t, x)$ on $\mathbb R^d$, where $f$ is Lipschitz in $x$. Let $S$ be a sphere around $c$.
# At all times $\Phi(S)$ surrounds $\Phi(c)$ once, and every half-space that holds $\Phi(c)$ holds a point of $\Phi(S)$.
# :::
#
# :::{admonition} Proof
# :class: dropdown
#
# Paths do not meet, so $\Phi(S, t)$ never hits $\Phi(c, t)$, for any $t$ from $0$ to $T$. This is a homotopy in the
# complement of the point, so the degree around the point is constant. At $t = 0$ it is one. Now suppose a half-space
# holds $\Phi(c)$ but no point of $\Phi(S)$. Then one could move $\Phi(S)$ straight away from $\Phi(c)$ to infinity
# without touching it, and its degree would be zero.
# :::
#
# For $d = 1$ the sphere is a pair of points, and the proposition says that the flow keeps their order. Take all points
# whose linear readout is at most the centre's. They form a half-space. So **some point of the outer sphere gets an
# output at least as low as the centre's.** That is A2 in a form that a program can check: it can find the point. With
# added dimensions $\Phi$ is a flow of $\mathbb R^{d+p}$. There $S$ surrounds nothing, and the proposition says nothing.

# %% [markdown]
# ## The setting
#
# The paper's functions, with the settings of its public code:
#
# - $g(\pm 1) = \mp 1$ on the line, with nothing after the flow;
# - **nested spheres** in 1, 2 and 3 dimensions: $|x| \le 0.5$ is mapped to $-1$ and $1 \le |x| \le 1.5$ to $+1$, by a
#   linear readout of $x(T)$.
#
# The field is a ReLU network with two hidden layers, and it sees the time. At $p = 5$ each layer has 32 units (for $g$:
# 16 at $p = 1$). **At smaller $p$ it gets more units, so that the number of parameters stays nearly the same.** The loss
# is Huber's. The solver is dopri5 at a tolerance of $10^{-3}$. It controls the batch's mean error, as torchdiffeq did at
# that time.

# %% tags=["hide-input"]
page.table(
    **tables.parameters(page.profile),
    folded="Width and parameters for every p",
)

# %% [markdown]
# ## The run
#
# This execution trains a few seeds for a few epochs. **Recorded runs** are longer and have more seeds. Tables and
# verdicts use them wherever there are any.

# %%
studies = Studies.of(page.profile)

# %% [markdown]
# ## What came out
#
# ### Topology, before any training
#
# We take random fields with large weights. Do their flows keep the order of points on the line? Does the image of a
# circle, or of a sphere, still surround the image of its centre once? The control experiment is **one step of Euler's
# method with the same fields**. That is not a flow, so it may break what flows keep.
#
# On the line we follow 101 points. In the plane we halve pieces of the circle until the image of each turns by less than
# 45 degrees. In space we add up the solid angles of the image's triangles.

# %%
kept = analysis.topologies(page.options["fields"])
page.table(**tables.topology(kept))

# %% tags=["hide-input"]
page.figure(
    **figures.topology(kept), folded="A circle, under a flow and one step"
)

# %% [markdown]
# ### On the line
#
# The function decreases, and NODE's flow can only increase. The best it can do is a constant, so it squeezes all points
# together ({numref}`fig-anode-flip`). ANODE lifts the points into a second dimension and swaps them.

# %% tags=["hide-input"]
page.figure(**figures.flip(studies.live["flip"]))

# %% tags=["hide-input"]
page.table(**tables.flip(studies))

# %% [markdown]
# ### Nested spheres, p = 0, 1, 2, 5
#
# Without augmentation the flow presses the disk into the ring ({numref}`fig-anode-flows`). Where they meet, it stretches
# the ring so thin that few sampled points lie there. With one more dimension it lifts the disk out.

# %% tags=["hide-input"]
page.figure(**figures.flows(studies.live["plane"]))

# %% tags=["hide-input"]
page.figure(
    **figures.evolution(page.profile), folded="Features in the course of training"
)

# %% tags=["hide-input"]
page.figure(**figures.training(studies))

# %% [markdown]
# **Generalisation.** {numref}`fig-anode-map` shows what each model answers at every point of the plane. NODE's answers
# are wrong along the corridor where it stretches the ring. But NODE's training loss is larger, too, so a larger error
# says little about generalisation. {numref}`tab-anode-equal-loss` therefore compares models at *equal training loss*: at
# the first look at which each run has reached it.

# %% tags=["hide-input"]
page.figure(**figures.maps(studies.live["plane"]), folded="The answers as a map")

# %% tags=["hide-input"]
page.table(**tables.equal_loss(studies), folded="Models at equal training loss")

# %% [markdown]
# ### Does the proposition survive training, and the solver?
#
# For every trained model we search the sphere of radius 1.25, in the middle of the outer shell, for its lowest output.
# We compare it with the output at the centre. The proposition says that without augmentation the lowest output is never
# above the centre's, however small the error on sampled points is. But the solver of the training is not an exact flow.
# So we ask twice: with an accurate solve, and with the solver of the training.
#
# Winding numbers answer the same question in another way, on the line and in the plane. In space our sphere is a mesh of
# 10,242 points, which is too coarse for a trained flow. There we only search.

# %% tags=["hide-input"]
page.table(**tables.spheres(studies))

# %% [markdown]
# ### Evaluations, and how far points travel
#
# **Tolerance and error norm decide how many evaluations a solve takes.** The paper's solver keeps the batch's *mean*
# error within the tolerance. If a corridor sends a few points through a steep field, the mean hides their errors. This
# library's default keeps the error of the *worst sample* within the tolerance. {numref}`tab-anode-nfe` has both numbers.
# The *detour* of a path is its length over the distance of its ends.

# %% tags=["hide-input"]
page.table(**tables.evaluations(studies))

# %% [markdown]
# ### Stability
#
# The paper's code counts three ways in which a training ends. A solve *exceeds* the permitted evaluations, its step size
# *underflows*, or the training is a *success*, which only means that it runs to the end. We count the same on the
# functions above, at the paper's learning rate. Then we try to provoke failures, with two functions at a hundred times
# that rate: **four nested shells** and **random labels** of 64 points. The limit is 6000 evaluations, about the paper's
# 1000 steps. Where we provoke failures it is 1000, and a run ends at its first failure.

# %% tags=["hide-input"]
page.figure(**figures.stability(studies))

# %% tags=["hide-input"]
page.table(**tables.stability(studies), folded="How trainings end, in numbers")

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper shows these experiments as pictures and prints no numbers.

# %%
page.verdict(
    "A1",
    verdict.a1(studies, kept),
    verdict.a1_context(studies, kept),
    runs=studies.runs(SHELLS, anode=False),
    note=notes.a1(studies, kept),
)

# %%
page.verdict(
    "A2",
    verdict.a2(studies),
    verdict.a2_context(studies),
    runs=studies.runs(EASY, anode=False),
    note=notes.a2(studies),
)

# %%
page.verdict(
    "A3",
    verdict.a3(studies),
    verdict.a3_context(studies),
    runs=studies.runs(EASY, node=False),
    note=notes.a3(studies),
)

# %% [markdown]
# {doc}`16_augmentation_on_images` counts the evaluations of NODE and ANODE on images. Its numbers are context for A4.

# %%
images = evaluations.recorded()
page.verdict(
    "A4",
    verdict.a4(studies, page.near("reduced")),
    verdict.a4_context(studies) | evaluations.context(images),
    runs=studies.runs(EASY) + evaluations.behind(images),
    note=notes.a4(studies, bool(images)),
)

# %%
page.verdict(
    "A6",
    verdict.a6(studies),
    verdict.a6_context(studies),
    runs=studies.runs([*EASY, *studies.provoked]),
    note=notes.a6(studies),
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
# - All $p$ have nearly the same number of parameters.
# - The paper's public code has its settings in three places. The file `config.json` has the spheres in the plane, with 500
#   and 1500 points for 30 epochs, and a sine. The tutorial `augmented-neural-ode-example.ipynb` has the points and epochs
#   that we take. The notebook `vector-field-visualizations.ipynb` has the line, with a learning rate of $5\cdot10^{-4}$,
#   as ours.
# - The paper draws radii as $a + (b - a)\,u^{1/d}$, which is uniform over the ball but not over the shell. We do the
#   same.
# - Where we provoke failures, a failed solve ends the run, as in the paper's code. Elsewhere it would only cost a training
#   step. The limit of 1000 evaluations is a sixth of the paper's, so that a failing run does not take hours.
# - We compare generalisation on fresh points of the same distribution, and as a map. The paper shows only the map.
# - The recorded runs keep no weights, so paths, features and maps come from this execution.
#
# </details>
#
# ## What to remember
#
# - A flow keeps what surrounds what. No training changes that. A coarse solver can break it.
# - "Cannot represent" is not "cannot approximate". A neural ODE hides the wrong points in a thin corridor.
# - One added dimension of zeros is enough to lift the disk out of the ring.
# - Say at which error you count evaluations. The paper counts at the batch's mean error, and so does our question A4. That
#   hides the few points that need many. So count at an equal error of the worst sample, too.
#
# ## What it took

# %%
page.took(studies.every_live_run)
