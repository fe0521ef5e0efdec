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
# Move in a straight line from one image's embedding to another's, and watch the decoded images change (C.8, Fig. A.12
# of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU

# %% tags=["hide-input"]
from IPython.display import Markdown

from ncode.reproduction.claims import settings as stated
from ncode.reproduction.experiments import latent_interpolation
from ncode.reproduction.experiments.autoencoding import evaluation, pictures
from ncode.reproduction.experiments.latent_interpolation import (
    analysis,
    figures,
    verdict,
)
from ncode.reproduction.experiments.latent_interpolation.analysis import label
from ncode.reproduction.metrics.comparison import below, difference, metric
from ncode.reproduction.metrics.intervals import interval, is_below
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("14_latent_interpolation", profile)
style.use_style()

# %% [markdown]
# ## The claim
#
# **N23.** Latent interpolation: between random samples, against a plain autoencoder, and between three anchors. The paper
# shows it and claims nothing; that AutoN-CODE's is smoother is what the figure invites to see.

# %% [markdown]
# ## The setting
#
# The paper shows pictures. Pictures of a few pairs can be chosen, and smoothness alone is cheap: a **cross-fade** of the
# pixels, $(1-t)\,x_a + t\,x_b$, is as smooth as can be and shows no digit half-way. So we measure two things, over pairs
# of test images of different classes, the same for every model:
#
# - **smooth**: the perceptual path length {cite:p}`karras2019`, with the features $\varphi$ of the network that also judges
#   generated images, a classifier of digits or, on colour images, EfficientNet-Lite0,
#
#   $$\mathbb{E}\,\bigl\|\tfrac{d}{dt}\,\varphi(\text{image}(t))\bigr\|^2,$$
#
#   over $\mathbb{E}\,\|\varphi(\text{image}(1)) - \varphi(\text{image}(0))\|^2$, what a straight path of constant speed
#   between the same ends has. The ratio is 1 at least; detours and jumps raise it.
# - **real**: the Fréchet distance between the images half-way and the test images.
#
# Lines are drawn between AutoN-CODE's $x(T)$, as in the paper; between its **controls** $\theta$, from which the
# flow then gives $x(T)$; between the codes of the plain autoencoder and of the VAE; and between the pixels. The
# autoencoders are those of the page on autoencoding.

# %% [markdown]
# ## The run

# %%
evaluated = evaluation.evaluate(
    latent_interpolation.experiment,
    latent_interpolation.MODELS,
    profile,
    page.settings,
    needed=latent_interpolation.MODELS,
)
records, named = evaluated.live, evaluated.named
compared = evaluated.compared
evaluated.setup.settings

# %% tags=["hide-input"]
floor = metric(records["ncode"], "floor")[0]
who = evaluation.judged_by(records)
Markdown(
    f"{evaluated.setup.missing} The features are those of {who}; as many training images have a distance of {numbers.number(floor, 3)} from the "
    f"test images.{evaluation.not_recorded(latent_interpolation.experiment.planned())}"
)

# %% [markdown]
# ## What came out
#
# The pairs below are the first of those that are measured; none was chosen.

# %% tags=["hide-input"]
first_runs = {model: runs_[0] for model, runs_ in records.items()}
page.figure(
    style.mosaic(analysis.lines(first_runs), width=3.8, height=1.6),
    name="fig-interpolation-lines",
    caption="Fig. A.12, its linear panels, anew, with two controls, this execution: straight lines between pairs of test "
    "images, in AutoN-CODE's x(T), in the plain autoencoder's code, in AutoN-CODE's control, and in the pixels. The paper "
    "shows CelebA.",
    alt="Four blocks of four rows; each row turns one digit into another.",
)

# %% tags=["hide-input"]
page.figure(
    style.mosaic(analysis.squares(first_runs), width=3.8, height=4.0),
    name="fig-interpolation-square",
    caption="Fig. A.12, its lower panel, anew, this execution: the plane through three anchors, A up left, B up right and C "
    "down left, for AutoN-CODE (left) and the plain autoencoder (right). The lower right corner is B + C - A.",
    alt="Two squares of eight by eight digits that change from corner to corner.",
)

# %% tags=["hide-input"]
Markdown(
    pictures.introduced(
        "latent_interpolation_mnist_lines", "latent_interpolation_cifar10_lines"
    )
)

