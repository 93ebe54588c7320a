"""A corpus of the user's own, in place of the expert's trajectories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from prism.core.files import sha256_file, write_json
from prism.core.progress import say
from prism.core.trajectories import read_trajectories, write_trajectories


def import_corpus(file: Path, out_jsonl: Path, manifest_path: Path) -> None:
    """Check a trajectory file and take it over, sorted by id.

    Raises:
        BadInput: names the file and the line that cannot be used.
    """
    corpus = sorted(read_trajectories(file), key=lambda trajectory: trajectory.id)
    write_trajectories(out_jsonl, corpus)
    manifest = {
        "source": str(file),
        "trajectories": len(corpus),
        "by_type": dict(sorted(Counter(trajectory.task_type for trajectory in corpus).items())),
        "steps": sum(len(trajectory.steps) for trajectory in corpus),
        "sha256": sha256_file(out_jsonl),
    }
    write_json(manifest_path, manifest)
    say(f"corpus: {len(corpus)} trajectories of {file}")
