"""What a process asked the store for: which runs, and of which of them the weights. An archive holds that of a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_ASKED: dict[str, bool] = {}
_QUIET: list[bool] = []


def begin() -> None:
    """Forget what was asked for: a page begins."""
    _ASKED.clear()


def note(run: str, weights: bool = False) -> None:
    """Remember that ``run``, an experiment and an id as in ``annuli/6a3c2e20aa1b9c3d``, was asked for."""
    if not _QUIET:
        _ASKED[run] = weights or _ASKED.get(run, False)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it nothing is remembered: what a run asks for while it is made, nobody needs once it is finished."""
    _QUIET.append(True)
    try:
        yield
    finally:
        _QUIET.pop()


def runs() -> dict[str, bool]:
    """Every run that was asked for, and whether its weights or arrays were."""
    return dict(sorted(_ASKED.items()))
