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
# # Image generation
#
# Fit a density to an autoencoder's embeddings, sample from it and decode: that generates images. You will learn how good
# AutoN-CODE's images are beside its rivals', and how to tell a good sample from a copy (Section 4.5, C.6, Table 2 and
# Figs. 8 and A.7 to A.9 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown

from ncode.reproduction.claims import published
from ncode.reproduction.claims import settings as stated
from ncode.reproduction.experiments import image_generation
from ncode.reproduction.experiments.autoencoding import evaluation, pictures
from ncode.reproduction.experiments.autoencoding.evaluation import label
from ncode.reproduction.experiments.image_generation import (
    analysis,
    figures,
    verdict,
)
from ncode.reproduction.metrics.comparison import below, difference, metric
from ncode.reproduction.metrics.intervals import (
    every,
    interval,
    is_above,
    is_below,
)
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("12_image_generation", profile)
style.use_style()

# %% [markdown]
# ## The claim
#
# **N17.** FID: AutoN-CODE < autoencoder < VAE, on CIFAR-10 and CelebA.
#
# **N18.** FID falls as the mixture has more components; 10,000 overfit the test set, 1,000 do not.
#
# **N19.** An autoencoder of twice the code size is the worst at few components.
#
# **N20.** Kernel density estimation: AutoN-CODE's FID is the lowest for small variances; the quality is highly
# deteriorated for rough ones.

# %% [markdown]
# ## The setting
#
# An autoencoder gives every image an embedding: its code, or AutoN-CODE's $x(T)$. A density is fitted to the
# embeddings, and the decoder turns samples of it into images. The paper fits its mixtures to **test** embeddings
# and scores the samples against the *same* test images (C.6). With 10,000 test images, 1,000 components have ten points
# each, and 10,000 have one: sampling then is reconstruction. So we ask in addition:
#
# - what a fit to as many **training** embeddings scores;
# - how many samples **copy**: a sample's nearest neighbour is looked up among the images that the density was fitted to
#   and among as many that it has not seen, both as the decoder gives them. Without memorising half the samples are
#   nearer to either side, in the mean over a fit to test and a fit to training embeddings;
# - what **as many real images** score (the floor), and what the test images' own **reconstructions** score. No density
#   can be expected to beat the second: the rest is the decoder's. The floor bounds fits to training embeddings only: a
#   fit to test embeddings has seen the images that it is scored against, and can score below it.
#
# The score is the Fréchet distance of features, with their means $\mu$ and covariances $\Sigma$,
#
# $$\|\mu_1 - \mu_2\|^2 + \operatorname{tr}\bigl(\Sigma_1 + \Sigma_2 - 2(\Sigma_1\Sigma_2)^{1/2}\bigr),$$
#
# in the first 128 principal components of the test features at most. It is an **FID only with InceptionV3's features**,
# all 2048 of them {cite:p}`heusel2017`: the `paper` profile asks for these, where their weights can be had. Digits are judged by a
# classifier of digits that is trained here, and colour images by EfficientNet-Lite0, so no number of ours on this page is an FID,
# and none can be compared with Table 2's: what can be compared is the order.
#
# Embeddings are divided by their standard deviation, so a kernel's variance is in units of theirs. Nothing is
# chosen by the score it is judged with: a mixture is fitted once, from the seed's start.
#
# The autoencoders are those of the page on autoencoding.

# %% [markdown]
# ## The run

# %%
evaluated = evaluation.evaluate(
    image_generation.experiment,
    image_generation.MODELS,
    profile,
    page.settings,
    needed=analysis.SAMPLED,
)
records, named = evaluated.live, evaluated.named
compared = evaluated.compared
evaluated.setup.settings

# %% tags=["hide-input"]
floor, points = (
    metric(records["ncode"], name)[0] for name in ("floor", "points")
)
who = evaluation.judged_by(records)
Markdown(
    f"{evaluated.setup.missing} Densities are fitted to {numbers.number(int(points))} embeddings, and samples are judged by {who}. As many real "
    f"images have a distance of {numbers.number(floor, 3)}.{evaluation.not_recorded(image_generation.experiment.planned())}"
)

