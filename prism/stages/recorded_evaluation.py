"""Evaluations that are not played: an earlier run's records have them."""

from __future__ import annotations

import json
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import open_text, read_json, write_text
from prism.core.progress import say


def take_evaluation(record: Path, panel: Path, out: Path) -> None:
    """Put a recorded evaluation in its place.

    Raises:
        BadInput: the panel of this run is another than the one that was played.
    """
    with open_text(record) as packed:
        played = packed.read()
    if json.loads(played)["panel_sha256"] != read_json(panel)["sha256"]:
        remedy = "run it anew: --config go_on_from="
        raise BadInput(record, f"was played on another panel than {panel}", remedy)
    write_text(out, played)
    say(f"evaluation: taken from {record}")
