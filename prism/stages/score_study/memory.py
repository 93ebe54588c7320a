"""Section 2.2: is the probe's memory "nearly identical to a standard forward pass"?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.results import Results
from prism.stages.score_study.frames import Study

COLUMNS = ("benchmark", "backbone", "device", "dtype", "tokens", "weights_mib", "pass", "peak_mib", "times_forward")
PASSES = {
    "forward": "forward pass, nothing kept",
    "forward_kept": "forward pass, activations kept",
    "probe": "probe",
    "probe_checkpointed": "probe with gradient checkpointing",
    "naive": "backward pass with gradients of all weights",
}
NOTES = [
    "peak_mib: most memory above the weights during a pass over one row of tokens, MiB: resident memory of the process "
    "on a CPU, allocated memory on a GPU; times_forward: of the forward pass that keeps nothing. One measurement each",
    "the paper (section 2.2): nearly identical to a standard forward pass",
]


def study(memory: Sequence[Path]) -> Study:
    """One row a backbone and pass."""
    rows, lines = [], []
    for place, (path,) in Results.by_place(memory).items():
        found = read_json(path)
        try:
            shared = [*place, *(found[key] for key in ("device", "dtype", "tokens")), float(found["weights_mib"])]
            peaks = {name: float(found["peak_mib"][name]) for name in PASSES}
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(path, f"lacks {error}", "measure it again with its rule") from error
        base = max(peaks["forward"], 1e-9)
        rows += [[*shared, name, peak, peak / base] for name, peak in peaks.items()]
        tokens, weights = found["tokens"], f"{found['weights_mib']:.1f}"
        lines += [
            [*place, tokens, weights, PASSES[name], f"{peak:.1f}", f"{peak / base:.1f}"] for name, peak in peaks.items()
        ]
    heads = ["benchmark", "backbone", "tokens", "weights, MiB", "pass", "peak above the weights, MiB", "times forward"]
    return Study(COLUMNS, rows, NOTES, {"": pd.DataFrame(lines, columns=heads)})
