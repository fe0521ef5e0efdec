"""AutoN-CODE and its rivals: one interface, Table A.1's shapes, what normalises the control, whole training runs."""

import dataclasses
import itertools
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from ncode.reproduction.data import datasets
from ncode.reproduction.data.downloads import checksum
from ncode.reproduction.experiments import autoencoding, orbits
from ncode.reproduction.experiments.autoencoding import analysis, figures, latents, notes, plans, tables, train, verdict
from ncode.reproduction.experiments.autoencoding.study import Study
from ncode.reproduction.experiments.orbits.train import bend, errors, halves, line_images
from ncode.reproduction.models import autoencoders, rivals
from ncode.reproduction.models.autoencoders import NORMALISATIONS, AutoNCODE, scattered
from ncode.reproduction.models.encoders import ARCHITECTURES, networks
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run
from ncode.solvers import linear
from ncode.training import History
from tests.reproduction import synthetic
from tests.written import typed

EVERY = tuple(dict.fromkeys(autoencoding.MODELS + autoencoding.BOTTLENECKS))
SMALL = autoencoding.Config("ncode", 0, images=256, width=0.1, latent=4, epochs=2, batch=64, looks=2)


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_every_model_has_the_same_interface(model, kind):
    model = autoencoding.build(autoencoding.Config(model, 0, kind=kind, width=1 / 64, latent=5)).eval()
    x = torch.rand(3, 1, 28, 28)
    latent = model.latent(model.encode(x))
    image = model.decode(latent)
    assert image.shape == x.shape
    assert 0 <= image.min() <= image.max() <= 1
    torch.testing.assert_close(model(x), image)
    loss, metrics = model.loss(x)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert metrics["nats"] <= loss.item() + 1e-3


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "celeba"])
def test_table_a1(dataset):
    shape = ARCHITECTURES[dataset]
    encoder, decoder = networks(shape, 1 / 32, 2 * shape.latent, shape.latent)
    x = torch.rand(2, shape.channels, shape.size, shape.size)
    assert encoder(x).shape == (2, 2 * shape.latent)
    assert decoder(torch.randn(2, shape.latent)).shape == x.shape
    convolutions = [layer for layer in encoder if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [4, 8, 16, 32]
    assert {layer.kernel_size for layer in convolutions} == {(shape.kernel, shape.kernel)}


def test_full_width_is_table_a1s():
    with torch.device("meta"):
        encoder, decoder = networks(ARCHITECTURES["celeba"], 1.0, 128, 64)
    assert [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)] == [128, 256, 512, 1024]
    assert [layer.out_channels for layer in decoder if isinstance(layer, nn.ConvTranspose2d)] == [512, 256, 128]


def test_the_plan_for_celeba_trains_and_is_scored_on_files_in_its_layout(monkeypatch, tmp_path):
    folder = synthetic.celeba(tmp_path, 24, 10, 10)
    monkeypatch.setattr(datasets, "CELEBA", {name: checksum(folder / name) for name in datasets.CELEBA})
    monkeypatch.setenv("NCODE_DATA", str(tmp_path))
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    autoencoding.prepare.cache_clear()
    try:
        for planned in autoencoding.experiment.planned()["autoencoding_celeba"].configs()[:4]:
            assert (planned.dataset, planned.width) == ("celeba", 1.0)
            config = dataclasses.replace(planned, width=1 / 64, epochs=2, batch=8, looks=2)
            metrics = autoencoding.experiment.run(config).metrics
            assert np.isfinite([metrics["test_nats"], metrics["validation_nats"]]).all()
            assert metrics["failures"] == 0
    finally:
        autoencoding.prepare.cache_clear()


@pytest.mark.parametrize(("k", "m"), [(1, 1), (2, 5), (3, 3), (2, 25)])
def test_entries_are_scattered_evenly(k, m):
    places = linear.dense(torch.ones(1, k, m), scattered(k, m))[0]
    assert places.sum(0).eq(k).all()
    assert places.sum(1).eq(k).all()
    assert places.max() == 1


