"""What the papers state of their experiments' settings, beside what runs here, as data: no deviation goes unnamed.

``settings.toml`` tells what each key means. Of every stated setting there are up to three values of ours: at the
paper's scale (the plan), in a profile's execution of the page, and in the recordings.
"""

from __future__ import annotations

import dataclasses
import importlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ncode.reproduction import profiles
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.configs import plain
from ncode.reproduction.runs.experiment import named

Value = Any
"""A number, a text, a truth value, or several of these."""

COLUMNS = ("setting", "stated", "ours in this build", "ours in the recordings", "why")
"""The headings of :func:`deviations`."""

SCALE_COLUMNS = ("setting", "stated", "where", "ours at the paper's scale")
"""The headings of :func:`comparison`."""

NONE = "–"


@dataclass(frozen=True)
class Setting:
    """One stated setting; attributes as of ``settings.toml``."""

    name: str
    stated: Value
    where: str
    text: str = ""
    key: str = ""
    run_key: str = ""
    ours: str = ""
    recorded: str = ""
    why: str = ""
    model: str = ""
    among: bool = False

    def as_stated(self, value: Value) -> bool:
        """Whether a value of ours is the stated one; of several, whether they are the same or ``among`` ours."""
        stated, found = _several(self.stated), _several(value)
        return all(one in found for one in stated) if self.among else stated == found


@dataclass(frozen=True)
class StatedExperiment:
    """One experiment's stated settings; attributes as of ``settings.toml``."""

    id: str
    title: str
    page: str
    source: str
    profile: Sequence[str]
    recordings: Sequence[str]
    settings: Sequence[Setting]
    open: Sequence[str]
    config: str = ""
    plan: str = ""
    model: str = ""
    executed: bool = True

    def at_scale(self, setting: Setting) -> Value | None:
        """Ours at the paper's scale; ``None`` where we have no such setting."""
        return self._planned(setting, "paper", self.plan)

    def here(self, setting: Setting, profile: str) -> Value | None:
        """Ours where the page is executed in ``profile``; ``None`` where we have no such setting there."""
        if not self.executed:
            return None
        # A study's own table holds in every profile; a recording's does not.
        return self._planned(setting, profile, "" if self.plan.startswith("recorded.") else self.plan)

    def recorded(self, setting: Setting) -> list[Value]:
        """Ours in each recording that there is; without those that have no such setting."""
        found = []
        for name in self.recordings:
            runs = [plain(run.config) for run in recordings.find(name)]
            model = setting.model or self.model
            configs = [config for config in runs if not model or config.get("model", model) == model]
            if setting.key == "seeds":
                found += [len({config["seed"] for config in configs})] if configs else []
                continue
            key = setting.run_key or setting.key
            values = [_found(self._resolved(config), key, flat=True) for config in configs]
            if present := [value for value in values if value is not None]:
                found.append(_one(present))
        return found

    def _planned(self, setting: Setting, profile: str, plan: str) -> Value | None:
        settings: dict = {}
        # A recording's plan stands for itself, a study's is a table of its page's.
        for section in () if plan.startswith("recorded.") else self.profile:
            settings |= _flat(profiles.load(section, profile))
        if plan.startswith("recorded."):
            _, experiment, name = plan.split(".")
            settings |= _flat(profiles.recorded(experiment)[name])
        elif plan:
            section, *path = plan.split(".")
            table: Any = profiles.load(section, profile).options
            for part in path:
                table = table[part]
            settings |= _flat(profiles.parted(table))
        settings |= settings.get("of", {}).get(setting.model or self.model, {})
        return _found(self._resolved(settings), setting.key)

    def _resolved(self, settings: Mapping) -> dict:
        """Settings with the configuration's defaults and with what follows from them."""
        if not self.config:
            return dict(settings)
        experiment = named(self.config)
        fields = dataclasses.fields(experiment.Config)
        defaults = {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}
        whole = {**defaults, **settings}
        plans = importlib.import_module(experiment.plans)
        return whole | getattr(plans, "followed", lambda settings: {})(whole)


