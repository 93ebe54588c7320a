"""Configs with a value of their own."""

from __future__ import annotations

import copy
from typing import Any


def changed(config: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of a config in which a key, as ``sft.learning_rate``, has another value."""
    config = copy.deepcopy(config)
    *path, last = key.split(".")
    level = config
    for name in path:
        level = level[name]
    level[last] = value
    return config
