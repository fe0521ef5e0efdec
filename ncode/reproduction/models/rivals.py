"""Autoencoders of other papers, which AutoN-CODE is compared with: variational, sparse and denoising."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, real
from ncode.reproduction.models.autoencoders import Autoencoder, Images


class VariationalAutoencoder(Autoencoder):
    """Gaussian posterior N(μ(x), diag σ²(x)), standard normal prior (Kingma and Welling 2014). The code is μ.

    Args:
        encoder: from images to μ and log σ², so to twice the code.
        decoder, likelihood: see :class:`~ncode.reproduction.models.autoencoders.Autoencoder`.
    """

    def encode(self, x: Images) -> Float[Tensor, "batch code"]:
        """The posterior's mean μ."""
        return self.posterior(x)[0]

    def posterior(self, x: Images) -> tuple[Float[Tensor, "batch code"], Float[Tensor, "batch code"]]:
        """The posterior's mean and log-variance."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        """The negative evidence lower bound, with one sample of the posterior."""
        mean, log_variance = self.posterior(x)
        sample = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        nats = self.negative_log_likelihood(self.decoder(sample), x)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return nats + divergence, {"nats": nats.item(), "divergence": divergence.item()}


class SparseAutoencoder(Autoencoder):
    """A code of sigmoid units that are on with probability ρ on average, by a penalty β·Σ KL(ρ ‖ mean unit) (Ng 2011).

    Args:
        encoder, decoder, likelihood: see :class:`~ncode.reproduction.models.autoencoders.Autoencoder`.
        activity: ρ, the share of inputs for which a unit should be on.
        weight: β, in nats.
    """

    @arguments(activity=real(above=0, below=1), weight=real(least=0))
    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: str = "bernoulli",
        activity: float = 0.1,
        weight: float = 1.0,
    ):
        super().__init__(encoder, decoder, likelihood)
        self.activity, self.weight = activity, weight

    def encode(self, x: Images) -> Float[Tensor, "batch code"]:
        return torch.sigmoid(self.encoder(x))

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        code = self.encode(x)
        nats = self.negative_log_likelihood(self.decoder(code), x)
        mean, rho = code.mean(0).clamp(1e-6, 1 - 1e-6), self.activity
        penalty = (rho * torch.log(rho / mean) + (1 - rho) * torch.log((1 - rho) / (1 - mean))).sum()
        return nats + self.weight * penalty, {"nats": nats.item(), "activity": mean.mean().item()}


class DenoisingAutoencoder(Autoencoder):
    """Trained to give back the clean image from one with Gaussian noise on it (Vincent et al. 2008).

    Args:
        encoder, decoder, likelihood: see :class:`~ncode.reproduction.models.autoencoders.Autoencoder`.
        noise: its standard deviation, in grey levels of [0, 1]; noisy pixels are clipped to that range.
    """

    @arguments(noise=real(least=0))
    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: str = "bernoulli", noise: float = 0.3):
        super().__init__(encoder, decoder, likelihood)
        self.noise = noise

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        noisy = (x + self.noise * torch.randn_like(x)).clamp(0, 1)
        nats = self.negative_log_likelihood(self.decoder(self.latent(self.encode(noisy))), x)
        return nats, {"nats": nats.item()}
