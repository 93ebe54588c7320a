"""Figure 5, consensus: how far the three metrics agree on the high-conflict half."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib_venn import venn3

from prism.core.consensus import METRICS, measure_consensus
from prism.core.progress import say
from prism.gradients.norm_files import read_shards
from prism.stages.figures.style import (
    BLUE,
    COLUMN,
    GREEN,
    LABEL_SIZE,
    METRIC_NAMES,
    ORANGE,
    TEXT_SIZE,
    FigureFiles,
    finish,
    new_figure,
)

PAPER_CONSENSUS = "about 60%, denominator not stated"


def draw(norms: Sequence[Path], benchmark: str, backbones: Sequence[str], out: FigureFiles) -> None:
    """Draw the overlap of the three high-conflict halves, and say what the same norms give without any signal.

    Args:
        norms: all shards of one probe.
    """
    consensus = measure_consensus(read_shards(norms))
    halves = [set(np.flatnonzero(half).tolist()) for half in consensus.halves]
    figure, axes = new_figure(COLUMN, 2.6)
    venn = venn3(halves, [METRIC_NAMES[metric] for metric in METRICS], (BLUE, ORANGE, GREEN), 0.5, ax=axes[0, 0])
    for label in filter(None, venn.set_labels):
        label.set_fontsize(TEXT_SIZE)
    for label in filter(None, venn.subset_labels):
        label.set_fontsize(LABEL_SIZE)
    axes[0, 0].set_title(f"High-conflict half of {consensus.halves.shape[1]} trajectories\n{benchmark}, {backbones[0]}")
    low, high = np.quantile(consensus.null, (0.025, 0.975))
    notes = [
        f"In all three: {consensus.common} of {consensus.half}, {consensus.of_half:.0f}% of a half "
        f"({consensus.of_union:.0f}% of the union). The same norms with each matrix permuted over the trajectories: "
        f"{np.median(consensus.null):.0f}% of a half (95%: {low:.0f} to {high:.0f}), p = {consensus.p:.2g}. "
        f"Paper: {PAPER_CONSENSUS}."
    ]
    finish(figure, notes, out)
    say(f"figure 5: {consensus.of_half:.1f}% of a half is common to the three metrics, p = {consensus.p:.2g}")