def test_more_entries_than_a_row_holds_are_refused():
    with pytest.raises(ValueError, match="entries"):
        scattered(4, 3)


def control(normalisation, code, scale=0.3):
    torch.manual_seed(0)
    model = AutoNCODE(nn.Identity(), nn.Identity(), 6, normalisation=normalisation, scale=scale)
    return model.control(code), model


def test_what_each_normalisation_bounds():
    code = 5 * torch.randn(50, 12) + 1
    sizes = {name: control(name, code)[0] for name in NORMALISATIONS}
    torch.testing.assert_close(sizes["none"].flatten(1), 0.3 * code)
    assert sizes["tanh"].abs().max() <= 0.3
    torch.testing.assert_close(sizes["row"].norm(dim=1), torch.full((50, 6), 0.3))
    torch.testing.assert_close(sizes["sample"].flatten(1).square().mean(1).sqrt(), torch.full((50,), 0.3))
    torch.testing.assert_close(sizes["batch"].mean(0), torch.zeros(2, 6), rtol=0, atol=1e-6)
    torch.testing.assert_close(sizes["batch"].std(0, correction=0), torch.full((2, 6), 0.3), rtol=1e-4, atol=0)


def test_the_latent_is_the_end_of_the_orbit_and_the_orbit_starts_where_all_do():
    code = torch.randn(4, 12)
    model = control("row", code)[1]
    orbit = model.orbit(code, [0.0, 3.0, 10.0])
    torch.testing.assert_close(orbit[0], model.x0.expand(4, 6))
    torch.testing.assert_close(orbit[-1], model.latent(code))
    exact = torch.matrix_exp(3 * model.matrix(code).double()) @ model.x0.double()
    torch.testing.assert_close(orbit[1], exact.float())


def test_an_encoder_that_gives_too_few_numbers_is_named():
    model = AutoNCODE(*networks(ARCHITECTURES["mnist"], 1 / 64, 49, 25), 25)
    with pytest.raises(ValueError, match="encoder: must give 50 numbers an image, not 49"):
        model.loss(torch.rand(2, 1, 28, 28))


def test_the_flow_is_solved_under_autocast():
    model = autoencoding.build(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = model.loss(torch.rand(4, 1, 28, 28))
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_the_start_is_redrawn_in_training_only():
    model = autoencoding.build(dataclasses.replace(SMALL, redraw=True))
    code = torch.randn(2, 8)
    assert not torch.equal(model.orbit(code, [0.0]), model.orbit(code, [0.0]))
    model.eval()
    torch.testing.assert_close(model.orbit(code, [0.0])[0], model.x0.expand(2, 4))


def test_the_gaussian_likelihood_is_the_best_fitting_variances():
    torch.manual_seed(0)
    model = autoencoders.Autoencoder(nn.Identity(), nn.Identity(), "gaussian")
    x, logits = torch.rand(8, 1, 4, 4), torch.randn(8, 1, 4, 4)
    error = torch.sigmoid(logits) - x

    def nats(variance):
        return -torch.distributions.Normal(0, variance.sqrt()).log_prob(error).sum() / 8

    best = error.square().mean()
    torch.testing.assert_close(model.negative_log_likelihood(logits, x), nats(best))
    assert nats(best) < min(nats(0.9 * best), nats(1.1 * best))


def test_the_variational_bound_is_above_the_likelihood_by_the_divergence():
    model = autoencoding.build(dataclasses.replace(SMALL, model="vae"))
    x = torch.rand(4, 1, 28, 28)
    loss, metrics = model.loss(x)
    mean, log_variance = model.posterior(x)
    prior = torch.distributions.Normal(0, 1)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(loss, torch.as_tensor(metrics["nats"]) + divergence)


def test_equal_parameters_are_equal():
    def count(model):
        config = autoencoding.Config(model, 0, dataset="mnist")
        return sum(parameter.numel() for parameter in autoencoding.build(config).parameters())

    ncode, equal = count("ncode"), count("equal")
    assert abs(equal / ncode - 1) < 1e-3
    # A learned map costs a matrix and a bias; the flow costs nothing.
    assert count("linear") == count("mapped") == ncode + 50 * 25 + 25


def test_what_the_map_is_given_is_the_horizon_times_the_control():
    model = autoencoding.build(autoencoding.Config("mapped", 0, dataset="mnist", width=0.1))
    model.map = nn.Identity()
    code = torch.randn(3, 50)
    torch.testing.assert_close(model.latent(code), 10 * model.control(code).flatten(1))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="model"):
        autoencoding.build(autoencoding.Config("transformer", 0))
    with pytest.raises(ValueError, match="kind"):
        networks(ARCHITECTURES["mnist"], 1.0, 4, kind="graph")
    with pytest.raises(ValueError, match="likelihood"):
        autoencoders.Autoencoder(nn.Identity(), nn.Identity(), "cauchy")
    with pytest.raises(ValueError, match="normalisation"):
        AutoNCODE(nn.Identity(), nn.Identity(), 3, normalisation="magic")


