"""The experiment: what it measures, and that what the notebook asks of runs is answered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ncode.reproduction import profiles
from ncode.reproduction.claims import claims
from ncode.reproduction.claims.questions import FAILS, HOLDS, UNTESTED, decide
from ncode.reproduction.experiments.pattern_memorisation import analysis, plans, sets, tables, verdict
from ncode.reproduction.experiments.pattern_memorisation.train import LEARNERS, Config, build, experiment, train
from ncode.reproduction.runs import recordings


def test_training_learns_and_is_measured_on_unseen_episodes(tmp_path):
    config = Config("ncode", 0, bits=60, patterns=2, iterations=120, learning_rate=1e-3, test_episodes=100)
    run = experiment.run(config, tmp_path)
    assert len(run.history.metrics["error"]) == 120
    assert run.metrics["error"] < 0.02 < np.mean(run.history.metrics["error"][:10])
    assert run.metrics["unknown_error"] == pytest.approx(2 * run.metrics["error"], abs=0.01)
    assert run.metrics["mu_mean"] > 0 and run.metrics["parameters"] == 3600
    # Its unknown half cannot have come nearer than half way.
    assert run.metrics["squared_error"] >= 0.5 / 4


def test_training_resumes_to_the_same_bits(tmp_path):
    config = Config("ncode", 0, bits=20, iterations=8, test_episodes=5)
    whole = train(config, None)
    train(replace(config, iterations=5), tmp_path / "checkpoint")
    continued = train(config, tmp_path / "checkpoint")
    assert continued.history.loss == whole.history.loss and continued.metrics == whole.metrics


def test_controls_learn_nothing_and_learners_share_their_test_episodes():
    small = {"bits": 30, "test_episodes": 10, "iterations": 2}
    made = [train(Config(learner, 0, **small)) for learner in LEARNERS]
    assert len({result.data for result in made}) == 1
    for learner, result in zip(LEARNERS, made, strict=True):
        fixed = learner in ("hebb", "oracle")
        assert (result.metrics["parameters"] == 0) == fixed == (result.history.iterations == 0)


def test_an_unknown_learner_is_named():
    with pytest.raises(ValueError, match="perceptron"):
        build(Config("perceptron", 0))


def test_runs_are_selected_and_their_curves_aligned(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    configs = [Config("lstm", s, bits=10, iterations=20, batch=4, hidden=3, test_episodes=5) for s in range(2)]
    live = [experiment.run(config, tmp_path / "runs") for config in configs]
    recordings.save("lstm", live, points=5)
    recorded = recordings.load("lstm")
    assert analysis.select(live, seed=1) == live[1:]
    assert analysis.errors(recorded, learner="lstm") == [run.metrics["error"] for run in live]
    for made in (live, recorded):
        x, rows = analysis.curve(made, points=5)
        assert x == [16, 32, 48, 64, 80]
        assert rows[1][-1] == pytest.approx(np.mean(live[1].history.metrics["error"][-4:]), rel=1e-3)


def test_the_sweep_chose_what_it_should(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    configs = [Config("data", 0, bits=10, iterations=30, learning_rate=rate, test_episodes=1) for rate in (0.0, 1e-2)]
    monkeypatch.setattr(plans, "UNSTABLE", {})
    recordings.save("pattern_memorisation_sweep", [experiment.run(config, tmp_path / "runs") for config in configs])
    assert plans.best_rate("data", None) == 1e-2
    monkeypatch.setattr(plans, "UNSTABLE", {("data", None): (1e-2,)})
    assert plans.best_rate("data", None) == 0.0


class Run:
    """A run as far as the analysis looks at it."""

    def __init__(self, learner, m, p, error, **config):
        self.config = Config(learner, 0, patterns=m, degraded=p, bits=100, **config)
        self.metrics = {"error": error, "unknown_error": error / p, "validation_error": error}


def test_every_case_must_be_below_with_enough_seeds():
    runs_ = [Run("ncode", 2, 0.5, e) for e in (0.0, 0.015)] + [Run("ncode", 3, 0.5, 0.02)]
    assert analysis.all_below(runs_, [(2, 0.5)], seeds=2)
    assert not analysis.all_below(runs_, [(2, 0.5)], seeds=3)
    assert not analysis.all_below(runs_, [(2, 0.5), (3, 0.5)], seeds=1)
    assert not analysis.all_below(runs_, [(5, 0.5)], seeds=1)


def test_gains_are_positive_where_training_helps_and_only_where_both_are_there():
    trained = [Run("ncode", 2, 0.5, 0.1), Run("ncode", 2, 0.5, 0.3), Run("ncode", 3, 0.5, 0.1)]
    assert analysis.gains(trained, [Run("hebb", 2, 0.5, 0.5)]) == [pytest.approx(0.3)]


def test_the_best_rule_and_a_variant_are_found():
    rules = [Run("hebb", 10, 0.5, e, clamp=True) for e in (0.3, 0.1, 0.2)] + [Run("hebb", 10, 0.5, 0.0, clamp=False)]
    assert analysis.best_rule(rules, clamp=True) is rules[1]
    configs = [c for c in plans.variants(seeds=2) if c.learner == "ncode"]
    made = [
        Run(
            "ncode",
            10,
            0.5,
            0.1,
            clamp=c.clamp,
            leak=c.leak,
            batch=c.batch,
            spread=c.spread,
            learn_theta0=c.learn_theta0,
        )
        for c in configs
    ]
    found = [run for name in plans.VARIANTS for run in analysis.variant(made, name)]
    assert len(found) == len(made) == len(set(map(id, found)))


@pytest.mark.parametrize("case, error", [((100, 1, 0.5), 0.0), ((1000, 2, 0.5), 0.0), ((4, 2, 1.0), 0.5)])
def test_crosstalk_at_its_ends(case, error):
    assert analysis.crosstalk_error(*case) == pytest.approx(error, abs=1e-12)


def test_every_large_case_is_recorded_once_a_seed():
    made = plans.large(0)
    assert len({(c.patterns, c.degraded) for c in made}) == len(made) == 12
    assert all(c.bits == 1000 for c in made)


OPTIONS = {
    "seeds": 2,
    "bits": 16,
    "patterns": [1, 2],
    "degraded": [0.5],
    "fig6": {"patterns": 5, "degraded": 0.5},
    "iterations": 3,
    "baseline_iterations": 2,
    "baseline_batch": 2,
    "lstm_units": 4,
    "test_episodes": 5,
    "device": "cpu",
}


def test_a_page_runs_every_learner_on_every_case(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    monkeypatch.setattr(plans, "best_rate", lambda kind, size: 1e-3)
    found = sets.run(OPTIONS)
    assert [run.config.learner for run in found.learning] == ["lstm", "lstm", "ode_rnn", "ode_rnn", "data", "data"]
    assert {(run.config.patterns, run.config.degraded) for run in found.ours} == {(1, 0.5), (2, 0.5), (5, 0.5)}
    assert found.cases == [(1, 0.5), (2, 0.5)], "Fig. 6's case is asked for, and is none of Fig. A.3's"
    assert len(found.every_run) == 6 + 6 + 6 + 3
    shown = sets.episode(found.example)
    assert found.example.config.patterns == 2 and shown.stimuli.shape == (5, 1, 16)
    assert torch.equal(shown.after, found.example.model().mu) and not torch.equal(shown.before, shown.after)
    assert set(sets.solver_errors(found.example)) == {"the untrained rule", "N-CODE, trained"}


def live(*ours, controls=()):
    return sets.Sets({**OPTIONS, "seeds": 1}, (), ours, controls, ())


def falling(bits: int, episodes: int, until: int, learner: str = "ncode", **case) -> list:
    """Three recorded seeds of a learner whose error falls to zero until the episode ``until``, and then stays."""
    config = Config(learner, 0, bits=bits, iterations=episodes, **case)
    seen = list(range(10, episodes + 1, 10))
    history = {"iteration": seen, "error": [0.5 * max(0.0, 1 - k / until) for k in seen]}
    provenance = {"started": "2026-11-27T00:00:00"}
    return [
        recordings.RecordedRun(
            str(s), "pattern_memorisation", replace(config, seed=s), {"error": 0.0}, history, provenance
        )
        for s in range(3)
    ]


def test_only_a_run_that_can_come_out_false_answers_how_soon_n_code_learns():
    """N14 (c): a run settles at the latest when it ends, so one that is no longer than asked for would always hold."""

    def word(runs) -> str:
        questions = claims.get("N14").questions
        return {a.question.part: a.word for a in decide(questions, verdict.n14(runs, "paper")).answers}["c"]

    assert verdict.needed() == 750
    assert word(falling(1000, 300, 200)) == word(falling(1000, 749, 200)) == UNTESTED
    assert word(falling(1000, 750, 200)) == HOLDS
    assert word(falling(1000, 750, 750)) == FAILS
    # One case that is too short leaves the slowest case unknown; 100 bits are none of Fig. A.3's.
    assert word([*falling(1000, 750, 200), *falling(1000, 300, 200, patterns=10)]) == UNTESTED
    assert word(falling(100, 750, 200)) == UNTESTED


def test_only_the_papers_cases_count_each_with_its_own_number_of_bits():
    """Section 4.3: 2, 5, 10 patterns, half degraded, of 100 and 1000 bits. C.3 and Fig. A.3: 3, 5, 10, of 1000."""
    runs = [
        run for bits in (100, 1000) for m, p in tables.GRID for run in falling(bits, 200, 100, patterns=m, degraded=p)
    ]
    made = {part: {one.of for one in verdict.n14(runs, "paper") if one.part == part} for part in "ab"}
    assert made["b"] == {"m = 2, p = 0.5", "m = 5, p = 0.5", "m = 10, p = 0.5"}
    assert len(made["a"]) == 10 and not made["a"] & {"m = 2, p = 0.7", "m = 2, p = 0.9"}


def test_printed_baselines_that_still_move_are_named(monkeypatch):
    kinds = {"ode_rnn": falling(100, 1000, 200, learner="ode_rnn"), "data": falling(100, 1000, 200, learner="data")}
    monkeypatch.setattr(analysis, "last_change", lambda runs: -0.02 if runs == kinds["ode_rnn"] else -0.001)
    told = verdict.still_moving({100: kinds}).replace("\N{NO-BREAK SPACE}", " ")
    assert told == (
        "As printed, the bit error still changed from the third to the last quarter of training by −2.0 points "
        "(n = 100, ODE-RNN): these runs are too short to say where their curves end."
    )
    assert verdict.still_moving({100: {"data": kinds["data"]}}) == ""


def test_what_a_panel_shows_stands_beside_the_rules_on_as_many_bits():
    controls = [Run("hebb", 5, 0.5, 0.0)]
    found = sets.Sets({**OPTIONS, "bits": 100, "fig6": {"patterns": 5, "degraded": 0.5}}, (), (), controls, ())
    recorded = {"1000": [Run("hebb", 5, 0.5, 0.1)], "baselines": []}
    printed = falling(1000, 750, 200, patterns=5) + falling(100, 750, 200, patterns=5)
    shown = sets.panels(found, recorded, printed)
    assert list(shown) == ["recorded, as printed, n = 100", "recorded, as printed, n = 1000"], "none without runs"
    assert [rules for _, rules in shown.values()] == [controls, recorded["1000"]]
    assert {run.config.bits for run in shown["recorded, as printed, n = 1000"][0]} == {1000}
    sources = sets.case_sources(found, recorded, printed)
    assert {words: rules for words, (_, rules) in sources.items()} == {
        "1000, as printed": recorded["1000"],
        "1000, recorded": recorded["1000"],
        "100, as printed": controls,
        "100, here": controls,
    }


def test_longer_runs_take_the_place_of_shorter_ones_of_as_many_seeds(monkeypatch):
    short, long, few = falling(100, 100, 50, "data"), falling(100, 1000, 50, "data"), falling(100, 9000, 50, "data")[:1]
    found = {"printed": short, "printed_cases": [], "printed_long": long}
    monkeypatch.setattr(recordings, "find", lambda name: found[name.removeprefix("pattern_memorisation_")])
    assert sets.printed() == long
    found["printed_long"] = few
    assert sets.printed() == short, "one seed does not replace three"


def test_as_printed_all_cases_decide_or_none():
    whole = [run for m, p in verdict.STATED[100] for run in falling(100, 750, 200, patterns=m, degraded=p)]
    found = verdict.n14_printed(whole)
    assert {one.part for one in found} == {"b"} and {one.nearness for one in found} == {"paper"}
    assert {one.setting for one in found} == {"100 bits, as printed"}
    assert verdict.n14_printed(whole[1:]) == [], "a case with two seeds"
    assert verdict.n14_printed(falling(1000, 750, 200, patterns=5)) == [], "one case is not all"


def test_baselines_that_still_move_are_not_at_the_papers_setting(monkeypatch):
    kinds = {kind: falling(100, 1000, 200, learner=kind) for kind in ("ode_rnn", "data")}
    for runs in kinds.values():
        for run in runs:
            run.metrics["parameters"] = 20_000
    for change, near in ((-0.02, "reduced"), (-0.004, "paper")):
        monkeypatch.setattr(analysis, "last_change", lambda runs, change=change: change)
        found = verdict.n15_printed({100: kinds})
        assert {one.nearness for one in found} == {near}
        assert {one.part for one in found} == {"b", "c"}, "without an LSTM nothing is said of all three"


def test_the_recorded_runs_have_every_case_that_counts():
    planned = {(config.patterns, config.degraded) for config in plans.large(0)}
    live = profiles.load("pattern_memorisation", "cpu").options
    assert verdict.STATED[1000] <= planned and live["bits"] == 100
    assert {m for m, _ in verdict.STATED[100]} <= set(live["patterns"])


def test_what_is_to_run_on_a_gpu_answers_it():
    printed = [config for config in plans.printed() if config.learner == "ncode"]
    planned = [config.iterations * config.batch for config in printed]
    planned.append(profiles.load("pattern_memorisation", "paper").options["iterations"])
    assert min(planned) >= verdict.needed()


def test_the_note_says_that_no_run_is_long_enough(monkeypatch):
    monkeypatch.setattr(analysis, "last_change", lambda runs: -0.001)

    def note(iterations):
        return verdict.n14_note(
            live(
                Run("ncode", 2, 0.5, 0.02, iterations=iterations), controls=[Run("hebb", m, 0.5, 0.03) for m in (1, 2)]
            ),
            [],
        )

    assert "No run answers part c: it needs 750 episodes, and the longest run has 200" in note(200)
    assert "part c" not in note(750)


def test_the_context_of_the_bit_errors(monkeypatch):
    monkeypatch.setattr(analysis, "last_change", lambda runs: -0.001)
    found = live(Run("ncode", 3, 0.5, 0.005), Run("ncode", 1, 0.5, 0.0), Run("ncode", 2, 0.5, 0.02))
    assert list(verdict.n14_checks(found, []).values()) == [False, False, True, False]
    rule = [Run("hebb", 2, 0.5, 0.03)]
    assert verdict.gained(live(*found.ours, controls=rule), []) == [pytest.approx(0.01)]
    note = verdict.n14_note(live(*found.ours, controls=rule), [])
    assert "at least as good in 0 of the 1 cases" in note and "at most +1.0 percentage points worse" in note
    assert "error rises in none of the 3 runs" in note
    monkeypatch.setattr(analysis, "last_change", lambda runs: 0.001)
    assert "rises by at most +0.10 points in any of the 3 runs" in verdict.n14_note(
        live(*found.ours, controls=rule), []
    )


def test_what_crosstalk_does_not_explain_is_not_put_down_to_training():
    """With 100 bits, 10 patterns and half of the bits lost, crosstalk costs less than 1 %, and the rule more."""
    ours = falling(100, 200, 100, patterns=10)
    for run in ours:
        run.metrics["error"] = 0.02
    options = {**OPTIONS, "bits": 100, "patterns": [10], "seeds": 3}
    found = sets.Sets(options, (), ours, [Run("hebb", 10, 0.5, 0.0128)], ())
    note = verdict.n14_note(found, [])
    assert (
        "Of the 1 cases of 100 bits that are not below 1 %, crosstalk alone is predicted to cost more than that" in note
    )
    assert "in 0. Of the other 1 the untrained rule is not below 1 % either in 1." in note


def test_a_run_falls_where_its_end_is_lower_than_its_beginning():
    assert analysis.falls(falling(100, 200, 100)[0])
    (run, *_) = falling(100, 200, 100)
    run.history["error"].reverse()
    assert not analysis.falls(run)


def test_the_context_of_the_baselines(monkeypatch):
    monkeypatch.setattr(analysis, "last_change", lambda runs: -0.001)
    ends = {("lstm", 256): 0.22, ("ode_rnn", None): 0.3, ("data", None): 0.17}
    ends |= {("ode_rnn", 128): 0.18, ("data", 128): 0.16}
    trained = {which: [Run(which[0], 5, 0.5, end, iterations=1000, batch=16)] for which, end in ends.items()}
    found = live(Run("ncode", 5, 0.5, 0.001), controls=[Run("hebb", 5, 0.5, 0.0)])
    assert list(verdict.n15_checks(trained, found).values()) == [True, True, True]
    monkeypatch.setattr(analysis, "falls", lambda run: run.config.patterns == 5)
    assert verdict.as_said(found, [], trained)
    monkeypatch.setitem(found.ours[0].metrics, "mu_mean", -0.01)
    assert not verdict.as_said(found, [], trained), "μ has the other sign than Hebb's"
    monkeypatch.setitem(found.ours[0].metrics, "mu_mean", 0.01)
    monkeypatch.setattr(analysis, "falls", lambda run: False)
    assert not verdict.as_said(found, [], trained), "training does not lower the error"
    monkeypatch.setattr(analysis, "falls", lambda run: True)
    trained["data", 128] = [Run("data", 5, 0.5, 0.005)]
    assert not verdict.as_said(found, [], trained)
    note = verdict.n15_note(trained).replace("\N{NO-BREAK SPACE}", " ")
    assert "ODE-RNN of μ's size" in note
    assert (
        "as μ they end at 30 % (ODE-RNN) and 17 % (data control); guessing with the known bits copied has 25 %" in note
    )


def test_what_training_does_to_mu_in_words():
    after = torch.full((3, 3), 0.5) + torch.eye(3)
    said = tables.weights(torch.zeros(3, 3), after).replace("\N{NO-BREAK SPACE}", " ")
    assert "Off the diagonal the mean goes from 0 to 0.50 and the standard deviation from 0 to 0." in said
    assert said.endswith("On the diagonal the mean goes from 0 to 1.5.")


def test_crosstalk_is_compared_where_enough_is_predicted():
    assert analysis.factors([(0.02, 0.04), (0.001, 1.0)]) == [2.0]
    names = analysis.against_crosstalk([Run("ncode", 2, 0.5, 0.1)], [Run("oracle", 2, 0.5, 0.1)], [])
    assert [len(pairs) for pairs in names.values()] == [0, 0, 1], "a nearest neighbour is no rule"


def test_the_hard_case_tells_how_strong_and_how_long():
    variants = recordings.load("pattern_memorisation_variants")
    said = tables.strengths(variants).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("Without held bits the best untrained rule has μ = 0.0010, and the trained entries")
    assert tables.longer([], variants) == ""
    shorter = falling(100, 200, 100, patterns=10)
    assert "% after 200 and " in tables.longer(shorter, variants)
    assert tables.longer(shorter, variants).endswith("% after 300 episodes.")


def test_the_baselines_that_decide_have_as_many_parameters_as_the_paper_gives_them():
    """Section 4.3: "All systems had the same number of learnable parameters, except for the LSTM"."""
    trained = sets.by_size(recordings.load("pattern_memorisation_baselines"))
    deciding = {kind: trained[kind, size] for kind, size in sets.SIZES.items()}
    for kind in verdict.EQUAL:
        for run in deciding[kind]:
            assert run.metrics["parameters"] == pytest.approx(run.config.bits**2, rel=0.05), kind
    assert deciding["lstm"][0].metrics["parameters"] > 10 * deciding["lstm"][0].config.bits ** 2
    found = verdict.n15(deciding, "n = 100", "reduced")
    assert {one.part for one in found} == set("abcd")
    named = {one.part: one.setting for one in found}
    assert named["b"] == "n = 100, 9657 parameters" and named["c"] == "n = 100, 9732 parameters"
    assert [one.of for one in found if one.part == "d"] == ["LSTM", "ODE-RNN", "data control"]


@pytest.mark.parametrize(("change", "word"), [(-0.004, HOLDS), (-0.006, FAILS), (0.006, FAILS)])
def test_a_plateau_is_flat(monkeypatch, change, word):
    runs = {kind: falling(100, 200, 100) for kind in verdict.BASELINES}
    for made in runs.values():
        for run in made:
            run.metrics["parameters"] = 1
    monkeypatch.setattr(analysis, "last_change", lambda runs: change)
    found = decide(claims.get("N15").questions, verdict.n15(runs, "n = 100", "reduced"))
    assert {a.question.part: a.word for a in found.answers}["d"] == word
