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
# # Autoencoding
#
# AutoN-CODE encodes an image as a vector field. All images share one starting point. Each field carries it to another
# end, and the decoder turns the end into an image. You will learn what such a code is, whether its flow is worth more
# than a linear layer, what its normalisation is for, and whether images form along the way (Section 4.4, C.4, Table A.1,
# Figs. 7 and A.4 to A.6 of {cite:t}`chalvidal2021`).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
import dataclasses

import torch

from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import (
    analysis,
    evaluation,
    figures,
    hours,
    live,
    notes,
    pictures,
    tables,
    verdict,
)
from ncode.reproduction.experiments.autoencoding.study import Study, follow
from ncode.reproduction.metrics import comparison
from ncode.reproduction.models.autoencoders import NORMALISATIONS
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs import recordings

page = Page("11_autoencoding", profile, runs)

# %% [markdown]
# ## The claim
#
# **N16.** A linear latent ODE is more expressive than a discrete linear layer, even with only two non-zero entries in
# each row and as many parameters as a variational autoencoder (VAE).
#
# **N21.** Component-wise normalisation of the control is crucial. The horizon $[0, 10]$ gives good results.
#
# **N24.** Images form along the controlled *orbit*, the path $x(t)$.

# %% [markdown]
# ## The setting
#
# An autoencoder's code is a point. AutoN-CODE's code is a *control*: the encoder gives every image a matrix θ of its
# own. θ drives a flow, and the decoder reads the end of the flow:
#
# $$x' = \theta x, \qquad x(0) = x_0 \sim \mathcal N(0, I), \qquad x(T) = e^{T\theta}x_0, \qquad T = 10.$$ (eq-auto-flow)
#
# We draw $x_0$ once, and all images share it. θ has two non-zero entries in every row, at fixed places. We normalise
# them before the flow. Everything else is an ordinary autoencoder.

# %% tags=["hide-input"]
page.figure(**figures.diagram())

# %% tags=["hide-input"]
page.table(
    **tables.architectures(), folded="Table A.1, as we read it: the networks"
)

# %% [markdown]
# **We solve the flow exactly**, with {func}`~ncode.solvers.linear.sparse_linear_flow`. There is no tolerance and no step
# size, and one call gives $x(t)$ at any number of times.
#
# **Horizon and scale are one number.** $e^{T\theta}$ depends on $T\theta$ alone. So horizon 10 with entries of scale $s$
# gives the same model as horizon 1 with scale $10s$, for every normalisation that ends in a factor $s$:

# %%
base = autoencoding.Config("ncode", 0, width=0.1, scale=0.2, horizon=10.0)
long = autoencoding.build(base)
short = autoencoding.build(dataclasses.replace(base, scale=2.0, horizon=1.0))
noise = torch.rand(8, 1, 28, 28)
with torch.no_grad():
    ends = [model.latent(model.encode(noise)) for model in (long, short)]
torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-5)

# %% [markdown]
# So the horizon $[0, 10]$ can only work together with the scale that the normalisation sets. We study the scale.
#
# The paper does not say which normalisation it means. We try five. Each multiplies by a scale. We choose its scale on
# validation images, with a seed that no comparison uses:
#
# - **row** divides the entries of a row by their Euclidean norm;
# - **tanh** bounds every entry;
# - **batch** standardises every entry over the batch;
# - **sample** divides all entries of an image by their root mean square;
# - **none** only multiplies by the scale.

# %% tags=["hide-output"]
settings, missing = evaluation.at_hand(page.settings)
seeds, scales = page.options["seeds"], page.options["scales"]
page.options | settings

# %% [markdown]
# ## The run

# %%
page.say(evaluation.runs_on(settings, missing))

# %% [markdown]
# We train every normalisation at the scale that suits it best. The component-wise one with the lowest validation loss
# stands for AutoN-CODE. We train its rivals in the same way.

# %%
base = autoencoding.Config("ncode", 0, **settings)
tuned = {
    name: analysis.tuned(
        dataclasses.replace(base, normalisation=name), scales, seeds
    )
    for name in NORMALISATIONS
}
best = analysis.chosen(base, scales)

# %%
rivals = {
    model: analysis.sweep(dataclasses.replace(best, model=model), seeds)
    for model in autoencoding.BOTTLENECKS
    if model != "ncode"
}
study = Study(best, scales, seeds, tuned, rivals, follow(best, seeds))

# %% [markdown]
# **Recorded runs** are longer than a page may take. They use all of MNIST and a JPEG copy of CIFAR-10. A recording that
# was cut short has fewer seeds, the same ones for all models.

# %% tags=["hide-input"]
plans = autoencoding.experiment.planned()
page.say(
    evaluation.recorded_in_words(plans),
    folded="The recorded runs of this page",
)

# %% [markdown]
# ## What came out
#
# ### A linear bottleneck with as many parameters
#
# "A linear bottleneck with as many parameters" has two readings. The first replaces the flow by a learned **linear map**
# and keeps everything else: the encoder, its two numbers for each latent coordinate, and the decoder. The second is a
# plain **autoencoder**, with the code size that gives it as many parameters. Within a column all train in the same way.
# The printed networks have the paper's learning rate. The others have the rate that suits the plain autoencoder on MNIST.
# On this execution's digits the same rate was the best of three for the plain autoencoder, in a trial that we did not
# record.
#
# We chose AutoN-CODE's normalisation and scale. The linear map of the first reading has neither, because it reads the
# code as it is. So there is a control experiment: a **linear map of θ** gets the same normalised and scaled entries that
# drive the flow. Only a gain over this map is due to the flow.

