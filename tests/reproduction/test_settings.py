"""The papers' stated settings: what deviates is named, and what is named deviates."""

import dataclasses
from pathlib import Path

import pytest

from ncode.reproduction import profiles
from ncode.reproduction.claims import settings
from ncode.reproduction.claims.settings import Setting, StatedExperiment
from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import plans as autoencoding_plans
from ncode.reproduction.experiments.image_classification import plans as image_plans
from ncode.reproduction.experiments.image_classification import rates
from ncode.reproduction.publishing.display import Page

STATED = [
    pytest.param(experiment, setting, id=f"{experiment.id}: {setting.name}")
    for experiment in settings.load().values()
    for setting in experiment.settings
]


def differs(experiment: StatedExperiment, setting: Setting) -> list[str]:
    """Where ours is not what is stated: at the paper's scale, in a profile, or in a recording."""
    if not setting.key:
        # In words, ours is what is stated unless they say otherwise.
        return ["in words"] if setting.ours and setting.why else []
    places = {"the plan": experiment.at_scale(setting)}
    places |= {profile: experiment.here(setting, profile) for profile in profiles.NAMES}
    places |= {f"recording {k}": value for k, value in enumerate(experiment.recorded(setting))}
    return [place for place, value in places.items() if value is not None and not setting.as_stated(value)]


@pytest.mark.parametrize(("experiment", "setting"), STATED)
def test_a_deviation_from_what_the_paper_states_is_named(experiment, setting):
    found = differs(experiment, setting)
    if found:
        assert setting.why, f"{setting.name} deviates in {', '.join(found)}, and no page says why"
    else:
        assert not setting.why, f"{setting.name} deviates nowhere: its reason is stale"


@pytest.mark.parametrize(("experiment", "setting"), STATED)
def test_every_key_is_a_setting_of_ours(experiment, setting):
    if setting.key:
        assert experiment.at_scale(setting) is not None, f"{experiment.id} has no {setting.key!r} in its plan"


PRINTED = {
    ("autoencoding_mnist", "batch normalisation"),  # Contradicted by Table A.1.
    ("autoencoding_mnist", "training images"),  # Some are for validation, in every plan.
    ("image_generation", "size of the doubled code"),  # A misprint.
}


@pytest.mark.parametrize(("experiment", "setting"), STATED)
def test_the_plan_at_the_papers_scale_is_as_stated(experiment, setting):
    if setting.key and (experiment.id, setting.name) not in PRINTED:
        value = experiment.at_scale(setting)
        assert setting.as_stated(value), f"{setting.name}: {setting.stated} is stated, {value} is planned"


def test_an_unnamed_deviation_is_found():
    experiment = settings.load()["autoencoding_mnist"]
    batch = next(setting for setting in experiment.settings if setting.name == "batch")
    assert differs(experiment, dataclasses.replace(batch, stated=65, why="")) != []
    assert "the plan" in differs(experiment, dataclasses.replace(batch, stated=65))
    assert "the plan" not in differs(experiment, batch)


def test_a_page_shows_its_deviations():
    rows = settings.deviations("11_autoencoding", "cpu")
    assert all(len(row) == len(settings.COLUMNS) for row in rows)
    batch = next(row for row in rows if row[0] == "Autoencoders, MNIST: batch")
    assert batch[1] == "64 (N-CODE, C.4)"
    assert batch[2] == str(profiles.load("autoencoding", "cpu").settings["batch"])
    assert settings.deviations("01_proposition_1", "cpu") == []
    assert settings.left_open("11_autoencoding")


def cells(page: str, name: str) -> tuple[str, str]:
    """A deviation's cells: ours in this build, and in the recordings."""
    (row,) = (row for row in settings.deviations(page, "cpu") if row[0].endswith(f": {name}"))
    return row[2], row[3]


def test_what_is_derived_is_what_the_networks_and_the_data_have():
    assert cells("11_autoencoding", "batch normalisation") == ("hidden layers", "none, hidden layers")
    for settings_of in ({"kind": "perceptron"}, {"kind": "printed"}, {"kind": "printed", "batch_norm": "hidden"}):
        config = dataclasses.replace(autoencoding.Config("autoencoder", 0, width=0.05), **settings_of)
        modules = [type(module).__name__ for module in autoencoding.build(config).modules()]
        said = autoencoding_plans.followed(dataclasses.asdict(config))["normalised"]
        assert ("BatchNorm1d" in modules) == bool(said), settings_of
    digits = len(autoencoding.prepare("digits").train[0])
    assert cells("11_autoencoding", "training images") == (str(digits), "55000")
    assert cells("12_image_generation", "size of the doubled code") == ("50", "50")


@pytest.mark.parametrize("id_", ["image_classification", "augmentation_on_images"])
def test_every_recording_that_a_page_on_images_compares_stands_in_its_deviations(id_):
    wanted = {*image_plans.tables(), *(f"{name}_own_rate" for name in rates.asked())}
    if id_ == "augmentation_on_images":
        wanted |= image_plans.wide().keys()
    assert set(settings.load()[id_].recordings) == wanted


def test_a_recording_says_how_many_seeds_and_which_rates_it_has():
    assert cells("16_augmentation_on_images", "learning rate")[1] == "0.001, 0.003, 0.01"
    assert set(cells("16_augmentation_on_images", "repetitions")[1].split(", ")) <= {"2", "3"}
    assert (
        settings.each([3, [1, 2], 3]) == "1, 2, 3" and settings.each(["b", "a"]) == "b, a" and settings.each([]) == ""
    )


@pytest.mark.parametrize(
    ("stated", "value", "among", "same"),
    [
        (64, 64, False, True),
        (1.0, 1, False, True),
        (64, 65, False, False),
        (True, False, False, False),
        ([2, 5], (5, 2), False, True),
        ([2, 5], [2, 3, 5], False, False),
        ([2, 5], [2, 3, 5], True, True),
        (1e-3, [1e-3, 3e-3], True, True),
        ([[0.0, 0.5]], ((0.0, 0.5),), False, True),
    ],
)
def test_what_counts_as_stated(stated, value, among, same):
    assert Setting("s", stated, "C.4", among=among).as_stated(value) is same


PAGES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_page_with_deviations_shows_them(path):
    text, found = path.read_text(), settings.deviations(path.stem, "cpu")
    assert ("page.deviations()" in text) == bool(found)
    assert ("page.readings()" in text) == bool(settings.left_open(path.stem))
    if found:
        assert Page(path.stem, "cpu").deviations().rows == found


def test_the_page_of_stated_settings_has_every_one():
    rows = [row for experiment in settings.load().values() for row in settings.comparison(experiment)]
    assert len(rows) == len(STATED)
    batch = next(row for row in settings.comparison(settings.load()["autoencoding_celeba"]) if "AutoN-CODE" in row[0])
    assert batch == ["batch of AutoN-CODE", "16", "C.4", "as stated"]
    channels = next(row for row in settings.comparison(settings.load()["autoencoding_mnist"]) if row[0] == "channels")
    assert channels == ["channels", "3", "Table A.1", "1"]
