"""What the page on Theorem 1 asks, where the answer is known."""

from types import SimpleNamespace

import pytest

from ncode.reproduction.experiments.theorem_1 import analysis, checks, slips, tables
from ncode.reproduction.experiments.theorem_1.price import Price
from ncode.reproduction.experiments.theorem_1.train import saved_bytes


def record(error):
    return SimpleNamespace(metrics={"checkpointed@1e-12": error, "γ:1e-12": error, "chain:1e-12": error})


def kept(adjoint):
    return analysis.Memory(
        {"direct": [(100, 1), (600, 2)], "adjoint": [(adjoint, 1), (adjoint, 2)]},
        {"direct": [(100, 1)], "adjoint": [(adjoint, 1)]},
    )


FLIPS = {"as in the theorem": 1e-12, "+a ∂h/∂z": 1.0, "+∂ℓ/∂z": 1.0}


def test_the_listings_slips_stop_python_with_the_errors_that_page_8_lists():
    names = ["SyntaxError", "NameError", "AttributeError", "NameError", "TypeError"]
    assert [error for _, error in slips.rows()] == [f"`{name}`" for name in names]
    whole = slips.MODULE.format(line="return self.g(self.f(x))")
    with pytest.raises(ValueError, match="it runs"):
        slips.said(whole)


def test_the_price_is_told_from_what_was_measured():
    seconds = {"direct": [1.0], "adjoint": [2.0], "parameter": [4.0], "state": [6.0]}
    kept = {"direct": 2**23, "adjoint": 2**20, "parameter": 2**18, "state": 2**21}
    told = " ".join(tables.price_told(Price(seconds, {}), kept)).replace("\u00a0", " ")
    assert "takes 33 % of the listing's time" in told and "50 % is saved because θ is no longer state" in told
    assert "keeps 1.00 MiB; the listing keeps 2.00 MiB" in told
    slow = tables.price_told(Price({**seconds, "adjoint": [5.0]}, {}), kept)
    assert not any("no longer state" in sentence for sentence in slow)


def test_each_question_can_be_answered_no():
    assert set(analysis.holds([record(1e-10)], [1e-12], FLIPS, kept(100)).values()) == {True}
    bad = analysis.holds([record(1e-8)], [1e-12], {**FLIPS, "+∂ℓ/∂z": 0.01}, kept(10**6))
    assert set(bad.values()) == {False}
    assert set(analysis.reaches_gamma([record(1e-10), record(1e-8)], [1e-12]).values()) == {False}


def test_memory_grows_from_the_shortest_horizon_to_the_longest():
    assert kept(1).grows()
    assert kept(7).kept("adjoint") == [7, 7, 7]


def test_the_least_energy_is_that_of_straight_paths():
    # The mean of 4x² over [-1, 1] is 4/3; 64 evenly spaced points with both ends give a little more.
    assert analysis.least_energy() == pytest.approx(4 / 3, rel=0.05)
    assert analysis.least_energy() > 4 / 3


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The checks' run at a small size, as a page gets it."""
    config = checks.Config(1.0, [1.0, 40.0], [0], tolerance=1e-4, weights=[0.0, 0.5], iterations=2)
    return checks.experiment.run(config, tmp_path_factory.mktemp("runs"))


def test_without_checkpoints_contraction_breaks_the_plain_adjoint_and_not_the_default(checked):
    plain, default = (analysis.contraction(checked, refined) for refined in (False, True))
    assert plain[10.0, 0].error > 1e3 and plain[10.0, 0].warned
    assert default[10.0, 0].error < 0.1
    with pytest.raises(KeyError):  # the table wants the default's sixteen
        tables.contraction(plain, default)


def test_a_page_reads_from_the_checks_run_what_was_measured(checked):
    found = analysis.flips(checked)
    assert found["as in the theorem"] < 1e-8 and min(found["+a ∂h/∂z"], found["+∂ℓ/∂z"]) > 0.1
    memory = analysis.memory(checked)
    assert memory.grows() and max(memory.kept("adjoint")) <= analysis.MEMORY_BOUND
    assert memory.by_horizon["direct"][1] == saved_bytes("direct", 40.0, 1e-6)
    assert memory.by_steps["adjoint"][0] == saved_bytes("adjoint", checks.MEMORY_HORIZON, 1e-3)
    assert list(analysis.regularised(checked)) == [0.0, 0.5]
    assert analysis.regularised(checked)[0.5] == tuple(checks.regularised(0.5, 2).values())
