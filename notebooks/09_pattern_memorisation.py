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
# # Pattern memorisation
#
# A network remembers patterns that it saw for half a second each, in synapses that move while the patterns are shown.
# You will learn how, how well it remembers, and what training adds to the rule that it starts from (Section 4.3, Figs. 6
# and A.3 of {cite:t}`chalvidal2021`; the task is that of {cite:t}`miconi2018`).

# %% tags=["parameters"]
profile = "cpu"  # "smoke": seconds, "cpu": minutes, "paper": a GPU; "recorded": draws finished runs, trains nothing
runs = ""  # a folder to keep finished runs in; on Colab also on your drive: "/content/drive/MyDrive/ncode"

# %% tags=["hide-input"]
from ncode.reproduction.experiments.pattern_memorisation import (
    analysis,
    figures,
    live,
    sets,
    tables,
    verdict,
)
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page

page = Page("09_pattern_memorisation", profile, runs)

# %% [markdown]
# ## The claim
#
# **N14.** Closed-loop N-CODE memorises patterns in real time. It learns to do so within several hundred episodes, and its
# bit error is below 1 % in all cases: 3, 5 and 10 patterns, 50, 70 and 90 % degraded (2, 5 and 10 in Section 4.3).
#
# **N15.** An LSTM, an ODE-RNN and a NODE with data control plateau: the LSTM just under the chance level of 0.25, the
# other two at 17.5 %.
#
# The paper does not ask what learning adds to the rule it starts from. This page does.

# %% [markdown]
# ## The setting
#
# An episode draws $m$ random patterns of $n$ bits, $\pm 1$. Each is shown twice, in random order, for 0.5 s. Then one
# of them comes back with a share $p$ of its bits set to 0, and after another 0.5 s the sign of every bit must be
# right. The patterns are new in every episode. What a model learns between episodes is *how to* remember.
#
# The closed loop is a network whose synapses θ are its control variables (Eq. 7 of the paper),
#
# $$
# x' = \tanh(\theta x), \qquad \theta' = \mu \circ x x^\top, \qquad \theta(0) = 0 .
# $$ (eq-memory)
#
# At each presentation $x$ is set to the stimulus; θ is carried through the episode. Only $\mu \in \mathbb{R}^{n \times n}$ is
# trained: how fast, and in which direction, each synapse changes when its two ends are active together. For
# $\mu_{ij} = c > 0$ this is Hebb's rule, and nothing has been learned.
#
# Three things can be said before anything is run.
#
# :::{prf:proposition} Crosstalk
# :label: prop-memory-crosstalk
# Let known bits be held at their stimulus, and $\mu_{ij} = c$ with $c \to 0$. The drive of an unknown bit of the
# query is then proportional to $n(1-p)\,\xi_i + \sum_{k=2}^{m} \xi_i^k \sum_j \xi_j^k \xi_j$, the sum over the known
# bits $j$, with signal-to-noise ratio $\sqrt{n(1-p)/(m-1)}$. For large $n$ the bit is wrong with probability
# $\Phi\bigl(-\sqrt{n(1-p)/(m-1)}\bigr)$.
# :::
#
# :::{prf:proof}
# Held bits make $\theta = c \sum_k \xi^k \xi^{k\top}$ after two shows of half a second each. Apply it to the query:
# pattern 1 adds $n(1-p)$ times its own bit, and each of the others a sum of $n(1-p)$ random signs, of variance
# $n(1-p)$.
# :::
#
# :::{prf:proposition} The floor of the squared error
# :label: prop-memory-floor
# A bit that starts at 0 is at most 0.5 in size after 0.5 s. The mean squared error is therefore at least
# $p\,(1 - 0.5)^2 = p/4$ from the unknown bits, even where no bit has the wrong sign.
# :::
#
# It follows from $|\tanh| \le 1$. Training on the squared error pushes the unknown bits towards 0.5, which takes
# *strong* synapses; the sign needs none.
#
# :::{prf:proposition} What there is to learn
# :label: prop-memory-symmetry
# The expected loss over episodes does not change when the bits are permuted, $\mu \mapsto P \mu P^\top$. At
# $\mu = a I + b\,(\mathbf{1}\mathbf{1}^\top - I)$ its gradient is therefore of that same form: gradient descent on
# the expected loss that starts there never leaves these two numbers.
# :::
#
# :::{prf:proof}
# Patterns of independent signs, and the choice of the bits that are set to 0, have the same distribution after any permutation $P$
# of the bits, and the flow commutes with it. So $L(P \mu P^\top) = L(\mu)$, and a gradient at a $\mu$ that every $P$ fixes is itself
# fixed by every $P$: one number on the diagonal and one off it.
# :::
#
# The proposition speaks of a symmetric start. From a random one it only suggests that there is nothing else to find; a
# histogram below looks whether there is.