def test_a_run_is_kept_with_its_weights(tmp_path):
    record = autoencoding.experiment.run(SMALL, tmp_path)
    first, *_, last = record.history.evaluations["nats"]
    assert last < first
    assert record.metrics["failures"] == 0
    model = record.model()
    with torch.no_grad():
        again = autoencoding.reconstruction(model, autoencoding.prepare("digits", "", 256).test[0])
    assert again["nats"] == pytest.approx(record.metrics["test_nats"], rel=1e-6)


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, model="vae")
    whole = autoencoding.experiment.run(config, tmp_path / "whole")
    steps = 0
    original = rivals.VariationalAutoencoder.loss

    def interrupted(self, x):
        nonlocal steps
        steps += 1
        if steps == 6:
            raise KeyboardInterrupt
        return original(self, x)

    monkeypatch.setattr(rivals.VariationalAutoencoder, "loss", interrupted)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 3)
    for _ in range(2):
        try:
            resumed = autoencoding.experiment.run(config, tmp_path / "parts")
        except KeyboardInterrupt:
            continue
    assert resumed.metrics == whole.metrics


def test_recordings_name_their_runs():
    for plan in autoencoding.experiment.planned().values():
        planned = plan.configs()
        assert len(set(planned)) == len(planned)
        # What is asked first comes first; within that and behind it, seed by seed.
        seeds = [config.seed for config in planned]
        assert sum(a > b for a, b in itertools.pairwise(seeds)) <= 1


def test_the_splits_are_floats_between_0_and_1():
    ready = autoencoding.prepare("digits")
    x, y = ready.train
    assert x.shape[1:] == (1, 28, 28)
    assert (x.min(), x.max()) == (0, 1)
    assert torch.equal(y, datasets.load("digits").train.y)


def test_a_scale_is_chosen_on_validation_and_a_failed_training_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    base = dataclasses.replace(SMALL, epochs=1, normalisation="none")
    found = analysis.tuned(base, [0.1, 1e6], seeds=1)
    # Unbounded entries over [0, 10] leave the floating-point range at the second scale.
    assert found.tried[1e6] == float("inf")
    assert found.scale == 0.1
    assert [record.config.seed for record in found.completed] == [0]
    beyond = analysis.attempt(dataclasses.replace(base, scale=1e6))
    assert beyond.metrics["test_nats"] == float("inf")
    assert analysis.Tuned({}, 1e6, [beyond, None, *found.runs]).completed == found.completed


