"""Readings of the autoencoders' settings: what each moves, in words and numbers; nothing before all are recorded."""

import pytest

from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding.plans import comparison
from ncode.reproduction.experiments.latent_clustering import plans, readings
from ncode.reproduction.profiles import recorded
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.recordings import RecordedRun

(PLAN,) = (plan for plan in plans.plans() if plan.name.endswith(readings.RECORDING))
AUTOENCODERS = comparison(recorded("autoencoding")[readings.RECORDING])
BATCH = "AutoN-CODE, each entry of θ over the batch, scale 0.05"


def clusterings(configs, accuracy=lambda config: 0.7):
    """A recorded clustering of each: the likeliest start as told, the mean over starts two points below."""
    return [
        RecordedRun("", "", c, {f"mixture{end}": accuracy(c) + by for end, by in ends} | {"tsne_mixture": 0.9}, {}, {})
        for c in configs
        for ends in [[("", 0.0), ("_mean", -0.02), ("_by_labels", 0.1)]]
    ]


@pytest.fixture
def kept(monkeypatch):
    """Recordings by name; the autoencoders' are whole."""
    trained = [RecordedRun("", "", config, {"test_nats": 80.0 + k}, {}, {}) for k, config in enumerate(AUTOENCODERS)]
    made = {f"autoencoding_{readings.RECORDING}": trained, PLAN.name: clusterings(PLAN.configs())}
    monkeypatch.setattr(recordings, "find", lambda name: made.get(name, []))
    return made


def test_no_reading_is_told_before_all_are_recorded(kept):
    kept[PLAN.name] = kept[PLAN.name][:-1]
    assert readings.clustered() == {}
    assert "not all recorded" in readings.in_words(readings.clustered())


def test_models_have_their_usual_setting_first_and_what_has_no_readings_is_left_out(kept):
    found = readings.clustered()
    assert {model: len(runs) for model, runs in found.items()} == {"autoencoder": 5, "ncode": 10}
    assert all(not readings.changed(runs[0].config, runs[0].config) for runs in found.values())


def test_every_reading_has_words_of_its_own_and_none_is_a_field_s_name(kept):
    told = [readings.changed(run.config, runs[0].config) for runs in readings.clustered().values() for run in runs[1:]]
    fields = ("batch_norm", "plateau", "likelihood", "normalisation", "entries", "latent", "redraw")
    assert all(told) and not any(part.startswith(fields) for text in told for part in text.split(", "))


def test_a_reading_that_moves_accuracy_by_the_paper_s_advantage_is_named_with_what_its_starts_say(kept):
    assert readings.in_words(readings.clustered()) == "None of the 13 readings moves it by as much."

    def accuracy(config):
        return 0.6 if config.model == "ncode" and config.normalisation == "batch" else 0.7

    kept[PLAN.name] = clusterings(PLAN.configs(), accuracy)
    assert readings.in_words(readings.clustered()) == (
        f"Of the 13 readings, these move it by as much: {BATCH}: −10 points (−10 on average over the starts)."
    )


def test_the_table_has_a_row_a_reading_and_no_loss_where_the_likelihood_is_another(kept):
    table = readings.table(readings.clustered())
    Page("13_latent_clustering", "smoke").table(**table)
    assert len(table["rows"]) == 15
    losses = {reading: loss for _, reading, loss, *_ in table["rows"]}
    assert losses["squared error for a loss"] == "–"
    assert losses["each entry of θ over the batch, scale 0.05"] == "88.0"
    # Dense θ is two settings, and one row.
    assert "five dimensions, θ is dense" in losses


def test_the_loss_is_the_clustered_autoencoder_s(kept):
    runs = readings.clustered()["ncode"]
    assert [readings.reconstruction(run) for run in runs[:2]] == [86.0, 87.0]
    assert isinstance(AUTOENCODERS[6], autoencoding.Config)
