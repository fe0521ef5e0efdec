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
# Move in a straight line from one image's embedding to another's, and watch the decoded images change. You will learn how
# to measure whether they change smoothly, and why smooth is not enough (C.8, Fig. A.12 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU; "recorded": draws finished runs, trains nothing
runs = ""  # a folder to keep finished runs in; on Colab also on your drive: "/content/drive/MyDrive/ncode"

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
# **N23.** Latent interpolation: between random samples, against a plain autoencoder, and between three anchors. The paper
# shows it and claims nothing. The figure invites the reader to see that AutoN-CODE's is smoother.

# %% [markdown]
# ## The setting
#
# The paper shows pictures. Pictures of a few pairs can be chosen, and smoothness alone is cheap: a **cross-fade** of the
# pixels, $(1-t)\,x_a + t\,x_b$, is as smooth as can be and shows no digit half-way. So we measure two things, over pairs
# of test images of different classes, the same for every model:
#
# - **smooth**: the perceptual path length {cite:p}`karras2019`,
#
#   $$\mathbb{E}\,\bigl\|\tfrac{d}{dt}\,\varphi(\text{image}(t))\bigr\|^2 .$$ (eq-smoothness)
#
#   The features $\varphi$ are those of the network that also judges generated images: a classifier of digits, or
#   EfficientNet-Lite0 for colour images. We divide by $\mathbb{E}\,\|\varphi(\text{image}(1)) -
#   \varphi(\text{image}(0))\|^2$, which is what a straight path of constant speed has. The ratio is 1 at least. Detours
#   and jumps raise it.
# - **real**: the Fréchet distance between the images half-way and the test images. Lower is nearer to real images.
#
# Lines are drawn between AutoN-CODE's $x(T)$, as in the paper; between its **controls** $\theta$, from which the
# flow then gives $x(T)$; between the codes of the plain autoencoder and of the VAE (the variational autoencoder); and
# between the pixels. The autoencoders are those of {doc}`11_autoencoding`.

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
    found.not_recorded,
)

# %% [markdown]
# ## What came out
#
# The pairs below are the first of those that are measured; none was chosen.

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
    caption="Fig. A.12, its lower panel, anew, this execution: the plane through three anchors, A up left, B up right and C "
    "down left, for AutoN-CODE (left) and the plain autoencoder (right). The lower right corner is B + C - A.",
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
    caption="Lines, recorded, all of MNIST.",
    alt="Four blocks of two rows; each row turns one digit into another.",
)

# %% tags=["hide-input"]
page.figure(
    figures.lines(pictures.find("latent_interpolation_cifar10_lines")),
    name="fig-interpolation-lines-cifar10",
    caption="Lines, recorded, CIFAR-10 (JPEG copy).",
    alt="Four blocks of two rows of small colour images; each row turns one blurred image into another.",
    folded="Lines between images of CIFAR-10, recorded",
)

# %% tags=["hide-input"]
page.figure(
    figures.squares(pictures.find("latent_interpolation_cifar10_squares")),
    name="fig-interpolation-square-cifar10",
    caption="Squares, recorded, CIFAR-10 (JPEG copy). They have four anchors, one in each corner: they were recorded before "
    "the paper's text was at hand.",
    alt="Two squares of small colour images that change from corner to corner.",
    folded="Squares between images of CIFAR-10, recorded",
)

# %% tags=["hide-input"]
page.figure(
    figures.smoothness(found.live),
    name="fig-interpolation-smoothness",
    caption="Left: speed of the features along the lines, mean over pairs, in units of a straight path's; median and range "
    "over seeds. Right: path length over a straight path's, against the Fréchet distance of images half-way. Smooth is "
    "left, real is below. A dot a seed; the grey line is the floor of real images.",
    alt="Left, a curve for each model over t. Right, dots for each model in a plane of two measures.",
)

# %% [markdown]
# ## Paper versus ours
#
# The paper gives no number for this claim.

# %% tags=["hide-input"]
page.table(
    "tab-interpolation",
    "Smooth and real: mean ± standard deviation over seeds. Speed: median over lines; steps: of a twentieth of a line; "
    "squares: median over squares. Perceptual path length is in squared units of the features. It "
    "compares models only together with the distance between the ends, hence the first column.",
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
# A path cannot be shorter than the straight one between its ends.

# %%
shortest = min(metric(runs, "excess").min() for runs in found.live.values())
assert page.profile != "cpu" or shortest >= 1
page.say("**Smooth is not enough.**", tables.fade(found.live))

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
page.readings()

# %% [markdown]
# Besides:
#
# - The perceptual path length of {cite:t}`karras2019` uses the features of a VGG network and spherical interpolation. Here
#   the features are the judge's, and lines are straight, as the paper's.
# - The line between controls is ours.

# %% [markdown]
# ## What to remember
#
# - A cross-fade of pixels is as smooth as can be, and shows nothing real half-way.
# - Judge an interpolation by two numbers: how straight its path is in the features, and how real its middle is.
# - A few pairs of pictures can be chosen. Measure all pairs, the same for every model.
#
# ## What it took

# %%
page.took(found.every_run)