def test_an_image_out_of_range_makes_the_loss_infinite():
    model = autoencoding.build(dataclasses.replace(SMALL, normalisation="none", scale=1e6)).eval()
    with torch.no_grad():
        found = autoencoding.reconstruction(model, torch.rand(4, 1, 28, 28))
    assert found == {"nats": float("inf"), "mse": float("inf")}


def test_paths_begin_at_the_shared_start_and_end_at_the_reconstruction(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    (record,) = analysis.sweep(dataclasses.replace(SMALL, epochs=1), 1)
    model, x = record.model(), torch.rand(5, 1, 28, 28)
    orbit = latents.orbit_images(model, x, [0.0, 10.0])
    line = line_images(model, x, [0.0, 1.0])
    for images in (orbit, line):
        torch.testing.assert_close(images[0], images[0, :1].expand_as(x))
        torch.testing.assert_close(images[1], model(x).detach(), rtol=1e-4, atol=1e-5)
    found = errors(latents.orbit_images, model, x, [0.0, 10.0])
    assert found.shape == (2, 5)
    assert found[1] == pytest.approx((model(x) - x).square().flatten(1).mean(1).tolist(), rel=1e-3)


def test_what_a_path_has_left_behind_half_way():
    error = np.array([[5.0, 3.0], [1.0, 1.0], [0.5, 0.5], [0.0, 0.0], [0.0, 0.0]])
    assert halves("line", error) == {
        "line_start": 4.0, "line_half": 0.5, "line_end": 0.0, "line_fallen": 3.5 / 4
    }  # fmt: skip


def test_an_orbit_is_followed_to_its_end_and_beyond(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    settings = {**dataclasses.asdict(SMALL), "epochs": 2, "followed": 50}
    ours = orbits.experiment.run(orbits.Config(**settings))
    assert ours.metrics["orbit_start"] == pytest.approx(ours.array("orbit")[0], rel=1e-5)
    # 21 of 31 places lie on [0, T].
    assert ours.metrics["orbit_end"] == pytest.approx(ours.array("orbit")[20], rel=1e-5)
    assert ours.array("t")[20] == pytest.approx(SMALL.horizon)
    assert ours.metrics["orbit_end"] == pytest.approx(ours.metrics["line_end"], rel=1e-3), "both end at x(T)"
    plain = orbits.experiment.run(orbits.Config(**{**settings, "model": "autoencoder"}))
    assert "line_fallen" in plain.metrics and "bend" not in plain.metrics


@pytest.mark.filterwarnings("ignore:invalid value")
def test_images_that_never_change_have_not_formed(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))

    def flat(model, x, t):
        return torch.zeros(len(t), *x.shape)

    monkeypatch.setattr(latents, "orbit_images", flat)
    settings = {**dataclasses.asdict(SMALL), "epochs": 1, "followed": 50}
    result = orbits.experiment.train(orbits.Config(**settings))
    assert (result.metrics["formed"], result.metrics["orbit_falls"]) == (0, 0)


def test_a_model_that_gives_the_mean_image_has_learnt_nothing():
    ready = autoencoding.prepare("digits", images=500)
    config = dataclasses.replace(SMALL, images=500)
    mean = (ready.validation[0] - ready.train[0].mean(0)).square().mean().item()

    def record(mse):
        return Run("", autoencoding.experiment, config, {"validation_mse": mse}, History(), {}, Path())

    assert analysis.learns(record(0.5 * mean))
    assert not analysis.learns(record(0.99 * mean))
    assert not analysis.learns(record(float("inf")))
    assert not analysis.learns(None)


def test_recorded_normalisations_are_compared_on_the_seeds_that_all_have(monkeypatch):
    def recording(name):
        made = {"autoencoding_mnist": [("row", 0), ("row", 1)], "autoencoding_mnist_normalisations": [("none", 1)]}
        configs = [autoencoding.Config("ncode", seed, normalisation=n) for n, seed in made.get(name, [])]
        configs += [autoencoding.Config("vae", 0)] * (name == "autoencoding_mnist")
        return [recordings.RecordedRun("", "", config, {}, {}, {}) for config in configs]

    monkeypatch.setattr(analysis.recordings, "find", recording)
    found = analysis.normalisations()
    assert {name: [one.config.seed for one in of] for name, of in found.items()} == {"row": [1], "none": [1]}


def test_an_orbits_picture_goes_from_the_start_to_the_reconstruction_and_the_image(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    record = autoencoding.experiment.run(autoencoding.Config("ncode", 0, images=500, width=0.1, epochs=1, looks=1))
    images, times = analysis.orbit_picture(record, rows=3, columns=4)
    assert images.shape == (3, 4, 1, 28, 28)
    assert times == pytest.approx([0, 5, 10])
    np.testing.assert_allclose(images[:, 0], np.broadcast_to(images[0, 0], (3, 1, 28, 28)), atol=1e-6)
    x, y = autoencoding.prepare("digits", images=500).validation
    of_class = torch.stack([x[y == label][0] for label in range(3)])
    np.testing.assert_array_equal(images[:, 3], of_class.cpu())
    ends = record.model()(of_class.cpu()).detach()
    np.testing.assert_allclose(images[:, 2], ends, rtol=1e-3, atol=1e-5)
    figure, axes = plt.subplots()
    figures.draw_orbit(axes, images, times)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "5", "10", "image"]
    plt.close(figure)


def test_recorded_models_are_compared_on_the_seeds_that_all_have(monkeypatch):
    def recording(name):
        models = {"autoencoding_mnist": [("ncode", 0), ("ncode", 1), ("vae", 0)]}.get(name, [("linear", 0)])
        return [recordings.RecordedRun(f"{m}{s}", "", autoencoding.Config(m, s), {}, {}, {}) for m, s in models]

    monkeypatch.setattr(analysis.recordings, "load", recording)
    found = analysis.bottlenecks()
    assert {model: [one.id for one in runs] for model, runs in found.items()} == {
        "ncode": ["ncode0"],
        "linear": ["linear0"],
    }


def test_a_half_circle_bends_by_half_its_chord():
    # A rotation by π carries (1, 0) to (-1, 0).
    model = AutoNCODE(nn.Flatten(), nn.Identity(), 2, entries=1, normalisation="none", scale=1.0, horizon=torch.pi)
    model.x0 = torch.tensor([1.0, 0.0])
    model.columns = torch.tensor([[1, 0]])
    assert bend(model, torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2)) == pytest.approx(0.5, rel=1e-5)


