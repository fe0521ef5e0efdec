"""What is installed beside the library: a missing package is an error that says which extra brings it."""

from __future__ import annotations

from importlib.util import find_spec

DISTRIBUTION = "ncode-ode"
"""The distribution's name: ``ncode`` on the public index is an unrelated package."""

REPOSITORY = "https://github.com/ncode-companion/ncode"
"""The address that pip installs from; ``make sync`` writes it."""

REPRODUCTION = (
    "filelock",
    "matplotlib",
    "mlxtend",
    "numpy",
    "PIL",
    "platformdirs",
    "pooch",
    "requests",
    "safetensors",
    "scipy",
    "sklearn",
    "tqdm",
)
"""The modules without which nothing of the reproduction works; they come with the extra of that name."""


def command(extra: str) -> str:
    """The command that installs ``extra``."""
    return f'pip install "{DISTRIBUTION}[{extra}] @ git+{REPOSITORY}"'


def need(extra: str, *modules: str) -> None:
    """Make sure that ``modules`` can be imported.

    Raises:
        ImportError: when one of them can't, naming it and the command that installs the ``extra`` that brings it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)}: not installed; {command(extra)}", name=missing[0])
