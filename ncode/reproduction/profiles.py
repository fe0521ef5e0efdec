"""Profiles: how large every notebook's experiments are.

``smoke`` takes seconds a notebook and shows that everything runs; ``cpu`` is what ``make book`` runs, with every
qualitative claim visible; ``paper`` is the paper's scale, for a GPU. ``recorded`` has no settings of its own: it draws
the pages from an archive of finished runs, in the settings of the profile that these were made in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

NAMES = ("smoke", "cpu", "paper")
RECORDED = "recorded"


@dataclass(frozen=True)
class Profile:
    """One table of ``profiles.toml``.

    Attributes:
        settings: fields of the experiment's configuration.
        options: everything else, such as how many seeds there are and what is tried.
    """

    settings: dict[str, Any]
    options: dict[str, Any]


def load(section: str, profile: str) -> Profile:
    """The section (a notebook's name without its number) of ``profiles.toml`` in ``profile``.

    What a profile does not set, it takes from the section's ``common`` table. A section that is not there is empty: its
    notebook costs the same in every profile.

    Raises:
        ValueError: when there is no such profile.
    """
    if profile not in NAMES:
        raise ValueError(f"profile: {profile!r} is not one of {', '.join(NAMES)}, and {RECORDED} has no settings")
    tables = _read().get(section, {})
    common, own = (parted(tables.get(name, {})) for name in ("common", profile))
    return Profile(common.settings | own.settings, common.options | own.options)


def recorded(experiment: str) -> dict[str, Profile]:
    """The tables below ``recorded.<experiment>``, by name: what is recorded whatever the profile."""
    return {name: parted(table) for name, table in _read()["recorded"][experiment].items()}


def parted(table: Mapping[str, Any]) -> Profile:
    """A table with its nested ``settings`` apart from the rest."""
    return Profile(dict(table.get("settings", {})), {k: v for k, v in table.items() if k != "settings"})


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8"))
