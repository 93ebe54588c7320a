"""Why a trajectory scores as it does: its gradient profile as a heatmap, and the matrices that dominate."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize

from prism.core.concentration import concentration_scores
from prism.core.errors import BadInput
from prism.gradients.norm_files import NormFile, open_norms
from prism.gradients.profiles import ProfileGrid
from prism.stages.figures.case_study import draw_profile
from prism.stages.figures.style import new_figure, save

FORMATS = (".svg", ".png")
DOMINANT = 5


def explain(norms: Sequence[str | Path], sample: str, out: str | Path) -> str:
    """Draw a trajectory's gradient profile and describe it in words.

    Args:
        norms: parquet files of one probe; the first that holds the trajectory is used.
        sample: id of the trajectory.
        out: ``.svg`` or ``.png``.

    Returns:
        A few lines: loss, scores, and the matrices with the largest share of the squared gradient norm.

    Raises:
        BadInput: no file holds the trajectory (suggests the nearest id), or the picture's format is unknown.
    """
    out = Path(out)
    if out.suffix not in FORMATS:
        raise BadInput(out, f"cannot draw {out.suffix or 'a file without suffix'}", f"use {' or '.join(FORMATS)}")
    file, row = _find(norms, sample)
    profile = np.array([row[name] for name in file.names])
    _draw(profile, ProfileGrid.of(file.names), f"{sample}: gradient norm", out)
    return _describe(row, profile, file)


def _find(norms: Sequence[str | Path], sample: str) -> tuple[NormFile, dict]:
    files = [open_norms(path) for path in norms]
    for file in files:
        if (row := file.row(sample)) is not None:
            return file, row
    known = [identifier for file in files for ids, _ in file.batches() for identifier in ids]
    near = difflib.get_close_matches(sample, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"ids look like {known[0]!r}"
    raise BadInput(", ".join(map(str, norms)), f"holds no trajectory {sample!r}", hint)


def _describe(row: dict, profile: np.ndarray, file: NormFile) -> str:
    scores = concentration_scores(profile[None], np.array(file.parameter_counts, dtype=np.float64))
    energy = profile**2 / (profile**2).sum()
    order = np.argsort(-energy, kind="stable")[:DOMINANT]
    lines = [
        f"{row['id']}: loss {row['loss']:.4f} over {row['response_tokens']} response tokens"
        + (f", {row['truncated']} rows truncated" if row["truncated"] else ""),
        ", ".join(f"{name} {scores[name][0]:.4f}" for name in ("gini", "kurtosis", "cv", "l2")),
        f"largest of {len(profile)} matrices by share of the squared gradient norm:",
        *(f"  {file.names[index]:<24} {100 * energy[index]:5.1f}%  norm {profile[index]:.4g}" for index in order),
    ]
    return "\n".join(lines)


def _draw(profile: np.ndarray, grid: ProfileGrid, title: str, out: Path) -> None:
    """Heatmap of matrices x layers."""
    rows, layers = len(grid.matrices), len(grid.layers)
    figure, ((axes,),) = new_figure(max(4.5, 0.28 * layers + 2.5), max(2.8, 0.24 * rows + 1.1))
    image = draw_profile(axes, grid, profile, Normalize(0, profile.max()))
    # matplotlib's own wrapping would take dollar signs for formulas
    axes.set_title(textwrap.fill(title, 60))
    figure.colorbar(image, ax=axes, label="Frobenius norm")
    save(figure, out, out.suffix.removeprefix("."))
    plt.close(figure)
