"""Figures: Figure 1 (case study) and Figure 5 (consensus of the metrics), as svg and png."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib_venn import venn3

from prism.core.errors import BadInput
from prism.core.files import atomic_path
from prism.core.progress import say
from prism.core.trajectories import Trajectory, read_trajectories
from prism.stages.tables import scale_note

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Okabe-Ito: told apart with every common form of colour blindness
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
METRICS = ("gini", "kurtosis", "cv")
PAPER_CONSENSUS = "about 60%"
MAX_STEPS_SHOWN = 14
LINE_INCHES, PROFILE_INCHES = 0.16, 2.2

plt.rcParams.update({"font.size": 9, "svg.hashsalt": "prism", "svg.fonttype": "none", "savefig.bbox": "tight"})


def draw_case_study(
    norms: Sequence[Path], scores: Path, trajectories: Path, scale: str, out_svg: Path, out_png: Path
) -> None:
    """Figure 1: the trajectories of lowest and highest Gini, their steps and their 7 x L gradient profiles.

    Both profiles are drawn on one colour scale: each norm is divided by the largest norm of its own trajectory, since
    the Gini coefficient does not see a common factor.
    """
    table = read_scores(scores)
    corpus = {trajectory.id: trajectory for trajectory in read_trajectories(trajectories)}
    profiles = pd.concat([pq.read_table(path).to_pandas() for path in norms]).set_index("id")
    ordered = table.sort_values(["gini", "id"])
    cases = [
        ("A: most diffuse, routed to SFT", ordered.iloc[0]),
        ("B: most concentrated, routed to RL", ordered.iloc[-1]),
    ]
    lines = 3 + max(min(len(corpus[score["id"]].steps), MAX_STEPS_SHOWN + 1) for _, score in cases)
    heights = (lines * LINE_INCHES, PROFILE_INCHES)
    figure, axes = plt.subplots(2, 2, figsize=(9, 0.8 + sum(heights)), height_ratios=heights, layout="constrained")
    for column, (title, score) in enumerate(cases):
        _draw_steps(axes[0][column], f"Case {title}", corpus[score["id"]])
        image = _draw_profile(axes[1][column], profile_matrix(profiles.loc[score["id"]]), score["gini"])
    figure.colorbar(image, ax=axes[1], label="gradient norm / largest norm", shrink=0.9)
    figure.suptitle(scale_note(scale), fontsize=7, color="0.35")
    _save(figure, out_svg, out_png)


def profile_matrix(norms: pd.Series) -> np.ndarray:
    """Gradient norms of one trajectory as a matrix of shape [7 modules, L layers]."""
    layers = 1 + max(int(name.split(".")[1]) for name in norms.index if name.startswith("layers."))
    return np.array([[norms[f"layers.{layer}.{module}"] for layer in range(layers)] for module in MODULES])


def _draw_steps(axes: Axes, title: str, trajectory: Trajectory) -> None:
    shown = [f"{number}. {step.action}" for number, step in enumerate(trajectory.steps[:MAX_STEPS_SHOWN], 1)]
    if len(trajectory.steps) > MAX_STEPS_SHOWN:
        shown.append(f"... {len(trajectory.steps)} steps")
    task = textwrap.fill(f"Task: {trajectory.task}", 52)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.text(0, 1, task + "\n\n" + "\n".join(shown), va="top", transform=axes.transAxes, fontsize=8)
    axes.axis("off")


def _draw_profile(axes: Axes, profile: np.ndarray, gini: float):
    image = axes.imshow(profile / profile.max(), aspect="auto", cmap="cividis", vmin=0, vmax=1)
    axes.set_yticks(range(len(MODULES)), [module.removesuffix("_proj") for module in MODULES])
    axes.set_xticks(range(profile.shape[1]))
    axes.set_xlabel(f"layer (Gini {gini:.3f})")
    return image


def draw_consensus(scores: Path, title: str, scale: str, out_svg: Path, out_png: Path) -> None:
    """Figure 5: how far the three metrics agree on the high-conflict half, beside what chance alone would give.

    Three independent halves share 1/8 of the corpus, that is 1/4 of each half; the paper's "about 60%" is read as a
    share of a half.
    """
    table = read_scores(scores)
    halves = {metric: set(table.loc[table[metric] > table[metric].median(), "id"]) for metric in METRICS}
    common = set.intersection(*halves.values())
    size = max(len(half) for half in halves.values())
    figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    venn3([halves[metric] for metric in METRICS], ("Gini", "Kurtosis", "CV"), (BLUE, ORANGE, GREEN), 0.5, ax=axes)
    share = 100 * len(common) / size
    axes.set_title(f"High-conflict half of {len(table)} trajectories\n{title}")
    axes.text(
        0.5,
        -0.02,
        f"In all three: {len(common)} of {size} ({share:.0f}%); independent halves: 25%; paper: {PAPER_CONSENSUS}.\n"
        + textwrap.fill(scale_note(scale), 64),
        ha="center",
        va="top",
        fontsize=7,
        transform=axes.transAxes,
    )
    _save(figure, out_svg, out_png)
    say(f"figure 5: {share:.1f}% of the high-conflict half is common to the three metrics")


def read_scores(path: Path) -> pd.DataFrame:
    """The score table of one (benchmark, backbone).

    Raises:
        BadInput: the file lacks the id or a metric.
    """
    table = pd.read_csv(path, comment="#")
    for column in ("id", *METRICS):
        if column not in table:
            raise BadInput(path, f"column {column!r} is missing", "rebuild it with its rule")
    return table


def _save(figure: plt.Figure, out_svg: Path, out_png: Path) -> None:
    """Write both formats without dates, so that the same data gives the same bytes."""
    with atomic_path(out_svg) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    with atomic_path(out_png) as temporary:
        figure.savefig(temporary, format="png", dpi=200, metadata={"Software": None})
    plt.close(figure)
