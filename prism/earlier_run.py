"""Results of an earlier run that count as made: those in its records whose origin is what the config asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.results import Results
from prism.origins import Origins

# beside the folder of records: their origins, by their path below it
ORIGINS = "origins.json"
RECORDS = "records"


class EarlierRun:
    """The records that a run goes on from.

    Args:
        config: the whole config.
        folder: what `prism stage pack-records` wrote, or will write.

    Raises:
        BadInput: the folder holds no such records.

    Attributes:
        results: where the records lie.
    """

    def __init__(self, config: Mapping[str, Any], folder: str | Path):
        self.results, self._origins = Results(Path(folder) / RECORDS), Origins(config)
        self._packed = read_origins(folder)

    def find(self, relative: str) -> Path | None:
        """The record of a result; None where there is none, or one that was made from something else.

        Args:
            relative: the result's path below the folder of results; of a training, its folder.
        """
        packed = self._packed.get(relative)
        if packed is None or packed != self._origins.of(relative):
            return None
        return self.results.root / relative

    def holds(self, path: Path) -> bool:
        """Whether a path is that of a record."""
        return path.is_relative_to(self.results.root)


def read_origins(folder: str | Path) -> Mapping[str, str]:
    """The origins of the records in a folder; none where there is no such folder yet.

    Raises:
        BadInput: the folder holds something else.
    """
    path = Path(folder) / ORIGINS
    if not Path(folder).exists():
        return {}
    if not path.is_file():
        remedy = "name a folder that `prism stage pack-records --config` made, or leave go_on_from empty"
        raise BadInput("config go_on_from", f"{str(folder)!r} holds no {ORIGINS}", remedy)
    return read_json(path)


def packed_name(path: Path) -> Path:
    """What an evaluation is called among records: they are compressed to a tenth."""
    return path.with_name(f"{path.name}.gz")
