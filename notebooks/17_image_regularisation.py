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
# whether a regularised controller γ generalises better, and whether a regularised flow needs fewer evaluations
# (an extension of Section 4.2 of {cite:t}`chalvidal2021`, which leaves regularised control for later).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU; "recorded": draws finished runs, trains nothing
runs = ""  # a folder to keep finished runs in; on Colab also on your drive: "/content/drive/MyDrive/ncode"

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
# - the **reading** of γ: linear, or with ReLU where we have tanh;
# - **weight decay** of γ's matrices (decoupled, {cite:t}`loshchilov2019`; what the heads share is free);
# - **dropout** of γ's hidden units;
# - the **deviation** of θ: we add $\lambda\,\bigl\langle\overline{((\theta_i - \bar\theta_i)/s_i)^2}\bigr\rangle$ to the
#   loss, where $\bar\theta$ is the batch's mean and $s_i$ an ordinary kernel's size;
# - a smaller **spread** of θ over images at initialisation;
# - the **learning rate**;
# - a **running cost** of the flow: the kinetic energy $\lambda\int_0^T |x'|^2\,dt$ or the squared Jacobian
#   $\lambda\int_0^T |\partial f/\partial x|^2\,dt$. The Jacobian is estimated along one random direction a solve. Both
#   are per dimension and the batch's mean {cite:p}`finlay2020`.
#
# **Recorded runs.** Each variation is trained once, on a seed of its own, with few training images. ANODE is tuned by
# learning rate and weight decay. We then train the variation with the lowest validation loss on the other seeds, beside
# the fixed configuration. The open loop is tuned *more* than ANODE here. Where it wins, that may be why; where it does
# not, more tuning is no excuse.
#
# **This execution** chooses nothing. Some variations of the open loop stand beside ANODE as it is. An interval above
# zero there is a hint, not a comparison of equals.

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
page.figure(**figures.tuning(tuned)) if tuned else page.say("Not recorded yet.")

# %% tags=["hide-input"]
page.table(**tables.gamma(chosen | varied))

# %% [markdown]
# ## Does a regularised flow need fewer evaluations?
#
# Of the recorded weights λ we take the one with the fewest evaluations whose validation accuracy is at most one point
# below that without λ.

# %% tags=["hide-input"]
page.say(analysis.saves_in_words(chosen | varied))

# %% tags=["hide-input"]
page.table(**tables.calmed(chosen | varied))

# %% [markdown]
# ## What to remember
#
# - One change at a time, chosen on validation images, on a seed that no comparison uses: only then is a difference on
#   test images worth an interval.
# - γ reads raw pixels through one matrix. With few images its training accuracy runs ahead of its test accuracy;
#   {numref}`tab-images-gamma` says by how much each remedy closes the gap.
# - A running cost is the price tag of a flow: {numref}`tab-images-calm` says what evaluations it saves, and what
#   accuracy it costs.
#
# ## What it took

# %%
page.took(every_run)