# %% tags=["hide-input"]
page.table(**tables.bottlenecks(study))

# %% [markdown]
# {numref}`tab-auto-recorded` adds the other rivals. For the printed networks the learning rate is the paper's. For the others
# we chose it first: all models share the rate that is best for the plain autoencoder. Then we chose AutoN-CODE's
# normalisation and scale, by validation loss on a seed that is used for nothing else. On CIFAR-10 that rate is the lowest of those that we tried. So the tuning is not equal: AutoN-CODE
# has a normalisation and a scale of its own, and a rate that was chosen for its rival.

# %% tags=["hide-input"]
page.table(**tables.recorded())

# %% tags=["hide-input"]
page.table(
    **tables.tuning(), folded="Rates, normalisations and scales: what was tried"
)

# %% [markdown]
# ### Reconstructions along the orbit

# %% tags=["hide-input"]
page.figure(**figures.orbit(study.ncode[0]))

# %% tags=["hide-input"]
ours = study.ncode[0]
page.live(
    "fig-auto-live",
    "orbit",
    caption="The orbit, live: the trained decoder of the first seed runs in this page, with rounded weights. Move t to "
    "see what the decoder makes of x(t). Drag in the third square to mix three codes.",
    alt="A digit decoded along the latent path, the digit itself, and a mixture of three codes.",
    data=live.data(ours.model(), live.samples(ours)),
    still=figures.orbits(*analysis.orbit_picture(ours)),
)

# %% tags=["hide-input"]
ORBITS = ("autoencoding_mnist_printed_orbit", "autoencoding_cifar10_orbit")
page.say(pictures.introduced(*ORBITS))

# %% tags=["hide-input"]
page.figure(
    **figures.recorded_orbit(ORBITS[0], "mnist", "Fig. A.4"),
    folded="Orbits of MNIST's digits, recorded",
) if recordings.find_picture(ORBITS[0]) else None

# %% tags=["hide-input"]
page.figure(
    **figures.recorded_orbit(ORBITS[1], "cifar10", "Fig. A.5"),
    folded="Orbits of CIFAR-10's images, recorded",
) if recordings.find_picture(ORBITS[1]) else None

# %% [markdown]
# Fig. A.6 shows CelebA, on which we did not train.
#
# The claim says that images form *along* the orbit. Two findings could refute it. The image might appear only in the last
# moment. Or a path without any flow might show the same. For the second we take the plain autoencoder, and in it the
# straight line from the mean latent point to the image's own.

# %% tags=["hide-input"]
page.figure(**figures.formation(study))

# %% tags=["hide-input"]
formations = study.formations
page.table(**tables.formation(formations), folded="How images form, in numbers")

# %% [markdown]
# ### Normalisation and scale
#
# In {numref}`fig-auto-scale` a lower curve is better. The lower axis is the scale; the upper axis is the same as a
# horizon. A point is missing where training failed: 20 steps in a row had no finite loss, or an image's $x(T)$ became
# too large for a floating-point number.
#
# At the left end the flow is almost linear in its control. As $s \to 0$, $x(T) = x_0 + T\theta x_0 + O(s^2)$: the flow
# becomes a *linear* map of its control, and AutoN-CODE an autoencoder with a linear bottleneck. If the smallest scale is
# the best one, the flow adds nothing.

# %% tags=["hide-input"]
page.figure(**figures.scales(study))

# %% tags=["hide-input"]
page.table(**tables.normalisations(study))

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper states these claims in words, without numbers.

# %%
page.verdict(
    "N16",
    verdict.n16(study.compared | study.pairs),
    verdict.n16_context(study.compared | study.pairs | study.at_other_scale),
    runs=evaluation.every(study.bottlenecks | study.pairs),
    note=notes.n16(study),
)

# %%
page.verdict(
    "N21",
    verdict.n21(
        study.normalisations, autoencoding.COMPONENT_WISE, study.horizons
    ),
    verdict.n21_context(study.normalisations, study.learnt, max(scales)),
    runs=evaluation.every(study.normalisations),
    note=notes.n21(study),
)

# %%
several = comparison.several(formations)
page.verdict(
    "N24",
    verdict.n24(several),
    verdict.n24_context(several),
    runs=evaluation.every(several),
    note=notes.n24(several),
)

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
page.readings()

# %% [markdown]
# No run uses CelebA. It needs the authors' archive and a GPU. Our plan for it is tested on random images of its shape.

# %% tags=["hide-input"]
page.say(hours.plan_in_words(), folded="What the paper profile would take")

# %% [markdown]
# ## What to remember
#
# - AutoN-CODE's code is a matrix. It drives a linear flow from one shared start. Only the product of horizon and scale
#   matters.
# - At a small scale the flow is nearly a linear map. The fair rival is a linear map of the same normalised entries.
# - Images form along a straight line in a plain autoencoder, too. The orbit has to beat that.
#
# ## What it took

# %%
page.took(study.every_run)
