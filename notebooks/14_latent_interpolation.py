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
# # Latent interpolation
#
# We move in a straight line from one image's code to another's, and decode the points on the way. You will learn how to
# measure whether the images change smoothly and stay real, and why you need a cross-fade of the pixels beside them (C.8,
# Fig. A.12 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
from ncode.reproduction.experiments import latent_interpolation
from ncode.reproduction.experiments.autoencoding import evaluation, pictures
from ncode.reproduction.experiments.latent_interpolation import (
    analysis,
    figures,
    tables,
    verdict,
)
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("14_latent_interpolation", profile, runs)

# %% [markdown]
# ## The claim
#
# **N23.** The paper shows interpolations between random samples, beside those of a plain autoencoder, and between three
# images. It claims nothing in words. The figure suggests that AutoN-CODE's images change more smoothly.

# %% [markdown]
# ## The setting
#
# The paper shows pictures of a few pairs. It calls those of its first panel random samples, and compares models on a
# single pair, which anyone could have picked. And smoothness in the pixels is easy: a **cross-fade**,
# $(1-t)\,x_a + t\,x_b$, changes every pixel at a constant speed, and half-way it shows both images at once. So we
# measure two things with a network's features, and the cross-fade is a control experiment. All models get the same pairs
# of test images, from different classes.
#
# - **smooth**: the perceptual path length {cite:p}`karras2019`,
#
#   $$\mathbb{E}\,\bigl\|\tfrac{d}{dt}\,\varphi(\text{image}(t))\bigr\|^2 .$$ (eq-smoothness)
#
#   The features $\varphi$ come from the network that also judges generated images: a classifier of digits, or
#   EfficientNet-Lite0 for colour images. A straight path of constant speed has the length
#   $\mathbb{E}\,\|\varphi(\text{image}(1)) - \varphi(\text{image}(0))\|^2$. We divide by it, so the ratio is at least 1.
#   Detours and jumps raise it.
# - **real**: the Fréchet distance between the images half-way and the test images. Lower is nearer to real images. A
#   decoder blurs, even at the ends of a line. The ends of a cross-fade are real images. So the table has the ends'
#   distance, too.
#
# We draw five kinds of lines: between AutoN-CODE's $x(T)$, as in the paper; between its **controls** $\theta$, from which
# the flow then gives $x(T)$; between the codes of the plain autoencoder; between those of the VAE (the variational
# autoencoder); and between the pixels. The autoencoders are those of {doc}`11_autoencoding`.

# %% [markdown]
# ## The run

# %% tags=["hide-output"]
found = evaluation.evaluate(
    latent_interpolation, page, latent_interpolation.MODELS
)
found.setup.settings

# %% tags=["hide-input"]
floor = metric(found.live["ncode"], "floor")[0]
page.say(
    found.setup.missing,
    f"The features are those of {evaluation.judged_by(found.live)}.",
    f"As many training images have a distance of {numbers.number(floor, 3)} from the test images.",
)

# %% [markdown]
# ## What came out
#
# We did not choose the pairs below. They are the first of those that we measure.

# %% tags=["hide-input"]
page.figure(
    figures.lines(analysis.lines(found.first)),
    name="fig-interpolation-lines",
    caption="Fig. A.12, its linear panels, anew, with two controls, this execution: straight lines between pairs of test "
    "images, in AutoN-CODE's x(T), in the plain autoencoder's code, in AutoN-CODE's control, and in the pixels. The paper "
    "shows CelebA.",
    alt="Four blocks of rows; each row turns one digit into another.",
)

# %% tags=["hide-input"]
page.figure(
    figures.squares(analysis.squares(found.first)),
    name="fig-interpolation-square",
    caption="Fig. A.12, its lower panel, anew, this execution: the plane through the codes of three images, A (top left), "
    "B (top right) and C (bottom left), for AutoN-CODE (left) and the plain autoencoder (right). The fourth corner is "
    "B + C - A.",
    alt="Two squares of digits that change from corner to corner.",
)

