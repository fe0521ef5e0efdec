"""How a GPU multiplies is said in one place, and what changes it puts it back."""

import pytest
import torch

from ncode.reproduction.experiments.image_classification.train import Config, experiment
from ncode.reproduction.precision import full_float32, tf32


def rounding() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def put_back():
    before = rounding()
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_outside_nothing_is_rounded_and_inside_both_are():
    full_float32()
    assert rounding() == (False, False)
    with pytest.raises(ZeroDivisionError), tf32():
        assert rounding() == (True, True)
        _ = 1 / 0
    assert rounding() == (False, False)
    with tf32(False):
        assert rounding() == (False, False)


def test_a_run_that_trains_with_tf32_is_scored_without_and_says_what_it_moves(monkeypatch, tmp_path):
    module = "ncode.reproduction.experiments.image_classification.train"
    seen = {}

    def spy(name):
        original = getattr(__import__(module, fromlist=[name]), name)

        def called(*arguments, **named):
            seen[name] = rounding()
            return original(*arguments, **named)

        monkeypatch.setattr(f"{module}.{name}", called)

    for name in ("_loss", "evaluate", "_motion"):
        spy(name)
    small = {"size": 7, "images": 320, "filters": 8, "epochs": 1, "looks": 1}
    run = experiment.run(Config("open", 0, **small, tf32=True), tmp_path)
    assert seen == {"_loss": (True, True), "evaluate": (False, False), "_motion": (False, False)}
    # A processor does not round.
    assert run.metrics["tf32_error"] == 0
