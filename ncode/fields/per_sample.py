"""Layers whose weights may differ from sample to sample: what a controller steers, applied in one call.

Every function takes its weights either shared, as PyTorch's own layer does, or per sample, with the batch as their
first dimension.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FEW = 4


def linear(
    x: Float[Tensor, "batch inputs"],
    weight: Float[Tensor, "*batch outputs inputs"],
    bias: Float[Tensor, "... outputs"] | None = None,
) -> Float[Tensor, "batch outputs"]:
    """Linear map y_b = W_b x_b + c_b, where W and c are shared or belong to each sample b.

    Args:
        x: one row a sample.
        weight: ``(outputs, inputs)``, or ``(batch, outputs, inputs)`` for weights per sample.
        bias: ``(outputs)``, or ``(batch, outputs)``; may be per sample where the weight is shared.

    Raises:
        RuntimeError: from PyTorch, when the shapes do not fit.
    """
    if bias is not None and bias.dim() > 1:
        # A scalar arrives with as many dimensions as the state.
        bias = bias.flatten(1)
    if weight.dim() == 2:
        if bias is None or bias.dim() == 1:
            return F.linear(x, weight, bias)
        return F.linear(x, weight) + bias
    if (weight.shape[0], weight.shape[2]) != tuple(x.shape):
        # The elementwise form below would broadcast.
        raise RuntimeError(f"linear: weight {tuple(weight.shape)} does not fit x {tuple(x.shape)}")
    # A batched matrix-vector product. For the small matrices of a controlled field, the elementwise form avoids
    # the overhead of one BLAS call a sample; from a few hundred entries on, bmm wins.
    if weight.shape[1] * weight.shape[2] <= 256:
        if weight.shape[2] <= FEW:
            # Sums over few features are written out: a third less time, forward and backward.
            terms = list(zip(weight.unbind(2), x.unsqueeze(2).unbind(1), strict=True))
            y = terms[0][0] * terms[0][1] if bias is None else torch.addcmul(bias, *terms[0])
            for column, feature in terms[1:]:
                y = torch.addcmul(y, column, feature)
            return y
        if weight.shape[1] <= FEW:
            y = torch.stack([(row * x).sum(1) for row in weight.unbind(1)], dim=1)
        else:
            y = (weight * x.unsqueeze(1)).sum(-1)
    else:
        y = torch.bmm(weight, x.unsqueeze(2)).squeeze(2)
    return y if bias is None else y + bias


def conv2d(
    x: Float[Tensor, "batch inputs height width"],
    weight: Float[Tensor, "*batch outputs inputs kernel kernel"],
    bias: Float[Tensor, "... outputs"] | None = None,
) -> Float[Tensor, "batch outputs height width"]:
    """Convolution y_b = W_b ∗ x_b + c_b, zero-padded to keep the size, with W and c shared or belonging to each sample.

    Args:
        x: images.
        weight: ``(outputs, inputs, k, k)`` with k odd, or ``(batch, outputs, inputs, k, k)`` for kernels per sample.
        bias: ``(outputs)``, or ``(batch, outputs)``.

    Raises:
        ValueError: on kernels of even size, for which no padding keeps the size.
        RuntimeError: from PyTorch, when the shapes do not fit.

    Gradients are direct. Beyond the shared convolution's memory, a solve keeps the batch's kernels once, however many
    evaluations it takes; their gradient is accumulated at every evaluation, so the same again while it runs backward.

    On a GPU cuDNN rounds the factors of larger kernels to TF32's ten bits, unless
    ``torch.backends.cudnn.allow_tf32 = False``: a relative error of about 1e-3, however tight the solver's tolerance.
    """
    size = weight.shape[-1]
    if size % 2 == 0 or weight.shape[-2] != size:
        raise ValueError(f"weight: kernels must be square and of odd size, not {tuple(weight.shape[-2:])}")
    if size == 1:
        # A kernel of one pixel is a matrix product over all pixels: two to four times as fast so, shared or not.
        if weight.dim() == 5 and weight.shape[0] != x.shape[0]:
            raise RuntimeError(f"conv2d: weight {tuple(weight.shape)} does not fit x {tuple(x.shape)}")
        matrix = weight.flatten(-3).expand(x.shape[0], *weight.shape[-4:-3], -1)
        y = torch.bmm(matrix, x.flatten(2)).unflatten(2, x.shape[2:])
    else:
        y = F.conv2d(x, weight, padding=size // 2) if weight.dim() == 4 else _per_sample_convolution(x, weight)
    if bias is None:
        return y
    return y + (bias[:, None, None] if bias.dim() == 1 else bias.flatten(1)[:, :, None, None])


# On a CPU, from about so many multiplications a sample, one call of the convolution for each sample costs less than
# oneDNN's grouped convolution loses (benchmarks/convolution.py: at 64 images of 50 channels, 28×28, 1.2 against 1.35
# times a shared convolution; at 16 channels, 14×14, 3.1 against 1.0).
_LARGE = 8_000_000


def _per_sample_convolution(x: Tensor, weight: Tensor) -> Tensor:
    batch, outputs, inputs, size, _ = weight.shape
    if x.shape[0] != batch or x.shape[1] != inputs:
        raise RuntimeError(f"conv2d: weight {tuple(weight.shape)} does not fit x {tuple(x.shape)}")
    height, width = x.shape[2:]
    if x.is_cuda and not _rounds_to_tf32():
        # In full float32 cuDNN's grouped convolution is slow (benchmarks/convolution.py --device cuda).
        # A compiler takes no function that has a forward derivative of its own, and decides itself what is kept.
        return (_Unfolded.forward if torch.compiler.is_compiling() else _Unfolded.apply)(x, weight)
    if not x.is_cuda and outputs * inputs * size**2 * height * width > _LARGE:
        pairs = zip(x.split(1), weight.unbind(0), strict=True)
        return torch.cat([F.conv2d(image, kernels, padding=size // 2) for image, kernels in pairs])
    y = F.conv2d(x.reshape(1, batch * inputs, height, width), weight.flatten(0, 1), padding=size // 2, groups=batch)
    return y.reshape(batch, outputs, height, width)


class _Unfolded(torch.autograd.Function):
    """A convolution with kernels per sample as one batched matrix product: the kernels times the images' patches.

    The images' gradient is the same convolution, with turned kernels. It keeps images and kernels, and no patches:
    making those again costs one copy, and keeping them ``size**2`` times the memory.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        y = torch.bmm(weight.reshape(*weight.shape[:2], -1), _patches(x, weight.shape[-1]))
        return y.reshape(*weight.shape[:2], *x.shape[2:])

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        at_x = at_weight = None
        if ctx.needs_input_grad[0]:
            at_x = _Unfolded.apply(gradient, weight.flip(3, 4).transpose(1, 2))
        if ctx.needs_input_grad[1]:
            patches = _patches(x, weight.shape[-1])
            at_weight = torch.bmm(gradient.reshape(*gradient.shape[:2], -1), patches.transpose(1, 2)).view_as(weight)
        return at_x, at_weight

    @staticmethod
    def jvp(ctx, x_t: Tensor | None, weight_t: Tensor | None) -> Tensor | None:
        x, weight = ctx.saved_tensors
        pairs = (x_t, weight), (x, weight_t)
        terms = [_Unfolded.apply(*pair) for pair in pairs if all(part is not None for part in pair)]
        return sum(terms[1:], terms[0]) if terms else None


def _patches(x: Tensor, size: int) -> Float[Tensor, "batch columns pixels"]:
    """What kernels of an odd size see of images that zeros surround, pixel by pixel, in one copy."""
    # F.unfold copies image by image on a GPU: a kernel for each of the batch.
    windows = F.pad(x, [size // 2] * 4).unfold(2, size, 1).unfold(3, size, 1)
    return windows.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * size**2, -1)


def _rounds_to_tf32() -> bool:
    """Whether cuDNN may round a convolution's factors to TF32."""
    # Where PyTorch has the newer setting, reading the older one raises once the newer was set.
    conv = getattr(torch.backends.cudnn, "conv", None)
    return torch.backends.cudnn.allow_tf32 if conv is None else conv.fp32_precision == "tf32"
