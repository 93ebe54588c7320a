"""Files of made-up gradient norms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prism.core.prompts import Row
from prism.gradients.norm_files import MODULES, write_norms
from prism.gradients.packs import Sample
from prism.gradients.prober import ProbedSample

LAYERS = 2
NAMES = [f"layers.{layer}.{module}" for layer in range(LAYERS) for module in MODULES]


def fake_norms(
    path: Path,
    numbers: Sequence[int],
    shard: int = 0,
    shards: int = 1,
    broken: tuple[int, float] | None = None,
    name: str = "t-{:03d}",
    values: np.ndarray | None = None,
    **facts: str,
) -> Path:
    """A parquet file as `prism probe` writes it; `name` makes ids of numbers, a row of `values` their norms.

    Without values, norms depend on the number alone.
    """
    probed = []
    for number in numbers:
        norms = np.random.default_rng(number).gamma(2.0, size=len(NAMES)) if values is None else values[number]
        if broken and broken[0] == number:
            norms[3] = broken[1]
        sample = Sample(name.format(number), (Row([1, 2], [0, 1]),))
        probed.append(ProbedSample(sample, 1.5, norms.tolist()))
    counts = [16 if "q_proj" in name or "o_proj" in name else 48 for name in NAMES]
    metadata = {
        "dtype": "float32",
        "model": "m",
        "model_sha256": "a",
        "data": "d",
        "data_sha256": "b",
        "prompt_sha256": "c",
        "shard": str(shard),
        "shards": str(shards),
        "parameter_counts": str(counts),
    }
    write_norms(path, probed, NAMES, metadata | facts)
    return path