def test_a_rate_is_chosen_by_the_plain_autoencoder_and_a_scale_by_the_component_wise_readings():
    settings = {"dataset": "mnist", "epochs": 50, "looks": 10, "learning_rate": 4e-3}
    configs = plans.tuning(settings, rates=[1e-3, 4e-3], scales=[0.1, 0.2], epochs=5)
    assert {(config.seed, config.epochs, config.looks) for config in configs} == {(autoencoding.TUNING_SEED, 5, 1)}
    assert [config.learning_rate for config in configs if config.model == "autoencoder"] == [1e-3, 4e-3]
    ours = [(config.normalisation, config.scale, config.learning_rate) for config in configs if config.model == "ncode"]
    assert ours == [(name, scale, 4e-3) for name in autoencoding.COMPONENT_WISE for scale in (0.1, 0.2)]


def test_the_table_of_a_tuning_marks_what_the_comparison_uses(monkeypatch):
    made = [
        recordings.RecordedRun("", "", config, {"validation_nats": 70.0 + k}, {}, {})
        for k, config in enumerate(autoencoding.experiment.planned()["autoencoding_mnist_tuning"].configs())
    ]
    monkeypatch.setattr(recordings, "find", lambda name: made if name == "autoencoding_mnist_tuning" else [])
    rows = tables.tuning_rows("autoencoding_mnist")
    assert [row[5] for row in rows[:2]] == ["70.00", "71.00"]
    assert [row[1] for row in rows if row[-1]] == ["autoencoder", "AutoN-CODE"]
    monkeypatch.setattr(recordings, "find", lambda name: [])
    assert tables.tuning_rows("autoencoding_mnist") == []


