"""Profiles: how large every notebook's experiments are.

``smoke`` takes seconds a notebook and shows that everything runs; ``cpu`` is what ``make book`` runs, with every
qualitative claim visible; ``paper`` is the paper's scale, for a GPU.
"""

from __future__ import annotations

import tomllib
from importlib import resources

NAMES = ("smoke", "cpu", "paper")


def load(section: str, profile: str) -> dict:
    """The settings of ``section`` (a notebook's name without its number) in ``profile``, from ``profiles.toml``.

    What a profile does not set, it takes from the section's ``common`` table. A section without any settings is
    an empty dictionary: its notebook costs the same in every profile.

    Raises:
        ValueError: when there is no such profile.
    """
    if profile not in NAMES:
        raise ValueError(f"profile: {profile!r} is not one of {', '.join(NAMES)}")
    raw = tomllib.loads(resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8"))
    settings = raw.get(section, {})
    return {**settings.get("common", {}), **settings.get(profile, {})}
