"""A trajectory's gradient profile: its norms as layers x matrices, whatever matrices the probed model has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_IN_LAYER = re.compile(r"layers\.(\d+)\.(.+)")


@dataclass(frozen=True)
class ProfileGrid:
    """Where each norm stands.

    Attributes:
        matrices: kinds of matrices, in the order of the norms: the rows.
        layers: numbers of the layers: the columns. A matrix outside the layers stands in a column of its own, named "".
        places: (row, column) of each norm.
    """

    matrices: tuple[str, ...]
    layers: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> ProfileGrid:
        """The grid of these norm columns."""
        found = [_IN_LAYER.fullmatch(name) for name in names]
        parts = [(match[2], match[1]) if match else (name, "") for match, name in zip(found, names, strict=True)]
        rows, columns = (
            {part: place for place, part in enumerate(dict.fromkeys(side))} for side in zip(*parts, strict=True)
        )
        return cls(tuple(rows), tuple(columns), tuple((rows[row], columns[column]) for row, column in parts))

    def fill(self, profile: np.ndarray) -> np.ndarray:
        """A profile of shape (N,) as (matrices, layers); NaN where a layer has no such matrix."""
        grid = np.full((len(self.matrices), len(self.layers)), np.nan)
        grid[tuple(np.transpose(self.places))] = profile
        return grid
