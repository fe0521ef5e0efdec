"""Configurations on disk and back: a dataclass of plain values as JSON, and the dataclass that JSON stands for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

C = TypeVar("C")


def plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON gives it back.

    Raises:
        ValueError: for anything but a dataclass.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ValueError(f"config: must be a dataclass of plain values, not {type(config).__name__}")
    return json.loads(json.dumps(dataclasses.asdict(config)))


def typed(kind: type[C], values: Mapping[str, Any]) -> C:
    """The configuration of class ``kind`` that ``values`` from JSON stand for; lists become tuples.

    A field that ``values`` lack has its default: it came after the run, which was made as if it had that value.
    """
    return kind(**{name: _frozen(value) for name, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
