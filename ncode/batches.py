"""Where a training loop's batches come from: by number, so that a run that was interrupted finds its next one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from ncode.arguments import arguments, integer, optional


@runtime_checkable
class Source(Protocol):
    """Where batches come from: number k is a function of k alone, so that a run can resume anywhere."""

    def __getitem__(self, k: int) -> tuple[Tensor, ...]: ...


class Batches:
    """Shuffled batches of some tensors: batch k is a function of ``(seed, k)`` alone, so a run can resume anywhere.

    Args:
        tensors: all with the samples as their first dimension.
        size: of a batch; ``None`` for all samples, unshuffled. The last, smaller batch of an epoch is dropped.
        seed: of the shuffling.

    Raises:
        TypeError: on what is no tensor, or a size or seed that is no integer.
        ValueError: on no tensors, tensors of different lengths, or a batch larger than the data.
    """

    @arguments(size=optional(integer(1)), seed=integer())
    def __init__(self, *tensors: Tensor, size: int | None = None, seed: int = 0):
        for tensor in tensors:
            if not isinstance(tensor, Tensor) or tensor.dim() == 0:
                raise TypeError(f"tensors: must have the samples as their first dimension; {tensor!r:.60} has none")
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1:
            raise ValueError(f"tensors: must be of one length, not {sorted(lengths)}")
        (self.samples,) = lengths
        if self.samples == 0:
            raise ValueError("tensors: hold no samples")
        if size is not None and size > self.samples:
            raise ValueError(f"size: must lie between 1 and {self.samples}, not {size}")
        self.tensors, self.size, self.seed = tensors, size, seed
        self._epoch: tuple[int, Tensor] | None = None

    @property
    def per_epoch(self) -> int:
        """Batches in one epoch."""
        return 1 if self.size is None else self.samples // self.size

    def __getitem__(self, k: int) -> tuple[Tensor, ...]:
        """Batch number ``k``, counted over all epochs."""
        if self.size is None:
            return self.tensors
        epoch, position = divmod(k, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, _shuffled(self.samples, int(self.seed), epoch)
        rows = self._epoch[1][position * self.size : (position + 1) * self.size]
        return tuple(tensor[rows.to(tensor.device)] for tensor in self.tensors)


class Epochs:
    """The batches of something that can be iterated again and again, such as a ``DataLoader``, by number.

    Every epoch begins with a random state of its own, a function of ``seed`` and the epoch's number: a continuation
    shuffles as the run that it continues would have. It passes over the batches before its own.

    Args:
        batches: an iterable with a length.
        seed: of the random states.
    """

    def __init__(self, batches: Iterable[Any], seed: int):
        # Any: a loader has a length, which its kind does not say.
        self.batches: Any = batches
        self.seed = seed
        self._iterator: Iterator[Any] | None = None
        self._at = (-1, 0)

    def __getitem__(self, k: int) -> Any:
        """Batch number ``k``, counted over all epochs."""
        epoch, position = divmod(k, len(self.batches))
        before = torch.get_rng_state()
        try:
            if self._iterator is None or self._at[0] != epoch or self._at[1] > position:
                self._begin(epoch)
            while self._at[1] <= position:
                torch.default_generator.manual_seed(_mixed(self.seed, epoch, self._at[1]))
                batch = next(cast(Any, self._iterator))
                self._at = epoch, self._at[1] + 1
        finally:
            # The loss draws on from where it was.
            torch.set_rng_state(before)
        return tuple(batch) if isinstance(batch, list) else (batch,) if isinstance(batch, Tensor) else batch

    def _begin(self, epoch: int) -> None:
        torch.default_generator.manual_seed(_mixed(self.seed, epoch))
        own = getattr(self.batches, "generator", None)
        if isinstance(own, torch.Generator):
            own.manual_seed(_mixed(self.seed, epoch))
        self._iterator, self._at = iter(self.batches), (epoch, 0)


def numbered(batches: Any, iterations: int) -> Source:
    """``batches`` as a source of ``iterations`` of them.

    Raises:
        TypeError: when they can neither be asked for by number nor be iterated again.
        ValueError: when there are too few of them, or none.
    """
    kind = type(batches).__name__
    if isinstance(batches, str | bytes | Tensor | Iterator) or not (
        hasattr(batches, "__getitem__") or hasattr(batches, "__iter__")
    ):
        raise TypeError(f"batches: must give batch k as batches[k], or be iterable again, as a DataLoader; not {kind}")
    if isinstance(batches, Sequence) and len(batches) < iterations:
        raise ValueError(f"batches: are {len(batches)}, too few for {iterations} iterations")
    if hasattr(batches, "__getitem__"):
        return cast(Source, batches)
    try:
        length = len(batches) if isinstance(batches, Sized) else None
    except TypeError:
        # A loader of an endless data set has the method, and raises.
        length = None
    if not length:
        raise ValueError(f"batches: {kind} has no length, or holds no batch: a run could not resume in it")
    own = getattr(batches, "generator", None)
    return Epochs(cast(Any, batches), own.initial_seed() if isinstance(own, torch.Generator) else torch.initial_seed())


def _shuffled(samples: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch; neighbouring seeds and epochs share nothing."""
    mixed, order = _mixed(seed, epoch), torch.arange(samples)
    # PyTorch's generator reads 32 bits of a seed, in which two of many epochs could meet: one shuffle for each half.
    for half in divmod(mixed, 1 << 32):
        order = order[torch.randperm(samples, generator=torch.Generator().manual_seed(half))]
    return order


def _mixed(*numbers: int) -> int:
    """64 bits that have nothing to do with those of any other numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest())
