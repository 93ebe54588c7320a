"""Which trajectories of a corpus are detours: labels of its manifest, which only a control reads.

A router reads the corpus and what is probed of it; neither changes when the labels change.
"""

from __future__ import annotations

from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import read_json

# the manifest's key, and the score that a split by it is named after
DETOURS, DETOUR = "detours", "detour"


def read_detours(manifest: str | Path) -> dict[str, bool]:
    """Whether each trajectory is a detour, by id.

    Raises:
        BadInput: the corpus was made without detours, or the labels are no mapping of ids to true and false.
    """
    value = read_json(manifest)
    labels = value.get(DETOURS) if isinstance(value, dict) else None
    if labels is None:
        remedy = "set benchmarks.alfworld.expert.detours, as config/control.yaml does"
        raise BadInput(manifest, "has no labels: the corpus was made without detours", remedy)
    if not isinstance(labels, dict) or not labels or not all(isinstance(label, bool) for label in labels.values()):
        raise BadInput(manifest, f"{DETOURS!r} does not say true or false of every id", "rebuild it with its rule")
    return labels
