"""Stages: expert trajectories, and transcripts for pre-training, played in a benchmark's real engine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import sha256_file, write_json
from prism.core.progress import say
from prism.core.trajectories import Trajectory, read_trajectories, write_trajectories
from prism.environments import load_data
from prism.environments.base import corpus_facts, in_parallel


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus: its trajectories (JSONL), and what is counted of them (JSON)."""

    corpus: Path
    manifest: Path


def collect_trajectories(benchmark: str, data_dir: Path, out: CorpusFiles, recipe: Any, workers: int = 1) -> None:
    """Let a benchmark's expert play its training tasks and write the episodes that succeeded, sorted by id.

    What the expert does not solve is dropped and counted in the manifest. The result does not depend on `workers`.

    Args:
        recipe: of the benchmark's kind for ``trajectories``.

    Raises:
        BadInput: a game does not load, or no task was solved.
    """
    data = load_data(benchmark)
    tasks = data.training_tasks(data_dir, recipe)
    played = list(in_parallel(partial(data.play_expert, data_dir, recipe), tasks, workers, "expert trajectories"))
    corpus = [attempt.trajectory for _, attempt in played if attempt.trajectory]
    if not corpus:
        raise BadInput(data_dir, "the expert solved no task", "raise max_steps or make easier games")
    _write_sorted(out.corpus, corpus)
    write_json(out.manifest, {"sha256": sha256_file(out.corpus), **data.manifest(corpus, played)})
    reasons = Counter(attempt.reason for _, attempt in played if not attempt.trajectory)
    say(f"{len(corpus)} trajectories; dropped: {dict(reasons) or 'none'}")


def import_trajectories(source: Path, out: CorpusFiles) -> None:
    """Check a corpus of the user's own and take it over, sorted by id.

    Raises:
        BadInput: names file and line of the first record that cannot be used.
    """
    corpus = read_trajectories(source)
    _write_sorted(out.corpus, corpus)
    facts = {**corpus_facts(corpus), "games": len(corpus), "dropped": []}
    write_json(out.manifest, {"sha256": sha256_file(out.corpus), **facts})
    say(f"{len(corpus)} trajectories")


def collect_transcripts(benchmark: str, data_dir: Path, out_jsonl: Path, recipe: Any, workers: int = 1) -> None:
    """Play training tasks at random, or with an expert that errs.

    Random play teaches a tiny backbone the language of the environment and of the prompt, but not how tasks are solved.

    Raises:
        BadInput: a game does not load.
    """
    data = load_data(benchmark)
    tasks = data.training_tasks(data_dir, recipe)
    played = in_parallel(partial(data.play_transcripts, data_dir, recipe), tasks, workers, "transcripts")
    _write_sorted(out_jsonl, [trajectory for _, episodes in played for trajectory in episodes])


def _write_sorted(path: Path, corpus: list[Trajectory]) -> None:
    write_trajectories(path, sorted(corpus, key=lambda trajectory: trajectory.id))
