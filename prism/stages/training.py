"""What every training is told: SFT and RL take the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Training:
    """One training of one model on one subset.

    Attributes:
        model: folder of the weights and the tokenizer to start from.
        data: SFT: the corpus of trajectories; RL: the panel of training tasks, whose ids are those of trajectories.
        out: model folder to write; appears whole or not at all.
        work: checkpoints, from which a killed run goes on; those of other settings are never taken up.
        seed: order of the data; RL: sampling and training too.
        split: CSV with columns id, score, regime; None trains on all of `data`.
        regime: part of the split to train on, ``sft`` or ``rl``.
    """

    model: Path
    data: Path
    out: Path
    work: Path
    seed: int
    split: Path | None = None
    regime: str = "sft"
