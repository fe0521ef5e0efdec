"""Feature networks: shapes, names, differentiability, and what is said where one cannot be had."""

import sys

import numpy as np
import pytest
import torch

from ncode.reproduction.data import datasets
from ncode.reproduction.experiments import digit_features
from ncode.reproduction.metrics import features


@pytest.mark.parametrize("size", [14, 27, 28])
def test_digit_features_feed_its_classifier(size):
    torch.manual_seed(0)
    network = features.DigitNetwork(size).eval()
    x = torch.rand(3, 1, size, size)
    out = network.features(x)
    assert out.shape == (3, 64) and (out >= 0).all()
    torch.testing.assert_close(network(x), network.readout(out))
    found = features.digit_features(network)
    assert found.distance == "Fréchet distance (digit classifier)"
    np.testing.assert_allclose(features.extract(found, x, batch=2), out.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert features.extract(found, x).dtype == np.float64


def test_efficientnet_gives_its_pooled_features():
    pytest.importorskip("efficientnet_lite_pytorch")
    network = features.efficientnet()
    torch.manual_seed(0)
    grey = torch.rand(2, 1, 28, 28, requires_grad=True)
    out = network(grey)
    assert out.shape == (2, 1280) and out.std() > 0.01
    # One channel is three equal ones.
    torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), out)
    out.sum().backward()
    assert grey.grad.abs().max() > 0, "path lengths differentiate it"
    assert network.distance == "Fréchet distance (EfficientNet-Lite0)"


def test_a_networks_weights_move_with_it():
    pytest.importorskip("efficientnet_lite_pytorch")
    for network in (features.efficientnet(), features.digit_features(features.DigitNetwork())):
        assert {p.device.type for p in network.to("meta").parameters()} == {"meta"}


def test_its_weights_come_from_the_package_not_from_chance():
    pytest.importorskip("efficientnet_lite_pytorch")
    x = torch.rand(2, 3, 64, 64)
    first, second = (features.extract(features.efficientnet(), x) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("network", "module", "extra"),
    [
        (features.efficientnet, "efficientnet_lite_pytorch", "features"),
        (features.inception_v3, "torch_fidelity.feature_extractor_inceptionv3", "fid"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, network, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(features.FeatureError, match=rf'pip install "ncode-ode\[{extra}\]'):
        network()


def test_weights_that_cannot_be_downloaded_are_no_fid(monkeypatch):
    class Extractor:
        def __init__(self, *_):
            raise AssertionError("must not load unchecked weights")

    module = type(sys)("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", type(sys)("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def offline(*_, check_hash, weights_only, **__):
        assert check_hash and weights_only
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(features.FeatureError, match="no distance is an FID"):
        features.inception_v3()


def test_only_inception_is_called_fid(monkeypatch):
    class Extractor(torch.nn.Module):
        def __init__(self, *_):
            super().__init__()

        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            return (x.float().mean((2, 3)),)

    module = type(sys)("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", type(sys)("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: {})
    network = features.inception_v3()
    assert network.distance == "FID"
    torch.testing.assert_close(network(torch.ones(2, 1, 8, 8)), torch.full((2, 3), 255.0))


def test_the_classifier_of_digits_trains(tmp_path):
    result = digit_features.experiment.train(
        digit_features.Config(width=8, hidden=32, epochs=3), tmp_path / "checkpoint"
    )
    test = datasets.load("digits").test
    assert result.metrics["test_accuracy"] > 0.6  # Chance is 0.1.
    assert digit_features.accuracy(result.model, test.x.float() / 255, test.y) == result.metrics["test_accuracy"]
