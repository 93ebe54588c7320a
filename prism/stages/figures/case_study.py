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
from prism.stages.figures.scores_file import extreme_trajectories, read_scores
from prism.stages.figures.style import GREY, LABEL_SIZE, PAGE, FigureFiles, finish, new_figure, panel_title

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
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
        image = _draw_profile(axes[1, column], profile_matrix(profiles.loc[case]), f"Gini {gini:.3f}")
    axes[1, 0].set_ylabel("projection matrix")
    figure.colorbar(image, ax=axes[1], label="gradient norm /\nlargest of its trajectory", shrink=0.95, pad=0.02)
    note = (
        f"Lowest and highest Gini coefficient of {len(table)} trajectories. The profiles share one colour scale; each "
        "norm is divided by the largest of its own trajectory."
    )
    finish(figure, [note], out)


def profile_matrix(norms: pd.Series) -> np.ndarray:
    """Gradient norms of one trajectory as a matrix of shape [7 modules, L layers]."""
    layers = 1 + max(int(name.split(".")[1]) for name in norms.index if name.startswith("layers."))
    return np.array([[norms[f"layers.{layer}.{module}"] for layer in range(layers)] for module in MODULES], dtype=float)


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


def _draw_profile(axes: Axes, profile: np.ndarray, title: str) -> AxesImage:
    image = axes.imshow(profile / profile.max(), aspect="auto", cmap="cividis", vmin=0, vmax=1)
    layers = profile.shape[1]
    axes.set_yticks(range(len(MODULES)), [module.removesuffix("_proj") for module in MODULES])
    axes.set_xticks(range(0, layers, -(-layers // MOST_LAYER_TICKS)))
    axes.set_xlabel("layer")
    axes.set_title(title, fontsize=LABEL_SIZE, color=GREY, loc="left")
    axes.spines[:].set_visible(False)
    return image
