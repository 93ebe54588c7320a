"""Figure 1, case study: steps and gradient profile of the middle trajectory of the SFT half and of the RL half."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage

from prism.core.errors import BadInput
from prism.core.trajectories import Trajectory, read_trajectories
from prism.gradients.norm_files import FIXED_COLUMNS
from prism.gradients.profiles import ProfileGrid
from prism.stages.figures.scores_file import read_scores, typical_trajectories
from prism.stages.figures.style import GREY, LABEL_SIZE, PAGE, FigureFiles, finish, new_figure, panel_title

MAX_STEPS_SHOWN = 14
TASK_LETTERS, STEP_LETTERS, MAX_TASK_LINES = 58, 60, 4
LINE_INCHES, PROFILE_INCHES = 0.135, 1.5
MOST_LAYER_TICKS = 12
# of the largest norm of the trajectory
SMALLEST_SHOWN = 0.01


def draw(norms: Sequence[Path], scores: Sequence[Path], trajectories: Sequence[Path], out: FigureFiles) -> None:
    """Draw the middle trajectories of the two halves by Gini, their steps and their 7 x L gradient profiles.

    Both profiles share one colour scale: each norm is divided by the largest norm of its own trajectory, since the
    Gini coefficient does not see a common factor. The scale is logarithmic: a few matrices hold most of a gradient.

    Args:
        norms: gradient norms, all shards.
        scores: the score table, a single one.
        trajectories: the corpus, a single file; only the two trajectories of the figure need to be in it.

    Raises:
        BadInput: one of the two trajectories is missing from the corpus or the norms.
    """
    (score_file,), (corpus_file,) = scores, trajectories
    table = read_scores(score_file).set_index("id")
    corpus = {trajectory.id: trajectory for trajectory in read_trajectories(corpus_file)}
    profiles = pd.concat([pq.read_table(path).to_pandas() for path in norms]).set_index("id")
    cases = typical_trajectories(score_file)
    for case in cases:
        if case not in corpus or case not in profiles.index:
            place = corpus_file if case not in corpus else norms[0]
            raise BadInput(place, f"trajectory {case!r} of the score table is missing", "rebuild it with its rule")
    texts = [_steps_text(corpus[case]) for case in cases]
    text_inches = LINE_INCHES * (1 + max(text.count("\n") for text in texts))
    figure, axes = new_figure(
        PAGE, text_inches + PROFILE_INCHES + 0.75, 2, 2, height_ratios=(text_inches, PROFILE_INCHES)
    )
    titles = ("Case A: middle of the half routed to SFT", "Case B: middle of the half routed to RL")
    for column, (case, title, text) in enumerate(zip(cases, titles, texts, strict=True)):
        _draw_text(axes[0, column], title, text)
        gini = table.loc[case, "gini"]
        names = [name for name in profiles if name not in FIXED_COLUMNS]
        profile = profiles.loc[case, names].to_numpy(float)
        image = draw_profile(
            axes[1, column],
            ProfileGrid.of(names),
            np.maximum(profile / profile.max(), SMALLEST_SHOWN),
            LogNorm(SMALLEST_SHOWN, 1),
        )
        axes[1, column].set_title(f"Gini {gini:.3f}", fontsize=LABEL_SIZE, color=GREY, loc="left")
    axes[1, 0].set_ylabel("projection matrix")
    bar = figure.colorbar(image, ax=axes[1], ticks=(0.01, 0.1, 1), format="%g", extend="min", shrink=0.95, pad=0.02)
    bar.minorticks_off()
    bar.set_label("gradient norm /\nlargest of its trajectory")
    note = (
        f"The trajectories of median Gini in the diffuse and in the concentrated half of {len(table)}, not chosen by "
        "hand. The profiles share one logarithmic colour scale; each norm is divided by the largest of its own "
        "trajectory, and a norm below the scale has its lowest colour."
    )
    finish(figure, [note], out)


def _steps_text(trajectory: Trajectory) -> str:
    """Task and actions, one a line; a long trajectory is cut and says so."""
    task = textwrap.wrap(f"Task: {' '.join(trajectory.task.split())}", TASK_LETTERS, max_lines=MAX_TASK_LINES)
    shown = trajectory.steps[:MAX_STEPS_SHOWN]
    lines = [
        textwrap.shorten(f"{number}. {step.action}", STEP_LETTERS, placeholder=" ...")
        for number, step in enumerate(shown, 1)
    ]
    if len(trajectory.steps) > len(shown):
        lines.append(f"... {len(trajectory.steps)} steps in all")
    return "\n".join([*task, "", *lines])


def _draw_text(axes: Axes, title: str, text: str) -> None:
    panel_title(axes, title)
    # dollar signs of prices are not formulas
    axes.text(0, 1, text, va="top", transform=axes.transAxes, fontsize=LABEL_SIZE, parse_math=False, linespacing=1.3)
    axes.axis("off")


def draw_profile(axes: Axes, grid: ProfileGrid, profile: np.ndarray, colours: Normalize) -> AxesImage:
    """Draw gradient norms of shape [N] as a grid of matrices and layers, in the colours that belong to their sizes."""
    image = axes.imshow(grid.fill(profile), aspect="auto", cmap="cividis", norm=colours)
    axes.set_yticks(range(len(grid.matrices)), [name.removesuffix("_proj") for name in grid.matrices])
    shown = range(0, len(grid.layers), -(-len(grid.layers) // MOST_LAYER_TICKS))
    axes.set_xticks(shown, [grid.layers[place] for place in shown])
    axes.set_xlabel("layer")
    axes.spines[:].set_visible(False)
    return image
