"""Figure 1, case study: the steps and the gradient profile of the most diffuse and the most concentrated trajectory."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from prism.core.errors import BadInput
from prism.core.trajectories import Trajectory, read_trajectories
from prism.gradients.norm_files import FIXED_COLUMNS
from prism.gradients.profiles import ProfileGrid
from prism.stages.figures.scores_file import extreme_trajectories, read_scores
from prism.stages.figures.style import GREY, LABEL_SIZE, PAGE, FigureFiles, finish, new_figure, panel_title

MAX_STEPS_SHOWN = 14
TASK_LETTERS, STEP_LETTERS, MAX_TASK_LINES = 58, 60, 4
LINE_INCHES, PROFILE_INCHES = 0.135, 1.5
MOST_LAYER_TICKS = 12


def draw(norms: Sequence[Path], scores: Sequence[Path], trajectories: Sequence[Path], out: FigureFiles) -> None:
    """Draw the trajectories of lowest and highest Gini, their steps and their 7 x L gradient profiles.

    Both profiles share one colour scale: each norm is divided by the largest norm of its own trajectory, since the
    Gini coefficient does not see a common factor.

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
    cases = extreme_trajectories(score_file)
    for case in cases:
        if case not in corpus or case not in profiles.index:
            place = corpus_file if case not in corpus else norms[0]
            raise BadInput(place, f"trajectory {case!r} of the score table is missing", "rebuild it with its rule")
    texts = [_steps_text(corpus[case]) for case in cases]
    text_inches = LINE_INCHES * (1 + max(text.count("\n") for text in texts))
    figure, axes = new_figure(
        PAGE, text_inches + PROFILE_INCHES + 0.75, 2, 2, height_ratios=(text_inches, PROFILE_INCHES)
    )
    titles = ("Case A: most diffuse, routed to SFT", "Case B: most concentrated, routed to RL")
    for column, (case, title, text) in enumerate(zip(cases, titles, texts, strict=True)):
        _draw_text(axes[0, column], title, text)
        gini = table.loc[case, "gini"]
        names = [name for name in profiles if name not in FIXED_COLUMNS]
        profile = profiles.loc[case, names].to_numpy(float)
        image = draw_profile(axes[1, column], ProfileGrid.of(names), profile / profile.max(), 1)
        axes[1, column].set_title(f"Gini {gini:.3f}", fontsize=LABEL_SIZE, color=GREY, loc="left")
    axes[1, 0].set_ylabel("projection matrix")
    figure.colorbar(image, ax=axes[1], label="gradient norm /\nlargest of its trajectory", shrink=0.95, pad=0.02)
    note = (
        f"Lowest and highest Gini coefficient of {len(table)} trajectories. The profiles share one colour scale; each "
        "norm is divided by the largest of its own trajectory."
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


def draw_profile(axes: Axes, grid: ProfileGrid, profile: np.ndarray, largest: float) -> AxesImage:
    """Draw gradient norms of shape [N] as a grid of matrices and layers, in colours from 0 to `largest`."""
    image = axes.imshow(grid.fill(profile), aspect="auto", cmap="cividis", vmin=0, vmax=largest)
    axes.set_yticks(range(len(grid.matrices)), [name.removesuffix("_proj") for name in grid.matrices])
    shown = range(0, len(grid.layers), -(-len(grid.layers) // MOST_LAYER_TICKS))
    axes.set_xticks(shown, [grid.layers[place] for place in shown])
    axes.set_xlabel("layer")
    axes.spines[:].set_visible(False)
    return image