# %% [markdown]
# ## The run
#
# Every learner goes through the same interface and the same episodes. N-CODE takes one episode a step with Adam at
# 3e-4; a baseline takes 16, with the learning rate that did best on validation episodes of a recorded sweep. The
# ODE-RNN and the NODE have as many parameters as μ, the LSTM more, as in the paper.

# %% tags=["hide-output"]
bits, fig6 = page.options["bits"], page.options["fig6"]
found = sets.run(page.options)
page.options

# %% [markdown]
# Longer runs are **recorded**: made once by `python -m ncode.reproduction.runs record pattern_memorisation`, and kept as small files
# with their provenance. This page says where it draws on them.

# %%
recorded = sets.recorded()
large = recorded["1000"]

# %% tags=["hide-input"]
page.say("\n".join(sets.described()))

# %% [markdown]
# ## What came out
#
# ### An episode
#
# A real episode and the N-CODE that has been trained here, first seed: what is shown, and what the synapses and the
# state do meanwhile.

# %%
shown = sets.episode(found.example)

# %% tags=["hide-input"]
page.figure(
    figures.episode(shown.stimuli, shown.output, shown.target),
    name="fig-memory-episode",
    caption="Fig. 6, left, anew: one episode, the first bits drawn as a square. Each pattern is shown twice, in random "
    "order; part of the query's bits are set to zero (grey). The output's unknown bits can reach only half their size in half "
    "a second, so they look paler. Their signs are what counts. The paper draws a sketch with five bits.",
    alt="A row of black and white squares: the presentations of the patterns, the query with grey cells, the output, and "
    "the target, which agrees in sign.",
)

# %% tags=["hide-input"]
page.live(
    "fig-memory-live",
    "memory",
    caption="An episode, live: Eq. 7 runs in this page, with the rule that is never trained. Play it: each presentation writes its "
    "pattern into the synapses θ, and the query completes the bits that are missing.",
    alt="Squares of bits: the stimulus, the state, the synapses and the pattern that is asked for.",
    data=live.data(live.untrained()),
    still=live.still(live.untrained()),
)

# %% tags=["hide-input"]
page.figure(
    figures.motion(shown.stimuli, shown.t, shown.x, shown.theta, shown.duration),
    name="fig-memory-motion",
    caption="The same episode in slow motion: some bits of x(t), and some synapses θ(t). A line marks every new stimulus. x "
    "is set to each stimulus; θ goes on from where it was. In the query (shaded) the unknown bits, in blue, leave zero in "
    "the direction that θ remembers.",
    alt="Two panels against time. Left: state of some bits, restarting at plus or minus one at each presentation, and in "
    "the query some that start at zero and grow. Right: synapses moving in piecewise smooth curves.",
)

# %% tags=["hide-input"]
worst = sets.solver_errors(found.example)
page.say(
    "One Runge-Kutta step a presentation is enough. The largest error of any bit of four outputs, against a tight solve in",
    "double precision:",
    ", ".join(f"{numbers.number(e)} ({name})" for name, e in worst.items()) + ".",
)

# %% [markdown]
# ### Learning curves
#
# The axis counts *episodes*, whatever the batch. Each training episode is new, so its error before the step is a
# test error.

# %%
here, before = f"this execution, n = {bits}", "recorded, n = 100; N-CODE n = 1000"
learners = {
    here: [*found.learning, *analysis.select(found.ours, **fig6)],
    before: [
        *sets.curves(recorded["baselines"]),
        *analysis.select(large, learner="ncode", **fig6),
    ],
}

# %% tags=["hide-input"]
page.figure(
    figures.learning(learners, {here: found.controls, before: large}, fig6),
    name="fig-memory-curves",
    caption="Fig. 6, right, anew. Left: this execution. Right: recorded runs; the baselines see more than a hundred times "
    "as many episodes as N-CODE, and have fewer bits. Median over seeds, and range. Dotted: chance with the known bits "
    "copied (half of p) and without. The untrained Hebbian rule has seen no training episode; it is a horizontal line near zero, "
    "as is the nearest neighbour.",
    alt="Two panels of bit error against episodes on a logarithmic axis. N-CODE falls to near zero within a few hundred "
    "episodes; the baselines fall slowly and stay far above it.",
)