@pytest.mark.parametrize("name", ["autoencoding_mnist", "autoencoding_cifar10"])
def test_the_recorded_comparison_uses_what_its_tuning_found_best(name):
    used = {one.model: one for one in autoencoding.experiment.planned()[name].configs()}
    tried = recordings.load(f"{name}_tuning")

    def best(model):
        found = min((run for run in tried if run.config.model == model), key=lambda r: r.metrics["validation_nats"])
        return found.config

    assert used["autoencoder"].learning_rate == best("autoencoder").learning_rate
    ours = best("ncode")
    assert ours.learning_rate == used["ncode"].learning_rate
    assert (ours.normalisation, ours.scale) == (used["ncode"].normalisation, used["ncode"].scale)


def test_the_recorded_normalisations_are_each_at_the_scale_that_its_tuning_found_best():
    tried: dict[str, dict[float, float]] = {}
    for name in ("autoencoding_mnist_tuning", "autoencoding_mnist_normalisations_tuning"):
        for one in recordings.load(name):
            if one.config.model == "ncode":
                of = tried.setdefault(one.config.normalisation, {})
                of[one.config.scale] = one.metrics["validation_nats"]
    assert all(set(of) == set(tried["none"]) for of in tried.values()), "equal trials"
    planned = {
        one.normalisation: one
        for one in autoencoding.experiment.planned()["autoencoding_mnist_normalisations"].configs()
    }
    assert set(planned) >= {"none", *autoencoding.COMPONENT_WISE} - {"row"}
    for name, one in planned.items():
        assert one.scale == min(tried[name], key=tried[name].get)
        assert one.learning_rate == autoencoding.experiment.planned()["autoencoding_mnist"].configs()[0].learning_rate


def test_a_difference_wants_the_same_seeds():
    def runs(*seeds):
        return [
            recordings.RecordedRun("", "", autoencoding.Config("ncode", seed), {"test_nats": loss}, {}, {})
            for seed, loss in seeds
        ]

    # Differences of -1 and -3: mean -2, deviation √2, t(0.975, 1) = 12.706.
    low, high = analysis.against(runs((0, 5.0), (1, 6.0)), runs((1, 9.0), (0, 6.0)))
    assert (low, high) == pytest.approx((-2 - 12.706, -2 + 12.706), abs=1e-2)
    assert np.isnan(analysis.against(runs((0, 5.0), (1, 6.0)), runs((0, 5.0), (2, 6.0)))).all()


def test_recorded_models_are_set_beside_the_plain_autoencoder(monkeypatch):
    def find(name):
        if name != "autoencoding_mnist":
            return []
        losses = {"autoencoder": (10.0, 12.0), "ncode": (8.0, 11.0), "vae": (13.0,)}
        return [
            recordings.RecordedRun("", "", autoencoding.Config(model, seed, dataset="mnist", epochs=50),
                             {"test_nats": loss, "test_mse": 0.01, "parameters": 1234.0}, {}, {})
            for model, of in losses.items() for seed, loss in enumerate(of)
        ]  # fmt: skip

    monkeypatch.setattr(recordings, "find", find)
    rows = tables.comparison_rows()
    assert typed(rows[0]) == ["MNIST, 50 epochs", "autoencoder", "2", "1234", "11.0 ± 1.4", "–", "0.010"]
    # Differences of -2 and -1: mean -1.5, deviation √½, t(0.975, 1) = 12.706.
    assert typed(rows[1][1:]) == ["AutoN-CODE", "2", "1234", "9.5 ± 2.1", "[-7.85, 4.85]", "0.010"]
    assert typed(rows[2][1:]) == ["VAE", "1", "1234", "13.0", "–", "0.010"]


