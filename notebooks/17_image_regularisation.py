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
# # Regularised control of images
#
# The open loop of {doc}`10_image_classification` can overfit, and its flow takes many evaluations. You will learn
# whether a regularised controller γ generalises better, whether it steers still, what holds the open loop back, and
# whether a regularised flow needs fewer evaluations. The paper does not study this (Section 4.2 of
# {cite:t}`chalvidal2021` leaves regularised control for later).

# %% tags=["parameters"]
# "smoke": seconds; "cpu": minutes; "paper": a GPU; "recorded": finished runs
profile = "cpu"
# where finished runs are kept; on Colab also "/content/drive/MyDrive/ncode"
runs = ""

# %% tags=["hide-input"]
from ncode.reproduction.experiments.image_regularisation import (
    analysis,
    figures,
    tables,
)
from ncode.reproduction.publishing.display import Page

page = Page("17_image_regularisation", profile, runs)

# %% [markdown]
# ## The setting
#
# The models are those of {doc}`10_image_classification`. We vary the open loop in one thing at a time:
#
# - the **reading** of γ: linear, or with ReLU instead of tanh;
# - **weight decay** of γ's matrices (decoupled, {cite:t}`loshchilov2019`), but not of the kernels that all images share;
# - **dropout** of γ's hidden units;
# - the **deviation** of θ: we add $\lambda\,\bigl\langle\overline{((\theta_i - \bar\theta_i)/s_i)^2}\bigr\rangle$ to the
#   loss, where $\bar\theta$ is the batch's mean and $s_i$ an ordinary kernel's size;
# - a smaller **spread** of θ over images at initialisation;
# - the **learning rate**;
# - a **running cost** of the flow: the kinetic energy $\lambda\int_0^T |x'|^2\,dt$ or the squared Jacobian
#   $\lambda\int_0^T |\partial f/\partial x|^2\,dt$, as a mean over dimensions and the batch {cite:p}`finlay2020`. We
#   estimate the Jacobian along one random direction for each solve.
#
# **Recorded runs.** We train each variation once, with few training images, on a seed that is used for nothing else. For
# ANODE we vary the learning rate and the weight decay. Then we train the variation with the lowest validation loss on
# the other seeds, beside the unchanged configuration. So the open loop is tuned *more* than ANODE. If it wins, that may
# be the reason. If it does not, tuning was not what it lacked.
#
# **This execution** chooses nothing. It sets some variations of the open loop beside an untuned ANODE. An interval above
# zero is then a hint, not a fair comparison.

# %%
names = page.options["variations"]
names

# %% [markdown]
# ## The run

# %%
varied, every_run = analysis.varied(page.profile, names)
tuned, chosen = analysis.regularised()

# %% [markdown]
# ## Can γ be made to generalise?

# %% tags=["hide-input"]
page.say(analysis.generalises_in_words(chosen))

# %% tags=["hide-input"]
page.figure(**figures.tuning(tuned)) if tuned else None

# %% tags=["hide-input"]
page.table(**tables.gamma(chosen | varied))

# %% [markdown]
# ## Is it still an open loop?
#
# γ's heads share a bias, the kernels of an ordinary block, which decay leaves free. If decay takes all of γ's matrices, the
# open loop is ANODE, with that bias for its kernels. So decay can bring it to ANODE's accuracy in two ways: γ
# generalises better, or it steers no more.
#
# To tell these apart we train both models at every one of a few learning rates with every one of a few decays, so both
# have as many trials. Validation images choose, on a seed that is used for nothing else. Then we train the best of each on
# other seeds, and the open loop with every decay at its rate. For each we measure how much θ still differs between
# images. We also give the trained open loop one θ for all images, the mean over training images: if its accuracy stays,
# steering did not make it.

# %% tags=["hide-input"]
studied = analysis.studied("decay")
page.say(analysis.passes_in_words(studied))

# %% tags=["hide-input"]
drawn = any(map(figures.every_decay, studied.values()))
page.figure(**figures.decayed(studied)) if drawn else None

# %% tags=["hide-input"]
page.table(**tables.decayed(studied)) if studied else None

# %% [markdown]
# ## What holds the open loop back?
#
# We take away or change one thing at a time. Each variant is tried at as many learning rates, on the seed that is used for
# nothing else, and compared at its own best:
#
# - **the solver**: twice the steps, for the open loop and for ANODE;
# - **the conditioning**: a tenth of the rate for γ's matrices;
# - **what γ reads**: nothing, so all images get one θ that γ's parameters make; another image of the batch, so θ differs but says
#   nothing about the image; or two layers of convolutions instead of pixels;
# - **size**: an ANODE with as many parameters as the open loop.
#
# The open loop whose γ reads nothing is an ANODE with other parameters. What lies between it and ANODE is due to how γ
# makes θ. What lies between it and an open loop, whatever that reads, is due to steering.

# %% tags=["hide-input"]
causes = analysis.studied("causes")
page.say(analysis.causes_in_words(causes))

# %% tags=["hide-input"]
page.figure(**figures.causes(causes)) if causes else None

# %% tags=["hide-input"]
page.table(**tables.causes(causes)) if causes else None

# %% [markdown]
# ## Does a regularised flow need fewer evaluations?
#
# Among the recorded weights λ, we look only at those whose validation accuracy is at most one percentage point below the
# accuracy without a running cost. Of these we take the one with the fewest evaluations.

# %% tags=["hide-input"]
page.say(analysis.saves_in_words(chosen | varied))

# %% tags=["hide-input"]
page.table(**tables.calmed(chosen | varied))

# %% [markdown]
# ## What to remember
#
# - Change one thing at a time. Choose it on validation images, on a seed that no comparison uses. Only then does an
#   interval on test images mean something.
# - γ reads raw pixels through one matrix. Training accuracy says how well that fits, and the gap to test accuracy how far
#   it overfits. {numref}`tab-images-gamma` sets both beside ANODE's, for every remedy.
# - A remedy can work by removing what it was to cure. Measure what is left of it: {numref}`tab-images-decay` has the
#   deviation of θ, and the accuracy with one θ for all images.
# - To learn what holds a model back, change one thing at a time, and give each variant as many trials.
# - A running cost can make a flow cheaper. {numref}`tab-images-calm` says how many evaluations it saves, and how much
#   accuracy it costs.
#
# ## What it took

# %%
page.took(every_run)