@cache
def load() -> dict[str, StatedExperiment]:
    """Every experiment by its id."""
    raw = tomllib.loads(resources.files(__package__).joinpath("settings.toml").read_text(encoding="utf-8"))
    found = {}
    for id_, entry in raw.items():
        settings = tuple(Setting(**one) for one in entry.pop("settings"))
        sections = tuple(_several(entry.pop("profile"), ordered=True))
        found[id_] = StatedExperiment(id=id_, settings=settings, profile=sections, **entry)
    return found


def deviations(page: str, profile: str) -> list[list[str]]:
    """A table's rows: what the papers state of a page's experiments and runs otherwise somewhere; see :data:`COLUMNS`.

    Args:
        page: a notebook's name, such as ``"11_autoencoding"``.
        profile: that it is executed in.
    """
    rows = []
    for experiment in load().values():
        for setting in experiment.settings if experiment.page == page else ():
            if setting.why:
                here = experiment.here(setting, profile) if setting.key else setting.ours
                recorded = each(experiment.recorded(setting)) if setting.key else setting.recorded
                rows.append(
                    [
                        f"{experiment.title}: {setting.name}",
                        f"{setting.text or written(setting.stated)} ({experiment.source}, {setting.where})",
                        written(here),
                        recorded or NONE,
                        setting.why,
                    ]
                )
    return rows


def comparison(experiment: StatedExperiment) -> list[list[str]]:
    """A table's rows: every stated setting, its place, and ours at the paper's scale; see :data:`SCALE_COLUMNS`."""
    rows = []
    for setting in experiment.settings:
        value = experiment.at_scale(setting) if setting.key else setting.ours or setting.stated
        differs = not setting.as_stated(value) if setting.key else bool(setting.ours and setting.why)
        ours = written(value) if differs else "as stated"
        rows.append([setting.name, setting.text or written(setting.stated), setting.where, ours])
    return rows


def each(values: Sequence[Value]) -> str:
    """What recordings have, in a table: every value once, numbers in order of size; nothing where there is none."""
    flat = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    different = list({repr(_plain(value)): value for value in flat}.values())
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in different):
        different.sort()
    return ", ".join(map(written, different))


def left_open(page: str) -> list[str]:
    """What the papers leave out or contradict of the page's experiments, each with the reading taken."""
    return [reading for one in load().values() if one.page == page for reading in one.open]


def written(value: Value) -> str:
    """A setting's value in a table."""
    if value is None:
        return NONE
    if value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(written, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _several(value: Value, ordered: bool = False) -> list:
    """Values as a list, without repetition and in order of size unless they are ``ordered``."""
    if not isinstance(value, list | tuple):
        return [_plain(value)]
    plain = [_plain(one) for one in value]
    if ordered:
        return plain
    different = {repr(one): one for one in plain}.values()
    numbers = all(isinstance(one, int | float) for one in different)
    return sorted(different) if numbers else sorted(different, key=repr)


def _plain(value: Value) -> Value:
    """A value as its equals are: tuples as lists, whole numbers as such."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one(values: Sequence[Value]) -> Value:
    """The values of a recording's runs: one where they agree."""
    flat: list = []
    for value in values:
        flat += value if isinstance(value, list) and len(values) > 1 and not isinstance(value[0], list) else [value]
    different = _several(flat)
    return different[0] if len(different) == 1 else different


def _flat(table: profiles.Profile) -> dict:
    return table.options | table.settings


def _found(settings: Mapping, key: str, flat: bool = False) -> Value | None:
    """The value at a key with dots; ``*`` gathers from all tables. In ``flat`` settings the key's ends are tried."""
    if flat:
        ends = (key, key.rpartition(".")[2], key.partition(".")[0])
        return next((settings[end] for end in ends if end in settings), None)
    here: Any = settings
    for part in key.split("."):
        if part == "*":
            here = {str(k): v for k, v in enumerate(here.values())}
            return [_found(table, key.partition("*.")[2]) for table in here.values()]
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return here