# %% [markdown]
# ### Every case of Fig. A.3
#
# {numref}`fig-memory-episodes` draws the recorded training at the paper's full size as the paper does, over episodes.
# {numref}`fig-memory-cases` shows where every case ends, and what the untrained Hebbian rule does on the same test
# episodes.

# %% tags=["hide-input"]
page.figure(
    figures.over_episodes(large),
    name="fig-memory-episodes",
    caption="Fig. A.3 anew, from recorded runs: bit error over training episodes on the paper's full-size task, by the "
    "proportion of degraded bits (left) and by the number of patterns in an episode (right). Median and range over "
    "seeds. Dotted: the claim's limit. Ours train for fewer episodes than the paper's.",
    alt="Two panels of bit error over training episodes. All curves fall; those with more degraded bits or more patterns "
    "fall later.",
)

# %% tags=["hide-input"]
full = "recorded, n = 1000"
page.figure(
    figures.cases(
        {full: large, here: found.ours}, {full: large, here: found.controls}
    ),
    name="fig-memory-cases",
    caption="Bit error on unseen episodes after training (dots: every seed), against the number of patterns, one line for "
    "each degradation p. Dashed: the untrained Hebbian rule with constant μ. Dotted: the claim's limit. Errors below "
    f"{numbers.setting(figures.LEAST)} are drawn there.",
    alt="Two panels of bit error on a logarithmic axis against the number of patterns. With many bits the errors are "
    "small; with few bits and many patterns or strong degradation they lie well above the dotted line.",
)

# %% [markdown]
# ### What learning does to μ
#
# From a symmetric start there are two numbers to learn ({prf:ref}`prop-memory-symmetry`). From a random start, the entries
# off the diagonal move up together, and those on it move down. The lines below the histogram say how much their spread
# grows.

# %% tags=["hide-input"]
page.figure(
    figures.weights(shown.before, shown.after),
    name="fig-memory-mu",
    caption="Entries of μ before and after training, first seed of the episode above. The mean moves from zero to a positive "
    "value, Hebb's sign; the diagonal (ticks) is the second number.",
    alt="Two overlapping bell-shaped histograms; the one after training is shifted to positive values.",
)

# %% tags=["hide-input"]
page.say(tables.weights(shown.before, shown.after))

# %% [markdown]
# ### Crosstalk, predicted and measured
#
# {prf:ref}`prop-memory-crosstalk` is about clamped bits and weak synapses. There it is right. With $\mu = 1/n$ the
# state moves away from the stimulus while θ is formed, and the error is larger. After training it is larger still, in
# all but the easiest cases.


# %%
against = analysis.against_crosstalk(found.ours, found.controls, found.weak)

# %% tags=["hide-input"]
page.figure(
    figures.crosstalk(against),
    name="fig-memory-crosstalk",
    caption="Share of the unknown bits that come out wrong, against the prediction from crosstalk alone; one point a case "
    "of m and p. The line is the prediction. Very small shares are left out.",
    alt="Scatter plot with logarithmic axes and a diagonal. The weak, clamped rule's points lie on it, those of the "
    "stronger rule above, those of trained N-CODE highest.",
)

# %%
factors = analysis.factors(against["untrained, weak and clamped"])
assert page.profile == "smoke" or all(0.7 < factor < 1.4 for factor in factors)
page.say(
    "Measured over predicted, weak and clamped, where at least 1 % is predicted:",
    f"{tables.listed(factors)}.",
)

# %% [markdown]
# ### The hard case: 100 bits, 10 patterns
#
# How far can Eq. 7 be taken where crosstalk is strong? Recorded runs at $p = 0.5$: variants that are trained, and
# the untrained rule with the strength, and the diagonal, that did best on validation episodes.

# %% tags=["hide-input"]
page.table(
    "tab-memory-hard",
    "The hard case, recorded: bit error in per cent over all bits and over the unknown ones, and squared error, on the "
    "same unseen episodes.",
    tables.HARD,
    tables.hard(recorded["variants"]),
)