# %% tags=["hide-input"]
shown = pictures.find("latent_interpolation_mnist_lines")
page.figure(
    style.mosaic(shown, width=3.8, height=0.9),
    name="fig-interpolation-lines-mnist",
    caption="Lines, recorded, all of MNIST.",
    alt="Four blocks of two rows; each row turns one digit into another.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
shown = pictures.find("latent_interpolation_cifar10_lines")
page.figure(
    style.mosaic(shown, width=3.8, height=0.9),
    name="fig-interpolation-lines-cifar10",
    caption="Lines, recorded, CIFAR-10 (JPEG copy).",
    alt="Four blocks of two rows of small colour images; each row turns one blurred image into another.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
shown = pictures.find("latent_interpolation_cifar10_squares")
page.figure(
    style.mosaic(shown, width=3.8, height=4.0),
    name="fig-interpolation-square-cifar10",
    caption="Squares, recorded, CIFAR-10 (JPEG copy): these have four anchors, one in each corner, as they were recorded before the paper's text was at hand.",
    alt="Two squares of eight by eight small colour images that change from corner to corner.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
page.figure(
    figures.smoothness(records),
    name="fig-interpolation-smoothness",
    caption="Left: speed of the features along the lines, mean over pairs, in units of a straight path's; median and range "
    "over seeds. Right: path length over a straight path's, against the Fréchet distance of images half-way: smooth is "
    "left, real is below. A dot a seed; the grey line is the floor of real images.",
    alt="Left, a curve for each model over t. Right, dots for each model in a plane of two measures.",
)

# %% [markdown]
# ## Paper versus ours
#
# The paper gives no number for this claim.

# %% tags=["hide-input"]
COLUMNS = {
    "excess": "path length / straight path's",
    "peak": "fastest / mean speed",
    "jump": "largest / mean step, 95th percentile",
    "square_peak": "square: largest / mean step",
    "half_way": "Fréchet distance, half-way",
    "ends": "at the ends",
    "length": "perceptual path length",
}
page.table(
    "tab-interpolation",
    "Smooth and real: mean ± standard deviation over seeds. Speed: median over lines; steps: of a twentieth of a line, "
    "95th percentile over lines; squares: median over squares. Perceptual path length is in squared units of the features and "
    "compares models only together with the distance between the ends, hence the first column.",
    ["data", "model", *COLUMNS.values()],
    [
        [
            name,
            label(model),
            *(numbers.spread(metric(of_model, column)) for column in COLUMNS),
        ]
        for name, runs_ in named.items()
        for model, of_model in runs_.items()
    ],
)

# %%
behind = evaluated.evidence
TEXT = {
    "excess": "AutoN-CODE's lines are shorter, over a straight path, than the autoencoder's (path length)",
    "peak": "they are more even (fastest over mean speed)",
    "square_peak": "and so are its squares (largest over mean step)",
    "half_way": "its images half-way are nearer to real ones than the autoencoder's",
}
checks, sizes = {}, []
for name, runs_ in compared.items():
    ours, theirs = (
        metric(runs_[model], "excess").mean()
        for model in ("ncode", "autoencoder")
    )
    sizes.append(
        f"{name}: {numbers.number(ours, 3)} against {numbers.number(theirs, 3)}"
    )
    checks |= {
        f"{name}: {text}": below(runs_, "ncode", "autoencoder", what)
        for what, text in TEXT.items()
    }
    # Of a path that moves half the time and rests half the time, it is 2.
    checks[
        f"{name}: AutoN-CODE's lines have no jump (on 95 % of them no step of a twentieth above twice the mean)"
    ] = is_below(interval(metric(runs_["ncode"], "jump")), 2.0)
    checks[
        f"{name}: its images half-way are nearer to real ones than the pixels' cross-fade"
    ] = below(runs_, "ncode", "pixels", "half_way")
page.verdict(
    "N23",
    verdict.n23(compared),
    checks,
    runs=behind,
    note=(
        "The paper's evidence is one figure. 'Smooth' is read as: without jumps, smoother than the autoencoder it is shown "
        "against, and with images half-way that are more real. A comparison asks that the 95 % interval of the difference, paired "
        "by seed, lies below zero; the pixels' numbers do not depend on a seed. Path lengths over a straight path's, AutoN-CODE "
        f"against the autoencoder: {'; '.join(sizes)}."
    ),
)

# %% tags=["hide-input"]
if profile == "cpu":
    # A path cannot be shorter than the straight one between its ends.
    assert min(metric(runs_, "excess").min() for runs_ in records.values()) >= 1
fade = metric(records["pixels"], "excess")[0]
other = metric(records["ncode"], "excess").mean()
Markdown(
    f"**Smooth is not enough.** The cross-fade's path length is {numbers.number(fade, 3)} times a straight path's, AutoN-CODE's "
    f"{numbers.number(other, 3)} times. Half-way, AutoN-CODE's distance minus the cross-fade's is "
    f"{numbers.interval(difference(records, 'ncode', 'pixels', 'half_way'), 3)} (95 % interval)."
)

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
Markdown(stated.open_in_words(page.notebook))

# %% [markdown]
# Besides:
#
# - The perceptual path length of {cite:t}`karras2019` uses the features of a VGG network and spherical interpolation; here it is the
#   judge's, and lines are straight, as the paper's.
# - The line between controls is ours.

# %% [markdown]
# ## What it took

# %%
page.took(evaluated.every_run)