def followed(model, seed, share):
    """A recorded run that followed images: half way so much of the error's fall is behind."""
    ends = {"start": 0.4, "half": 0.2, "end": 0.1, "fallen": share + 0.001 * seed}
    metrics = {f"{path}_{name}": value for path in ("orbit", "line") for name, value in ends.items()}
    metrics |= {"orbit_falls": 0.95 + 0.001 * seed, "formed": 0.5 + 0.001 * seed, "closest": 10.0, "bend": 0.1}
    return recordings.RecordedRun("", "", orbits.Config(model, seed), metrics, {}, {})


def test_the_checks_of_images_forming_follow_from_the_followed_runs():
    shares = {"ncode": 0.8, "autoencoder": 0.9}
    made = {model: [followed(model, seed, share) for seed in range(3)] for model, share in shares.items()}
    # The straight line is ahead of the orbit; few images have formed, and nearly every step falls.
    assert list(verdict.n24_context({"recorded": made}).values()) == [True, False]
    for run in made["ncode"]:
        run.provenance["started"] = "2026-11-27T00:00:00"
    assert [(one.part, one.estimate) for one in verdict.n24({"recorded": made})] == [
        ("a", pytest.approx(0.951)),
        ("b", pytest.approx(0.501)),
    ]
    assert "4.0 times the end's at its start, 2.0 half way" in notes.n24({"recorded": made})
    (row,) = tables.formation({"recorded": made})["rows"]
    assert len(row) == len(tables.formation({"recorded": made})["columns"])
    assert typed(row[-1]) == "90.10 ± 0.10"


def test_checks_of_a_linear_bottleneck_are_asked_of_the_rivals_that_there_are():
    losses = {"ncode": (8.0, 8.1, 8.2), "linear": (9.0, 9.0, 9.3), "equal": (7.0, 7.0, 7.3)}
    made = {
        model: [
            recordings.RecordedRun("", "", autoencoding.Config(model, seed), {"test_nats": loss}, {}, {})
            for seed, loss in enumerate(of)
        ]
        for model, of in losses.items()
    }
    assert list(verdict.n16_context({"recorded": made}).values()) == [True, False]


def test_table_a1_has_a_row_for_every_data_set():
    table = tables.architectures()
    assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    by_name = {row[0]: row for row in table["rows"]}
    assert by_name["mnist"][2:5] == ["400 · linear", "25", "400 · 784"]


def test_a_plan_that_reads_its_tuning_has_no_runs_before_the_tuning_is_whole(monkeypatch):
    of_plan = autoencoding.experiment.planned()
    tried = of_plan["autoencoding_mnist_printed_normalisations_tuning"].configs()
    best = {"none": 0.5, "row": 0.2, "tanh": 0.05, "batch": 0.01}
    order = list(best)
    made = [
        recordings.RecordedRun(
            "",
            "",
            one,
            {"validation_nats": 70.0 + order.index(one.normalisation) + 9 * (one.scale != best[one.normalisation])},
            {},
            {},
        )
        for one in tried
    ]
    every = of_plan["autoencoding_mnist_printed_normalisations"]
    monkeypatch.setattr(recordings, "find", lambda name: made[:-1])
    assert every.configs() == of_plan["autoencoding_mnist_printed"].configs() == []
    monkeypatch.setattr(recordings, "find", lambda name: made)
    planned = every.configs()
    assert {(one.normalisation, one.scale) for one in planned} == set(best.items())
    assert [one.seed for one in planned] == sorted(list(range(5)) * 4), "whole seeds first"
    assert all((one.kind, one.epochs) == ("printed", 50) for one in planned)
    ours = {
        (one.normalisation, one.scale)
        for one in of_plan["autoencoding_mnist_printed"].configs()
        if one.model == "ncode"
    }
    assert ours == {("row", 0.2)}, "the best of the component-wise ones, at its best scale"


