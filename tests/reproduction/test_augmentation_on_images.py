"""What the page on augmentation of images asks, on runs whose answers are known."""

from types import SimpleNamespace

from ncode.reproduction.experiments import image_classification
from ncode.reproduction.experiments.image_classification import augmentation

WIDE = image_classification.WIDE


def runs(train, test, accuracy, **more):
    """Three seeds that differ a little."""
    return [
        SimpleNamespace(
            metrics={
                "train_loss": train + shift,
                "test_loss": test + shift,
                "test_accuracy": accuracy - shift,
                **{name: value + shift / 2 for name, value in more.items()},
            }
        )
        for shift in (0.0, 0.001, 0.002)
    ]


def test_the_wide_node_has_anodes_number_of_parameters_and_the_papers_filters():
    filters, _, whole = augmentation.sizes(WIDE, "mnist")
    _, _, anode = augmentation.sizes("anode", "mnist")
    assert filters == 92
    assert abs(whole / anode - 1) < 0.01


def test_a_gap_is_asked_of_runs_that_measured_it():
    better = {"anode": runs(0.1, 0.2, 0.9), WIDE: runs(0.3, 0.4, 0.8)}
    checks = augmentation.questions("digits", better)
    assert checks == {
        "digits: lower training loss": True,
        "digits: lower test loss": True,
        "digits: higher test accuracy": True,
    }
    worse = {
        "anode": runs(0.3, 0.4, 0.8, fitted_loss=0.1),
        WIDE: runs(0.1, 0.2, 0.9, fitted_loss=0.1),
    }
    checks = augmentation.questions("digits", worse)
    assert set(checks.values()) == {False}
    assert len(checks) == 4
