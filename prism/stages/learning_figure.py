"""Figure of an RL run that starts from SFT: success of its rollouts and on held-out panels, by training step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prism.core.errors import BadInput
from prism.core.files import atomic_path, read_json
from prism.core.statistics import Rate, wilson_rate
from prism.stages.learning import Played, read_played
from prism.stages.tables import scale_note

# Okabe-Ito: told apart with every common form of colour blindness
GREY, BLUE, ORANGE, GREEN = "#999999", "#0072B2", "#E69F00", "#009E73"
PANEL_COLOURS = {"seen": BLUE, "unseen": ORANGE}
SMOOTHED_STEPS = 5

# titles may hold dollar signs
plt.rcParams["text.parse_math"] = False
plt.rcParams.update({"font.size": 9, "svg.hashsalt": "prism", "svg.fonttype": "none", "savefig.bbox": "tight"})


def draw_learning(
    run_dir: Path,
    curve_dirs: Sequence[Path],
    evaluations: Sequence[Path],
    title: str,
    scale: str,
    out_svg: Path,
    out_png: Path,
) -> None:
    """Draw one RL run.

    Args:
        run_dir: folder of the RL stage (``metrics.csv``).
        curve_dirs: folders of `prism.stages.learning.evaluate_checkpoints`, one a panel, named by the panel.
        evaluations: evaluations of base and SFT on these panels (``{method}/seed{seed}/{panel}.json``).
    """
    metrics = pd.read_csv(run_dir / "metrics.csv")
    played = {(one.phase, one.panel): one for one in map(read_played, evaluations)}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    _draw_rollouts(left, metrics)
    for folder in curve_dirs:
        _draw_panel(right, folder, played)
    right.set_title("Held-out panels (95% Wilson intervals)")
    right.set_xlabel("training step (0: SFT checkpoint)")
    right.legend(fontsize=7, loc="upper left")
    figure.suptitle(f"{title}\n{scale_note(scale)}", fontsize=8, color="0.35")
    _save(figure, out_svg, out_png)


def _draw_rollouts(axes: Axes, metrics: pd.DataFrame) -> None:
    """Success rate of each step's rollouts and its running mean over the steps so far, at most five."""
    rate = 100 * metrics["success_rate"]
    axes.plot(metrics["step"], rate, ".", color=GREY, markersize=4, label="one step")
    mean = rate.rolling(SMOOTHED_STEPS, min_periods=1).mean()
    axes.plot(metrics["step"], mean, color=GREEN, label=f"mean of {SMOOTHED_STEPS} steps")
    axes.set(title="Training rollouts", xlabel="training step", ylabel="success rate, percent", ylim=(0, 100))
    axes.legend(fontsize=7, loc="upper left")


def _draw_panel(axes: Axes, folder: Path, played: dict[tuple[str, str], Played]) -> None:
    panel = folder.name
    start = played[("sft", panel)]
    steps, rates = [0], [_rate(start)]
    for path in sorted(folder.glob("step-*.json")):
        steps.append(int(path.stem.removeprefix("step-")))
        rates.append(_checkpoint_rate(path, start))
    values = np.array([rate.value for rate in rates])
    spread = np.array([[rate.value - rate.low, rate.high - rate.value] for rate in rates]).T
    colour = PANEL_COLOURS.get(panel, GREEN)
    label = f"{panel}, n = {rates[0].episodes}"
    axes.errorbar(steps, values, yerr=spread, color=colour, marker="o", markersize=4, capsize=2, label=label)
    base = _rate(played[("base", panel)])
    axes.axhline(base.value, color=colour, linestyle=":", linewidth=1, label=f"base, {panel}: {base.value:.0f}%")


def _rate(played: Played) -> Rate:
    return wilson_rate(sum(played.solved.values()), len(played.solved))


def _checkpoint_rate(path: Path, start: Played) -> Rate:
    """A checkpoint's rate; it must have played the tasks that the start did."""
    episodes = read_json(path)["episodes"]
    if len(episodes) != len(start.solved):
        raise BadInput(path, "is another panel than the SFT checkpoint's", "evaluate both on the same panel")
    return wilson_rate(sum(bool(episode["success"]) for episode in episodes), len(episodes))


def _save(figure: plt.Figure, out_svg: Path, out_png: Path) -> None:
    """Write both formats without dates, so that the same data gives the same bytes."""
    with atomic_path(out_svg) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    with atomic_path(out_png) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    plt.close(figure)
