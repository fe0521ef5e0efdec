"""Arguments that make no sense are refused before anything is spent, by one error that names the argument.

``@arguments(dim=integer(1), activation=one_of(ACTIVATIONS))`` stands above a function or an ``__init__`` and checks
those arguments of every call. A rule takes an argument's name and value, and raises ``TypeError`` for another kind of
thing, ``ValueError`` for a value that makes no sense.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from ncode.tracing import readable

LARGEST = 1e38
"""No finite number in single precision is much larger."""

Rule = Callable[[str, Any], None]
F = TypeVar("F", bound=Callable[..., Any])


def arguments(**rules: Rule) -> Callable[[F], F]:
    """A decorator that applies rules, by name, to the arguments of every call."""

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        if unknown := rules.keys() - signature.parameters.keys():
            raise TypeError(f"{function.__qualname__} has no argument {', '.join(sorted(unknown))}")

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:
                # Python's own message names the function.
                return function(*args, **kwargs)
            for name, rule in rules.items():
                if name in given:
                    rule(name, given[name])
            return function(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate


def integer(least: int | None = None, most: int | None = None) -> Rule:
    """An integer, from ``least`` to ``most``."""

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name}: must be an integer, not {_shown(value)}")
        number = int(value)
        if least is not None and number < least:
            raise ValueError(f"{name}: must be at least {least}, not {value}")
        if most is not None and number > most:
            raise ValueError(f"{name}: must be at most {most}, not {value}")

    return rule


def real(
    least: float | int = -math.inf,
    most: float | int = math.inf,
    above: float | int = -math.inf,
    below: float | int = math.inf,
    infinite: bool = False,
) -> Rule:
    """A number within its bounds, not NaN, and finite in single precision unless ``infinite``."""

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name}: must be a number, not {_shown(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isnan(number) or (abs(number) > LARGEST and not infinite):
            raise ValueError(f"{name}: must be finite in single precision, not {value}")
        if number < least or (above > -math.inf and number <= above):
            raise ValueError(
                f"{name}: must be {'at least' if number < least else 'above'} {max(least, above):g}, not {value}"
            )
        if number > most or (below < math.inf and number >= below):
            raise ValueError(
                f"{name}: must be {'at most' if number > most else 'below'} {min(most, below):g}, not {value}"
            )

    return rule


def integers(least: int) -> Rule:
    """A sequence of integers, each at least ``least``."""
    one = integer(least)

    def rule(name: str, value: Any) -> None:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise TypeError(f"{name}: must be a sequence of integers, not {_shown(value)}")
        for part in value:
            one(name, part)

    return rule


def flag(name: str, value: Any) -> None:
    """``True`` or ``False``; anything else would count as one of them."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: must be True or False, not {_shown(value)}")


def one_of(options: Collection[str]) -> Rule:
    """One of some words."""

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in options:
            raise ValueError(f"{name}: {_shown(value)} is not one of {', '.join(options)}")

    return rule


def words(name: str, value: Any) -> None:
    """A word, or several."""
    if isinstance(value, str | Iterator):
        # To look into an iterator would use it up.
        return
    if not isinstance(value, Iterable) or not all(isinstance(word, str) for word in value):
        raise TypeError(f"{name}: must be a string or strings, not {_shown(value)}")


def instance(*kinds: type) -> Rule:
    """An object of one of these classes."""

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{name}: must be a {wanted}, not {_shown(value)}")

    return rule


def function(name: str, value: Any) -> None:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{name}: must be a function, not {_shown(value)}")


def optional(rule: Rule) -> Rule:
    """``None``, or what ``rule`` allows."""
    return lambda name, value: None if value is None else rule(name, value)


def tensor(*shape: int | None, least: int = 0, finite: bool = True) -> Rule:
    """A floating-point tensor.

    Args:
        shape: its dimensions, ``None`` for any size; any number of dimensions where none is given.
        least: how long its first dimension must be at least.
        finite: whether its values must be.
    """

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else _shown(value)
            raise TypeError(f"{name}: must be a floating-point tensor, not {kind}")
        sizes = tuple(value.shape)
        if shape and (len(sizes) != len(shape) or any(w not in (None, n) for n, w in zip(sizes, shape, strict=True))):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"{name}: must have shape ({wanted}), not {sizes}")
        if least and (not sizes or sizes[0] < least):
            raise ValueError(f"{name}: must have at least {least} rows, not shape {sizes}")
        if not finite or not readable():
            return
        # A sum is many times faster, and finite only where all of its terms are.
        if not torch.isfinite(value.detach().sum()) and not torch.isfinite(value).all():
            raise ValueError(f"{name}: must be finite")

    return rule


def both(*rules: Rule) -> Rule:
    """What all of the rules allow."""

    def rule(name: str, value: Any) -> None:
        for one in rules:
            one(name, value)

    return rule


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | bytes | int | float | complex | type(None)) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