# %% [markdown]
# If no bit is held, the squared error is the wrong judge. It prefers strong synapses, which bring the unknown bits nearer
# to their floor ({prf:ref}`prop-memory-floor`) and let clean and noisy bits saturate alike. The sign is best with weak
# synapses. If the known bits are held, strong synapses serve both. Noise in μ adds to the crosstalk. With known bits
# held, a nearly constant start and more episodes a step bring training near the rule; without holding they do not. We
# chose the rule's strength from six and its diagonal from two. The trained variants have one learning rate, and their
# steps end before μ has the strength of the best rule.
#
# ## Paper versus ours, with a verdict
#
# How much does learning add? {numref}`tab-memory` compares chance, N-CODE after training, the rule that was never
# trained, and the nearest neighbour.

# %% tags=["hide-input"]
page.table(
    "tab-memory",
    "Bit error in per cent on unseen episodes: chance with the known bits copied, N-CODE after training (mean ± standard "
    "deviation over seeds), the untrained Hebbian rule with constant μ, and the nearest neighbour. The largest n is "
    "recorded. The paper's claim is an error below one per cent in all cases.",
    tables.CASES,
    tables.cases({1000: (large, large), bits: (found.ours, found.controls)}),
)

# %%
page.verdict(
    "N14",
    verdict.n14(large, "paper") + verdict.n14(found.ours, page.near("paper")),
    verdict.n14_checks(found, large),
    runs=[*found.ours, *large],
    note=verdict.n14_note(found, large),
)

# %% [markdown]
# **The baselines**, recorded at $n = 100$, $m = 5$, $p = 0.5$, with the learning rate that each got from the sweep.
# *Change* is that of the bit error from the third to the last quarter of training. A curve that is still falling may
# fall further.


# %%
trained = sets.by_size(recorded["baselines"])

# %% tags=["hide-input"]
page.table(
    "tab-memory-baselines",
    "Baselines after all their episodes, recorded: bit error in per cent on unseen episodes, mean ± standard deviation "
    "over seeds. Chance is a quarter with the known bits copied and a half without, and a half on the unknown bits alone. "
    "N-CODE's known bits are set in its state; a baseline has to carry them through its own. A star marks a learning rate "
    "at the edge of the sweep. The last row won the short sweep and broke down later, on every seed; the rate that came "
    "second stands in for it.",
    tables.BASELINES,
    tables.baselines([*trained.values(), *sets.broken(recorded["baselines"])]),
)

# %%
plateaus = {kind: trained[kind, size] for kind, size in sets.WIDEST.items()}
page.verdict(
    "N15",
    verdict.n15(plateaus, "n = 100, m = 5, p = 0.5", "reduced"),
    verdict.n15_checks(trained, found),
    runs=recorded["baselines"],
    note=verdict.n15_note(trained),
)

# %% [markdown]
# What this page says in words must hold: nowhere does training gain more than a fifth of a percentage point over the
# untrained rule, and no baseline comes near either.

# %%
assert verdict.as_said(found, large, trained)

# %% [markdown]
# ## Deviations

# %% tags=["hide-input"]
page.deviations()

# %% tags=["hide-input"]
page.readings()

# %% [markdown]
# Besides:
#
# - $\mu \sim \mathcal{N}(0, 0.01)$ is read as a standard deviation of 0.01; θ(0) is 0.
# - $x$ is set to the stimulus at every presentation, queries included, without a pause between them; the output is $x$ at
#   the end of the query. Exactly $pn$ bits are set to 0. A bit is wrong when its sign is, and 0 counts one half.
# - Ours: `rk4` with one step a presentation, one episode a step. Recorded runs at $n = 1000$ take 150 episodes, and 300
#   for 10 patterns.
# - The ODE-RNN is a gated cell at each stimulus and a flow between them, with a linear readout. The NODE with data
#   control *carries* its state: were it set to the stimulus, as N-CODE's is, nothing of the episode would be left in it.
#   Each comes with as many parameters as μ and with a wider state.
# - θ moves by outer products, so the Runge-Kutta stages have an exact low-rank form
#   ({py:mod}`ncode.solvers.hebbian`): the same method and the same numbers to rounding, without an $n \times n$ temporary a
#   stage. `benchmarks/memory.py` measures what it saves.
#
# ## What to remember
#
# - Synapses that move with the outer product of the state are a memory. A constant μ, Hebb's rule, needs no training.
# - Training on the squared error finds Hebb's sign, and then trades bit error for size.
# - Crosstalk says in advance how many patterns fit into how many bits.
#
# ## What it took

# %%
page.took(found.every_run)