def test_every_setting_of_the_printed_networks_is_tuned_on_them():
    """The recorded comparison takes what its own tuning found: no scale of other networks."""
    best = plans.tuned("mnist_printed_normalisations")
    ours = next(one for name, one in best.items() if name in autoencoding.COMPONENT_WISE)
    of_plan = autoencoding.experiment.planned()
    for name in ("mnist_printed", "mnist_printed_horizon_readings"):
        used = [one for one in of_plan[f"autoencoding_{name}"].configs() if one.model == "ncode"]
        assert {(one.normalisation, one.scale) for one in used} == {(ours.normalisation, ours.scale)}
    recorded = [run.config for run in recordings.load("autoencoding_mnist_printed") if run.config.model == "ncode"]
    assert all((one.normalisation, one.scale) == (ours.normalisation, ours.scale) for one in recorded)


def recorded_nats(values, **settings):
    return [
        recordings.RecordedRun(
            f"{settings}-{seed}",
            "",
            autoencoding.Config("ncode", seed, dataset="mnist", kind="printed", epochs=15, **settings),
            {"validation_nats": value, "test_nats": value},
            {},
            {"started": "2026-11-27"},
        )
        for seed, value in enumerate(values)
    ]


def test_the_horizon_is_compared_with_the_better_of_the_others():
    made = {
        1.0: recorded_nats([66.0, 66.5, 66.2], horizon=1.0),
        10.0: recorded_nats([64.0, 64.1, 64.3], horizon=10.0),
        100.0: recorded_nats([65.0, 65.1, 65.2], horizon=100.0),
    }
    (one,) = verdict.n21({}, autoencoding.COMPONENT_WISE, made)
    assert (one.part, one.nearness, one.seeds) == ("b", "reduced", 3)
    assert one.estimate == pytest.approx(np.mean([-1.0, -1.0, -0.9]))
    assert "T = 100 is the better other" in one.setting
    assert verdict.n21({}, autoencoding.COMPONENT_WISE, {10.0: made[10.0]}) == []
    assert verdict.n21({}, autoencoding.COMPONENT_WISE) == []


def test_a_study_has_whatever_the_page_and_its_parts_read_of_it():
    """The page's own execution is minutes away; a name that is gone shows here."""
    package = Path(autoencoding.__file__).parent
    page = Path(__file__).parents[2] / "notebooks" / "11_autoencoding.py"
    read = {name for path in (page, *package.glob("*.py")) for name in re.findall(r"\bstudy\.(\w+)", path.read_text())}
    assert len(read) > 10
    here = {field.name for field in dataclasses.fields(Study)} | set(dir(Study))
    modules = {"Study", "LIVE", "PRINTED", "follow"}
    assert read - modules <= here


@pytest.mark.parametrize(
    ("changed", "near", "words"),
    [
        ({}, "paper", "CIFAR-10, as printed, 50 epochs"),
        ({"epochs": 10}, "reduced", "CIFAR-10, as printed, 10 epochs"),
        ({"width": 0.125}, "reduced", "CIFAR-10, as printed, 1/8 of the width, 50 epochs"),
        ({"kind": "convolutional", "width": 0.25}, "reduced", "CIFAR-10, 1/4 of the width, 50 epochs"),
        ({"kind": "perceptron", "dataset": "mnist"}, "reduced", "MNIST, 50 epochs"),
        ({"dataset": "digits"}, "toy", "5,000 digits, as printed, 50 epochs"),
    ],
)
def test_narrower_networks_are_not_the_paper_s_setting_and_are_called_so(changed, near, words):
    config = autoencoding.Config("ncode", 0, **{"dataset": "cifar10", "kind": "printed", "epochs": 50, **changed})
    assert verdict.nearness(config) == near
    assert analysis.setting(config) == words