# %% [markdown]
# ## What came out
#
# ### Samples


# %%
first = {model: records[model][0] for model in analysis.SAMPLED}
left, right = analysis.reconstructions(first), analysis.sampled(first)

# %% tags=["hide-input"]
page.figure(
    figures.halves(left, right),
    name="fig-generation-halves",
    caption="Fig. 8 anew, this execution, first seed. Left: the same test images, reconstructed by every model. Right: "
    "samples from a mixture fitted to test embeddings, decoded. The paper shows CelebA, which cannot be had without the "
    "official archive.",
    alt="Rows of digits. Left, ten test images and their reconstructions by three models. Right, samples of the same "
    "models.",
)

# %% tags=["hide-input"]
page.figure(
    style.strips(analysis.samples(first)),
    name="fig-generation-samples",
    caption="Fig. A.7, right, anew, this execution: samples from mixtures with more and more components, fitted to test "
    "embeddings. In the last row of each model there is one component for every test image, and samples are "
    "reconstructions.",
    alt="Rows of generated digits for the autoencoder, AutoN-CODE and the variational autoencoder.",
)

# %% tags=["hide-input"]
Markdown(
    pictures.introduced(
        "image_generation_mnist_samples",
        "image_generation_cifar10_seed_0_samples",
    )
    + " The CIFAR-10 pictures come from a separate training run."
)

