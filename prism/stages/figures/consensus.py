"""Figure 5, consensus: how far the three metrics agree on the high-conflict half."""

from __future__ import annotations

from pathlib import Path

from matplotlib_venn import venn3

from prism.core.progress import say
from prism.stages.figures.scores_file import METRICS, read_scores
from prism.stages.figures.style import (
    BLUE,
    COLUMN,
    GREEN,
    LABEL_SIZE,
    METRIC_NAMES,
    ORANGE,
    TEXT_SIZE,
    finish,
    new_figure,
)

PAPER_CONSENSUS = "about 60%"


def draw_consensus(scores: Path, title: str, scale: str, out_svg: Path, out_png: Path) -> None:
    """Draw the overlap of the three high-conflict halves, and say what chance alone would give.

    Three independent halves share 1/8 of the corpus, that is 1/4 of each half; the paper's "about 60%" is read as a
    share of a half.
    """
    table = read_scores(scores)
    halves = [set(table.loc[table[metric] > table[metric].median(), "id"]) for metric in METRICS]
    common = set.intersection(*halves)
    size = max(len(half) for half in halves)
    # all scores equal: the upper half is empty, and so is what is common
    share = 100 * len(common) / size if size else 0.0
    figure, axes = new_figure(COLUMN, 2.6)
    venn = venn3(halves, [METRIC_NAMES[metric] for metric in METRICS], (BLUE, ORANGE, GREEN), 0.5, ax=axes[0, 0])
    for label in filter(None, venn.set_labels):
        label.set_fontsize(TEXT_SIZE)
    for label in filter(None, venn.subset_labels):
        label.set_fontsize(LABEL_SIZE)
    axes[0, 0].set_title(f"High-conflict half of {len(table)} trajectories\n{title}")
    notes = [
        f"In all three: {len(common)} of {size} ({share:.0f}% of a half). Expected of independent halves: 25% of "
        f"a half (12.5% of the corpus). Paper: {PAPER_CONSENSUS}."
    ]
    finish(figure, notes, scale, out_svg, out_png)
    say(f"figure 5: {share:.1f}% of the high-conflict half is common to the three metrics")