# %% tags=["hide-input"]
page.say(
    pictures.introduced(
        "latent_interpolation_mnist_lines", "latent_interpolation_cifar10_lines"
    )
)

# %% tags=["hide-input"]
page.figure(
    figures.lines(pictures.find("latent_interpolation_mnist_lines")),
    name="fig-interpolation-lines-mnist",
    caption=f"Lines, {pictures.described('latent_interpolation_mnist_lines')}.",
    alt="Four blocks of two rows; each row turns one digit into another.",
)

# %% tags=["hide-input"]
lines = "latent_interpolation_cifar10_lines"
page.figure(
    figures.lines(pictures.find(lines)),
    name="fig-interpolation-lines-cifar10",
    caption=f"Lines, {pictures.described(lines)}.",
    alt="Four blocks of two rows of small colour images; each row turns one blurred image into another.",
    folded="Lines between images of CIFAR-10, recorded",
)

# %% tags=["hide-input"]
squares = "latent_interpolation_cifar10_squares"
page.figure(
    figures.squares(pictures.find(squares)),
    name="fig-interpolation-square-cifar10",
    caption=f"Squares, {pictures.described(squares)}. They have an image in each of the "
    "four corners, unlike the paper's: we recorded them before we had its text.",
    alt="Two squares of small colour images that change from corner to corner.",
    folded="Squares between images of CIFAR-10, recorded",
)

# %% tags=["hide-input"]
page.figure(
    figures.smoothness(found.live),
    name="fig-interpolation-smoothness",
    caption="Left: speed of the features along the lines, mean over pairs, divided by a straight path's; median and range "
    "over seeds. Right: path length over a straight path's, and the Fréchet distance of the images half-way, one dot a "
    "seed. Smooth is left, real is low. The grey line is the floor of real images.",
    alt="Left, a curve for each model over t. Right, dots for each model in a plane of two measures.",
)

# %% [markdown]
# ## Paper versus ours
#
# The paper gives no number for this claim.

# %% tags=["hide-input"]
page.table(
    "tab-interpolation",
    "Smooth and real: mean ± standard deviation over seeds. The first column divides the perceptual path length by that of "
    "a straight path, because models differ in the distance between the ends. Speeds and squares are medians. A step is "
    "a twentieth of a line.",
    tables.COLUMNS,
    tables.smoothness(found.named),
)

# %%
page.verdict(
    "N23",
    verdict.n23(found.compared),
    verdict.n23_checks(found.compared),
    runs=found.evidence,
    note=verdict.n23_note(found.compared),
)

# %% [markdown]
# **Is a cross-fade smooth, and is it real?** In the pixels its path is straight. In the features no path can be shorter
# than the straight one between its ends.

# %%
shortest = min(metric(runs, "excess").min() for runs in found.live.values())
assert page.profile != "cpu" or shortest >= 1
page.say(tables.fade(found.compared))

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
page.readings()

# %% [markdown]
# <details class="ncode-aside"><summary>How else these runs differ, and what we chose</summary>
#
# - The perceptual path length of {cite:t}`karras2019` uses the features of a VGG network and spherical interpolation. We
#   use the features of our own judge, and straight lines as the paper does.
# - The paper has no lines between controls. We added them.
#
# </details>

# %% [markdown]
# ## What to remember
#
# - Smooth in the pixels is not smooth in the features: a cross-fade is straight in the pixels and takes a detour in the
#   features.
# - A cross-fade is the control experiment. Lines in a latent space are worth something where their images half-way are
#   nearer to real ones than the cross-fade's. The data decide that: look at each set.
# - Judge an interpolation by two numbers: how straight its path is in the features, and how real its middle is.
# - Anyone can pick a few nice pairs. Measure many, the same for every model.
#
# ## What it took

# %%
page.took(found.every_run)