# %% tags=["hide-input"]
shown = pictures.find("image_generation_mnist_samples")
page.figure(
    style.strips(shown),
    name="fig-generation-samples-mnist",
    caption="The same, recorded, all of MNIST.",
    alt="Rows of generated digits; with more components they look more like digits.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
shown = pictures.find("image_generation_cifar10_seed_0_samples")
page.figure(
    style.strips(shown),
    name="fig-generation-samples-cifar10",
    caption="The same, recorded, CIFAR-10 (JPEG copy).",
    alt="Rows of small generated colour images; blurred shapes, with more components more like the images.",
) if shown else Markdown("Not recorded yet.")

# %% [markdown]
# ### How many components?


# %% tags=["hide-input"]
page.figure(
    figures.components(records),
    name="fig-generation-components",
    caption="Fig. A.7, left, anew, with what it leaves out. Above: Fréchet distance against the number of components, fitted "
    "to test embeddings as in the paper, and to training embeddings. The grey line is the floor of real images; marks at "
    "the right are the test images' reconstructions. Below: share of samples that lie nearer to a fitted image than to an "
    "unseen one, mean over both fits (a half: no copying), and mean log-likelihood of unseen embeddings, cut off far below "
    "a model's best. Median and range over seeds.",
    alt="Four panels of curves over the number of components, one line for each of four models.",
)

# %%
recorded = {
    evaluation.dataset(runs_): runs_ for runs_ in list(named.values())[1:]
}

# %% tags=["hide-input"]
shown = recorded.get("mnist")
page.figure(
    figures.components(shown),
    name="fig-generation-recorded",
    caption="The same for the recorded runs on all of MNIST.",
    alt="Four panels of curves over the number of components, for the recorded runs on MNIST.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
shown = recorded.get("cifar10")
page.figure(
    figures.components(shown),
    name="fig-generation-cifar10",
    caption="The same for the recorded runs on CIFAR-10 (JPEG copy), in EfficientNet-Lite's features.",
    alt="Four panels of curves over the number of components, for the recorded runs on CIFAR-10.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
of = records["ncode"]
mixtures = [analysis.mixture_of(of, points) for points in analysis.POINTS]
page.figure(
    style.strips(analysis.nearest(of[0], mixtures)),
    name="fig-generation-neighbours",
    caption="Fig. A.8 anew, this execution: AutoN-CODE's samples, above, and below each the nearest image that the mixture "
    "was fitted to, as the decoder gives it.",
    alt="Pairs of rows of digits: samples and their nearest neighbours, for three numbers of components.",
)

# %% tags=["hide-input"]
shown = pictures.find("image_generation_cifar10_seed_0_nearest")
page.figure(
    style.strips(shown),
    name="fig-generation-neighbours-cifar10",
    caption="The same for the recorded AutoN-CODE on CIFAR-10 (JPEG copy), as in the paper.",
    alt="Pairs of rows of small colour images: samples and their nearest neighbours, for three numbers of components.",
) if shown else Markdown("Not recorded yet.")

# %% tags=["hide-input"]
chosen = {model: analysis.likeliest(runs_) for model, runs_ in records.items()}
Markdown(
    "**What the data would choose.** The mixture under which *unseen* embeddings are likeliest has "
    + ", ".join(
        f"{chosen[model].removeprefix('mixture-')} ({label(model)})"
        for model in records
    )
    + " components. Beyond that number the distance may go on falling, but the embeddings are described worse; how many "
    "of the samples are copies then, the figure above shows."
)

# %% [markdown]
# ### Kernels

# %% tags=["hide-input"]
kept = dict(list(named.items())[1:]) or named
page.figure(
    figures.kernels(kept),
    name="fig-generation-kernels",
    caption="Fig. A.9, left, anew, from the recorded runs where there are any: Fréchet distance, and at the right the share "
    "of samples nearer to a fitted image, against the variance of a Gaussian kernel at every test embedding, in units of "
    "the embeddings' variance. The paper's distances are FIDs.",
    alt="Two panels of curves over the kernel's variance for each data set, one line for each model.",
)

# %% tags=["hide-input"]
variances = analysis.sizes(records["ncode"], "kernel")
ends = [image_generation.name("kernel", v) for v in (variances[0], variances[-1])]
page.figure(
    style.strips(analysis.nearest(records["ncode"][0], ends)),
    name="fig-generation-kernel-neighbours",
    caption="Fig. A.9, right, anew, this execution: AutoN-CODE's samples from kernels of the smallest and the largest "
    f"variance, and below each sample the nearest image that has a kernel. The largest is σ = {variances[-1] ** 0.5:g}.",
    alt="Pairs of rows of digits: samples and their nearest neighbours, for two variances.",
)

# %% [markdown]
# ## Paper versus ours

# %% tags=["hide-input"]
ROWS = {  # Table 2's rows: model, and what it samples from, as points a component
    "VAE": ("vae", None),  # Its prior, which is fitted to nothing.
    "autoencoder, 100 components": ("autoencoder", 100),
    "autoencoder, 1000 components": ("autoencoder", 10),
    "AutoN-CODE, 100 components": ("ncode", 100),
    "AutoN-CODE, 1000 components": ("ncode", 10),
}


def score(runs_, model, points, fit="test"):
    """Distance as text, of the mixture with so many points a component, or of the prior."""
    density = (
        f"{fit}.{analysis.mixture_of(runs_[model], points)}"
        if points
        else "prior"
    )
    return numbers.spread(metric(runs_[model], f"{density}.distance"))


def both(runs_, model, points):
    """The distances of fits to training and to test embeddings; one, of a prior."""
    fits = image_generation.FITS if points else image_generation.FITS[:1]
    return " / ".join(score(runs_, model, points, fit) for fit in fits)


printed, elsewhere = (
    published.get("generation"),
    published.get("generation-ghosh"),
)
page.table(
    "tab-generation",
    "Table 2 anew. Paper: FID on CIFAR-10 with 10,000 test images, whose 100 and 1000 components have 100 and 10 points each. "
    "Ours: Fréchet distance of a digit classifier's features (of EfficientNet-Lite0's on CIFAR-10), at the same number of points a component; no FID. The VAE's samples are from its prior, which is fitted to neither. Mean ± "
    "standard deviation over seeds.",
    [
        "model",
        "paper, FID, CIFAR-10",
        "paper, FID, CelebA",
        *(f"{name}: fitted to training / test" for name in named),
    ],
    [
        [label, *printed.rows[label]]
        + [both(runs_, *ROWS[label]) for runs_ in named.values()]
        for label in printed.rows
    ],
)

# %% tags=["hide-input"]
page.ours(
    "generation",
    {},
    "none, since no distance measured here is in InceptionV3's features. The page has the models' order on other data.",
)

# %% tags=["hide-input"]
page.table(
    "tab-generation-elsewhere",
    f"FID of comparable models elsewhere, beside the paper's. Source: {elsewhere.source}.",
    ["model", *elsewhere.columns],
    [[label, *values] for label, values in elsewhere.rows.items()],
)

# %% tags=["hide-input"]
page.table(
    "tab-generation-parts",
    "What a distance is made of: as many real images, the test images' reconstructions, and samples from the mixture with "
    "ten points a component.",
    [
        "data",
        "model",
        "real images",
        "reconstructed",
        "fitted to training",
        "fitted to test",
        "copied",
    ],
    [
        [
            name,
            label(model),
            *(
                numbers.spread(metric(of_model, part))
                for part in ("floor", "reconstructed")
            ),
            *(score(runs_, model, 10, fit) for fit in image_generation.FITS),
            numbers.spread(
                analysis.of_density(
                    of_model, "both", analysis.mixture_of(of_model, 10), "copied"
                )
            ),
        ]
        for name, runs_ in named.items()
        for model, of_model in runs_.items()
    ],
)


# %%
def lower(runs_, a, b, points, fit):
    """Whether a's distance is below b's at so many points a component (95 %)."""
    mixture = analysis.mixture_of(runs_[a], points)
    return below(runs_, a, b, f"{fit}.{mixture}.distance")


behind = evaluated.evidence
note = (
    "Other data or narrower networks than Table 2's, and features of another network than InceptionV3: what is tested is the order. "
    "A comparison counts when the 95 % interval of the difference, paired by seed, lies on its side of zero."
)
checks = {}
for name, runs_ in compared.items():
    for fit in image_generation.FITS:
        for points in (100, 10):
            checks[
                f"{name}: AutoN-CODE below the autoencoder, {points} points a component, fitted to {fit}"
            ] = lower(runs_, "ncode", "autoencoder", points, fit)
        checks[
            f"{name}: the autoencoder below the VAE, 10 points a component, fitted to {fit}"
        ] = lower(runs_, "autoencoder", "vae", 10, fit)
        ten = analysis.mixture_of(runs_["autoencoder"], 10)
        ahead = metric(runs_["autoencoder"], f"{fit}.{ten}.distance") - metric(
            runs_["vae"], "prior.distance"
        )
        checks[
            f"{name}: the autoencoder below the VAE's prior, 10 points a component, fitted to {fit}"
        ] = is_below(interval(ahead))
gaps = [
    f"{name}: {numbers.interval(difference(runs_, 'ncode', 'autoencoder', 'reconstructed'), 3)}"
    for name, runs_ in compared.items()
]
page.verdict(
    "N17",
    verdict.n17(compared),
    checks,
    runs=behind,
    note=(
        f"{note} AutoN-CODE has its rival's learning rate. Its distances start from those of its reconstructions, which differ from the "
        f"autoencoder's by {'; '.join(gaps)} (95 % intervals)."
    ),
)


# %%
checks, shares = {}, []
for name, runs_ in compared.items():
    ours = runs_["ncode"]
    for fit in image_generation.FITS:
        checks[
            f"{name}: fitted to {fit}, the distance falls from 1 component to ten points each"
        ] = analysis.falls(ours, fit)
    one, ten = (analysis.overfits(ours, points) for points in (1, 10))
    checks |= {
        f"{name}: one point a component overfits (unseen embeddings are less likely than under ten)": one,
        f"{name}: ten points a component do not overfit (unseen embeddings are no less likely than under a hundred)": None
        if ten is None
        else not ten,
        f"{name}: ten points a component do not copy (at most 55 % of samples nearer to a fitted image)": is_below(
            analysis.copies(ours, analysis.mixture_of(ours, 10)), 0.55
        ),
    }
    shares += [
        f"{name}: {numbers.interval(analysis.copies(ours, analysis.mixture_of(ours, points)), 2)} at {points}"
        for points in (1, 10)
    ]
page.verdict(
    "N18",
    verdict.n18(compared),
    checks,
    runs=behind,
    note=(
        "AutoN-CODE's mixtures. The paper's 10,000 and 1,000 components have one and ten points each; so have ours here. "
        "All checks ask 95 % intervals. Overfitting is asked of likelihood, since a mixture's distance is to the images that it "
        "was fitted to; the embeddings that it is asked of are those of validation images. Share of samples nearer to a fitted image than to an unseen one, by points a "
        f"component, where 1/2 is no copying: {'; '.join(shares)}."
    ),
)

# %%
checks = {
    f"{name}: the double-size autoencoder above the autoencoder, {text}": below(
        runs_, "autoencoder", "double", f"{fit}.mixture-{k}.distance"
    )
    for name, runs_ in compared.items()
    if "double" in runs_
    for fit in image_generation.FITS
    for k, text in (
        (1, f"1 component, fitted to {fit}"),
        (10, f"10 components, fitted to {fit}"),
    )
}
page.verdict(
    "N19",
    verdict.n19(compared),
    checks,
    runs=[
        r
        for runs_ in compared.values()
        if "double" in runs_
        for of in runs_.values()
        for r in of
    ],
    note=note,
)

# %%
checks = {}
for name, runs_ in compared.items():
    x, values = analysis.curve(runs_["ncode"], "test", "kernel", "distance")
    small, large = (image_generation.name("kernel", v) for v in (x[0], x[-1]))
    checks |= {
        f"{name}: AutoN-CODE's distance rises from each variance to the next": every(
            is_above(interval(step)) for step in np.diff(values, axis=1).T
        ),
        **{
            f"{name}: at the smallest variance AutoN-CODE below: {label(other)}": below(
                runs_, "ncode", other, f"test.{small}.distance"
            )
            for other in runs_
            if other != "ncode"
        },
        f"{name}: at σ = {np.sqrt(x[-1]):g} its samples are no copies (at most 55 % nearer to a fitted image)": is_below(
            analysis.copies(runs_["ncode"], large), 0.55
        ),
    }
page.verdict(
    "N20",
    verdict.n20(compared),
    checks,
    runs=behind,
    note=(
        note
        + " σ is in units of the embeddings' standard deviation; the paper does not give its embeddings' scale. With noise of "
        "twice the embeddings' own spread, samples are hardly images any more: there it is no merit not to copy. At the smallest "
        "variance samples are reconstructions: what is lowest there is the reconstructions' distance."
    ),
)

# %% tags=["hide-input"]
if profile == "cpu":
    # A component for every point is reconstruction, drawn with replacement: the floor bounds what that adds.
    for of_model in records.values():
        limit = metric(
            of_model, f"test.{analysis.mixture_of(of_model, 1)}.distance"
        )
        best = metric(of_model, "reconstructed")
        assert (0.9 * best < limit).all() and (limit < best + floor).all()
gap = difference(records, "ncode", "autoencoder", "reconstructed")
word = {True: "better", False: "worse", None: "not told apart from its"}[
    is_below(gap)
]
Markdown(
    "**How much of it is reconstruction?** The more components, the nearer a distance comes to that of reconstructed test "
    f"images, the marks at the right of the curves. AutoN-CODE's minus the autoencoder's is {numbers.interval(gap, 3)} there (95 % "
    f"interval): its reconstructions are {word}{' than the' if word != 'not told apart from its' else ''} "
    "autoencoder's by this distance."
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
# - AutoN-CODE's normalisation and scale were chosen on validation images; the other autoencoders' settings were not
#   tuned.
# - `ncode.reproduction.metrics.features` has InceptionV3 (the extra `fid`, 95 MB of weights) and EfficientNet-Lite0 (the
#   extra `features`).
# - A mixture with as many components as points is taken in its limit, a narrow Gaussian at each: what the
#   iterations converge to (a test checks that).

# %% [markdown]
# ## What to remember
#
# - A mixture fitted to test embeddings and scored on the same test images rewards copying.
# - Likelihood of unseen embeddings, and the share of samples nearer to a fitted image, tell copying from quality.
# - A distance is an FID only with InceptionV3's features. Orders can be compared; our numbers and the paper's cannot.
#
# ## What it took

# %%
page.took(evaluated.every_run)
