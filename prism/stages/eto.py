"""Stage: ETO's expert conversations, played again in today's environment, as trajectories.

The recordings hold what another version of the environment said, without the admissible actions that every prompt
shows. Only the expert's thoughts and actions are taken over; observations, admissible actions and success come from the
environment here. A conversation that does not lead to the goal any more is dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.eto import read_conversations
from prism.core.files import sha256_file, write_json
from prism.core.progress import say
from prism.core.trajectories import write_trajectories
from prism.environments import load_data
from prism.environments.base import corpus_facts
from prism.stages.trajectories import CorpusFiles


def play_conversations(
    benchmark: str, source: Path, data_dir: Path, out: CorpusFiles, recipe: Any, workers: int = 1
) -> None:
    """Write the conversations of one benchmark as trajectories, sorted by id; each task once.

    Args:
        source: ETO's file.
        recipe: of the benchmark's kind for ``eto-trajectories``.

    Raises:
        BadInput: the file is not in ETO's format, or no conversation can be used.
    """
    conversations = read_conversations(source)
    attempts = load_data(benchmark).play_recorded(data_dir, recipe, conversations, workers)
    corpus = [attempt.trajectory for attempt in attempts if attempt.trajectory]
    if not corpus:
        raise BadInput(source, "no conversation leads to its goal here", "check that the games are the released ones")
    write_trajectories(out.corpus, sorted(corpus, key=lambda trajectory: trajectory.id))
    dropped = Counter(attempt.reason for attempt in attempts if attempt.reason)
    facts = {
        "source_sha256": sha256_file(source),
        "sha256": sha256_file(out.corpus),
        "conversations": len(conversations),
        "successful": sum(trajectory.success for trajectory in corpus),
        "dropped": dict(dropped),
    }
    write_json(out.manifest, {**corpus_facts(corpus), **facts})
    say(f"{len(corpus)} of {len(conversations)} conversations; dropped: {dict(dropped) or 'none'}")
