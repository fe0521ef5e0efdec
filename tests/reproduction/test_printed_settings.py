"""What the paper prints, built: Table A.1's networks, C.4's losses, C.3's baselines; and the plans that train them."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from ncode.reproduction.experiments import autoencoding, pattern_memorisation
from ncode.reproduction.models.autoencoders import Autoencoder
from ncode.reproduction.models.encoders import ARCHITECTURES, networks
from ncode.reproduction.models.memory import Task
from ncode.reproduction.models.memory_baselines import LSTMMemory, parameters
from tests.reproduction import synthetic

PRINTED = [name for name in autoencoding.experiment.planned() if "printed" in name] + ["autoencoding_celeba"]


def kinds(network):
    return [type(layer).__name__ for layer in network]


def test_mnist_is_400_units_and_25_numbers():
    encoder, decoder = networks(ARCHITECTURES["mnist"], 1.0, 50, 25, kind="printed")
    assert kinds(encoder) == ["Flatten", "Linear", "ReLU", "Linear"]
    assert kinds(decoder) == ["Linear", "ReLU", "Linear", "Unflatten"]
    sizes = [layer.weight.shape for layer in itertools.chain(encoder, decoder) if isinstance(layer, nn.Linear)]
    assert sizes == [(400, 784), (50, 400), (400, 25), (784, 400)]


def test_two_entries_a_row_give_the_vaes_number_of_parameters():
    """Section 4.4: "making our model match exactly the number of parameters of a VAE with same architecture"."""
    ours, vae = (
        autoencoding.build(autoencoding.Config(model, 0, "mnist", kind="printed")) for model in ("ncode", "vae")
    )
    assert parameters(ours) == parameters(vae)


@pytest.mark.parametrize(("place", "norms"), [("", 0), ("hidden", 2), ("code", 1), ("all", 3)])
def test_where_a_batch_normalisation_may_stand(place, norms):
    pair = networks(ARCHITECTURES["mnist"], 0.1, 4, kind="printed", batch_norm=place)
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in itertools.chain(*pair)) == norms
    with pytest.raises(ValueError, match="batch_norm"):
        networks(ARCHITECTURES["mnist"], 0.1, 4, kind="perceptron", batch_norm="hidden")


@pytest.mark.parametrize(("dataset", "kernel", "up"), [("cifar10", 4, [512, 256]), ("celeba", 5, [512, 256, 128])])
def test_colour_images_have_three_convolutions(dataset, kernel, up):
    shape = ARCHITECTURES[dataset]
    with torch.device("meta"):
        encoder, decoder = networks(shape, 1.0, 2 * shape.latent, shape.latent, kind="printed")
    convolutions = [layer for layer in encoder if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [256, 512, 1024]
    assert {(layer.kernel_size, layer.stride) for layer in convolutions} == {((kernel, kernel), (2, 2))}
    assert decoder[0].out_features == 1024 * 8 * 8
    assert kinds(decoder)[:4] == ["Linear", "Unflatten", "BatchNorm2d", "ConvTranspose2d"]
    assert [layer.out_channels for layer in decoder if isinstance(layer, nn.ConvTranspose2d)] == up
    assert decoder[-1].stride == (1, 1)


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "celeba"])
def test_printed_networks_give_images_back(dataset):
    shape = ARCHITECTURES[dataset]
    encoder, decoder = networks(shape, 1 / 64, 6, 3, kind="printed")
    x = torch.rand(2, shape.channels, shape.size, shape.size)
    assert encoder(x).shape == (2, 6)
    assert decoder(torch.randn(2, 3)).shape == x.shape


def test_the_squared_error_is_a_gaussian_of_variance_one():
    model = Autoencoder(nn.Identity(), nn.Identity(), "mse")
    x, logits = torch.rand(8, 1, 4, 4), torch.randn(8, 1, 4, 4)
    log_p = torch.distributions.Normal(torch.sigmoid(logits), 1.0).log_prob(x) + 0.5 * np.log(2 * np.pi)
    torch.testing.assert_close(model.negative_log_likelihood(logits, x), -log_p.sum() / 8)


def test_autoncode_alone_has_its_own_batch_on_celeba():
    made = {config.model: config for config in autoencoding.experiment.planned()["autoencoding_celeba"].configs()}
    assert {model: config.batch for model, config in made.items()} == {
        "autoencoder": 64,
        "ncode": 16,
        "vae": 64,
        "double": 64,
    }
    assert made["ncode"].entries == 10
    tuned = autoencoding.experiment.planned()["autoencoding_celeba_tuning"].configs()
    assert {(config.batch, config.entries, config.learning_rate) for config in tuned} == {(16, 10, 1e-3)}


@pytest.mark.parametrize("name", PRINTED)
def test_what_halves_at_plateaus_looks_every_epoch(name):
    for config in autoencoding.experiment.planned()[name].configs():
        assert config.plateau > 0
        assert config.looks == config.epochs


def test_what_is_asked_first_comes_first():
    configs = autoencoding.experiment.planned()["autoencoding_mnist_printed"].configs()
    assert {(config.model, config.seed) for config in configs[:9]} == {
        (model, seed) for model in ("autoencoder", "vae", "ncode") for seed in range(3)
    }
    assert [config.seed for config in configs[:9]] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(set(configs)) == len(configs) == 60


@pytest.fixture
def cifar10(monkeypatch, tmp_path):
    synthetic.official(tmp_path, monkeypatch)
    monkeypatch.setenv("NCODE_DATA", str(tmp_path))
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    autoencoding.prepare.cache_clear()
    yield
    autoencoding.prepare.cache_clear()


@pytest.mark.parametrize("model", ["autoencoder", "ncode", "vae", "double"])
def test_the_plan_for_cifar10_trains(cifar10, model):
    planned = next(
        c for c in autoencoding.experiment.planned()["autoencoding_cifar10_printed"].configs() if c.model == model
    )
    assert (planned.kind, planned.likelihood, planned.width, planned.batch) == ("printed", "mse", 1.0, 64)
    config = dataclasses.replace(planned, width=1 / 128, epochs=3, looks=3, batch=8)
    metrics = autoencoding.experiment.run(config).metrics
    assert np.isfinite([metrics["test_nats"], metrics["validation_nats"]]).all()
    assert metrics["failures"] == 0


def test_the_lstm_takes_several_steps_in_a_presentation():
    torch.manual_seed(0)
    model = LSTMMemory(Task(6, 2), 4, steps=5)
    stimuli = torch.randn(5, 3, 6)
    repeated, _ = model.cell(torch.cat([stimulus.expand(5, 3, 6) for stimulus in stimuli]))
    torch.testing.assert_close(model(stimuli), model.readout(repeated[-1]))


def test_all_continuous_models_of_fig_6_have_as_many_parameters():
    """Section 4.3: "All systems had the same number of learnable parameters, except for the LSTM"."""
    plan = pattern_memorisation.experiment.planned()["pattern_memorisation_printed"]
    configs = {c.learner: c for c in plan.configs() if c.seed == 0 and c.bits == 100}
    sizes = {learner: parameters(pattern_memorisation.build(config)) for learner, config in configs.items()}
    assert sizes["ncode"] == 2 * 100**2
    # Biases aside.
    assert sizes["data"] == 2 * 100**2 + 100
    assert sizes["ode_rnn"] == 2 * 100**2 + 200
    assert sizes["lstm"] > 1000 * sizes["ncode"]


@pytest.mark.parametrize("learner", ["ode_rnn", "data"])
def test_the_single_layers_of_c3_learn(learner):
    config = pattern_memorisation.Config(
        learner, 0, bits=8, patterns=1, iterations=30, batch=16, learning_rate=1e-2, printed=True, test_episodes=20
    )
    losses = pattern_memorisation.experiment.train(config).history.loss
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
