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
# # Augmentation on images
#
# ANODE appends channels of zeros to an image before the flow. You will learn what these channels buy on images, at
# comparable numbers of parameters (Section 5.2 of {cite:t}`dupont2019`), and where N-CODE stands in the same plots,
# which neither paper shows.

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU; "recorded": draws finished runs, trains nothing
runs = ""  # a folder to keep finished runs in; on Colab also on your drive: "/content/drive/MyDrive/ncode"

# %% tags=["hide-input"]
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.experiments.image_classification import (
    analysis,
    augmentation,
    figures,
    sets,
    verdict,
)
from ncode.reproduction.metrics import comparison
from ncode.reproduction.publishing.display import Page

page = Page("16_augmentation_on_images", profile, runs)

# %% [markdown]
# ## The claim
#
# **A5.** Lower training loss, and better generalisation, on MNIST, CIFAR-10, SVHN and 64×64 ImageNet at comparable
# parameter counts.
#
# **A4**, for images: ANODE needs fewer function evaluations (NFE), and NODE's grow during training. Its verdict is on
# {doc}`15_augmented_neural_odes`, which asks both of the recorded runs below as well.
#
# ## The setting
#
# The models are those of {doc}`10_image_classification`: one convolutional block as the field, a linear readout of
# $x(T)$, nothing before the flow. ANODE appends $p$ channels of zeros.
#
# **What are comparable parameter counts?** ANODE's readout sees $p$ more channels, so it is larger. In small models the
# readout is most of the model. ANODE's authors count it. There are two ways to compare, and we take both:
#
# - **NODE**: as many filters as give its *field* ANODE's number of parameters;
# - **NODE, wide**: as many as give the *whole model* ANODE's number of parameters. This is the paper's way.

# %% tags=["hide-input"]
page.table(**augmentation.parameters())

# %% [markdown]
# ## The run

# %%
settings, options = page.settings, page.options
seeds = options["seeds"]
at_hand, missing = sets.at_hand(options["sets"])
page.say(sets.runs_on(at_hand, missing))

# %% [markdown]
# Of several learning rates all models get the one at which ANODE has the lowest validation loss, on a seed that no
# comparison uses.

# %%
models = (*image_classification.MODELS, image_classification.WIDE)
trials, fixed = analysis.tuned(settings, at_hand, options["rates"])
live = {
    name: image_classification.experiment.sweep(models, seeds, **fixed[name])
    for name in at_hand
}

# %% [markdown]
# **Recorded runs** are longer. They are the runs of {doc}`10_image_classification`, and the wide NODE beside them where
# it has been recorded.

# %% tags=["hide-input"]
recorded = sets.whole_recordings(wide=True)
compared = sets.beside(recorded, live)
weighed = comparison.several(compared)
page.say(sets.budgets(compared))

# %% [markdown]
# ## What came out
#
# ### ANODE against both NODEs, and N-CODE against ANODE

# %% tags=["hide-input"]
page.table(**augmentation.differences(compared))

# %% [markdown]
# ### Over training
#
# All solves in training take the same number of evaluations where steps are fixed. We therefore show what dopri5 needs
# for the same flow, at a tolerance of $10^{-3}$, on a few validation images.

# %% tags=["hide-input"]
cifar = sets.fullest(recorded, "cifar10")
page.figure(
    **figures.augmentation(cifar, "fig-augmentation-cifar10", "recorded")
) if cifar else page.say("CIFAR-10: not recorded yet.")

# %% tags=["hide-input"]
mnist = sets.fullest(recorded, "mnist")
page.figure(
    **figures.augmentation(mnist, "fig-augmentation-mnist", "recorded"),
    folded="The same on MNIST, recorded",
) if mnist else page.say("MNIST: not recorded yet.")

# %% tags=["hide-input"]
first = next(iter(live.values()))
page.figure(
    **figures.augmentation(first, "fig-augmentation-live", "this execution"),
    folded="The same in this execution",
)

# %% tags=["hide-input"]
page.table(**augmentation.results(compared))

# %% [markdown]
# ## Paper versus ours, with a verdict
#
# The paper shows its image results as curves. We ask four questions of every data set with more than one seed. Is
# ANODE's training loss lower? Is its test loss lower? Is its accuracy higher? And is its *gap* between test and
# training loss smaller? (A model that fits better can have a lower test loss and a larger gap.) The claim is about
# comparable numbers of parameters, so we ask against the wide NODE. The narrow one has a field of ANODE's size and a
# fraction of its readout, and stands in the tables alone.

# %%
page.verdict(
    "A5",
    verdict.a5(augmentation.asked(weighed), image_classification.WIDE),
    augmentation.context(weighed),
    runs=augmentation.behind(weighed),
    note="Small images, few filters and few epochs: weak evidence. The learning rate is the one that is best for ANODE, "
    "which favours the claim. On SVHN and on the folder of 64×64 pictures no model was trained here. A test of the "
    "library reads files in their layouts and trains on them, which is no evidence.",
)

# %% tags=["hide-input"]
page.say(augmentation.instabilities(compared))

# %% [markdown]
# With fixed steps a solve can neither underflow nor take too many evaluations. Only adaptive training, as in the
# `paper` profile, can fail as the paper describes. {doc}`15_augmented_neural_odes` provokes it on small functions.

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
page.readings()

# %% [markdown]
# Besides:
#
# - We measure the number of evaluations beside the training. It cannot feed back into it, because rk4's steps are
#   fixed.
# - Validation images take the test images' place in the curves. We look at the test set once, at the end. The authors
#   draw no validation set.
#
# ## What to remember
#
# - "At comparable parameters" has two readings, because added channels enlarge the readout, too. Say which one you mean.
# - A lower training loss is not better generalisation. Look at the test loss and at the gap.
# - Fixed steps hide what a flow costs. Count the evaluations of an adaptive solve.
#
# ## What it took

# %%
every_run = [run for of in trials.values() for run in of]
every_run += [run for made in live.values() for of in made.values() for run in of]
page.took(every_run)
