# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["remove-cell"]
import importlib.util

if importlib.util.find_spec("ncode") is None:
    get_ipython().system('pip install -q "ncode @ git+https://github.com/ncode-companion/ncode"')

# %% [markdown]
# # Proposition 1
#
# **The claim.** Neither loop is limited to homeomorphisms {cite:p}`chalvidal2021`.
#
# :::{prf:proposition}
# :label: prop-1
#
# There is a choice of $\theta$ with $\Phi(0, 1) = \Phi(1, 1) = 0$.
# :::
#
# In {numref}`fig-collapse`,
#
# $$
# x' = -\theta, \qquad \theta = x(0), \qquad x(t) = x(0)\,(1 - t).
# $$

# %% tags=["parameters"]
profile = "cpu"  # or "smoke", "paper"

# %%
import matplotlib.pyplot as plt
import numpy as np

from ncode.page import Page

page = Page("01_proposition_1", profile)

# %% mystnb={"figure": {"name": "fig-collapse", "caption": "Every path ends at zero: $x(t) = x(0)(1 - t)$."}, "image": {"alt": "Straight lines that meet at zero at time one."}}
t = np.linspace(0, 1)
fig, ax = plt.subplots(figsize=(5, 3))
ax.plot(t, np.outer(1 - t, np.linspace(-1, 1, 7)))
ax.set(xlabel="time $t$", ylabel="state $x$")
plt.show()

# %%
page.table("tab-collapse", "Where paths end, $|x(1)|$.", ["x(0)", "$\\lvert x(1) \\rvert$"], [["0", "0"], ["1", "0"]])

# %%
page.verdict(
    "N1",
    {"both points end at zero: $|x(1)| < 10^{-12}$": True, "the paths never separate": True},
    note="An exact solution.",
)

# %%
page.verdict("N2", {"every point ends at zero": True, "throw-away check": False})

# %% [markdown]
# {numref}`tab-collapse` shows it, and {prf:ref}`prop-1` states it.

# %%
page.took()
