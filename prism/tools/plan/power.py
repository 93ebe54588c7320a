"""How many seeds and tasks a claimed gain needs: the power of the paired test, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism.core.comparisons import POWER
from prism.core.power import planned_design

SHOWN_SEEDS = (3, 4, 5, 6, 8, 10)
MOST_SEEDS = 40


@dataclass(frozen=True)
class PowerAssumptions:
    """What the power of a plan rests on; ``resources/plan/assumptions.yaml`` says where the values come from.

    Attributes:
        gains: differences in points that are asked about.
        rate: success rate of the median task.
        task_sd: spread of the tasks' difficulty, standard deviation of the log-odds.
        scatter_points: standard deviations, in points, of a method's rate between its trainings.
    """

    gains: Sequence[float]
    rate: float
    task_sd: float
    scatter_points: Sequence[float]

    def power(self, gain: float, seeds: int, tasks: int, scatter: float) -> float:
        """Probability that the paired test finds a true gain; gain and scatter in points."""
        return planned_design(seeds, tasks, self.rate, self.task_sd, scatter / 100).power(gain / 100)

    def seeds_needed(self, gain: float, tasks: int, scatter: float) -> int | None:
        """Fewest seeds that give power 0.8; None where more than `MOST_SEEDS` are needed."""
        for seeds in range(2, MOST_SEEDS + 1):
            if self.power(gain, seeds, tasks, scatter) >= POWER:
                return seeds
        return None


def power_sentence(assumed: PowerAssumptions, seeds: int, panels: Mapping[str, int]) -> str:
    """What a run with these seeds can show, for the line below a plan."""
    scatter = assumed.scatter_points[len(assumed.scatter_points) // 2]
    panel, tasks = next(iter(panels.items()))
    parts = []
    for gain in assumed.gains:
        found = f"{assumed.power(gain, seeds, tasks, scatter):.0%}" if seeds > 1 else "not tested"
        needed = assumed.seeds_needed(gain, tasks, scatter)
        parts.append(f"{gain:g} points: {found}, {POWER:.0%} needs {needed or f'more than {MOST_SEEDS}'} seeds")
    return (
        f"With {seeds} seed(s) on {tasks} tasks ({panel}), trainings scattering by {scatter:g} points, a true "
        f"gain is found with these probabilities: {'; '.join(parts)}. More: prism plan --power"
    )


def print_power(assumed: PowerAssumptions, panels: Mapping[str, int]) -> None:
    """Print the power by gain, panel, scatter and number of seeds, and the fewest seeds that give 0.8."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Probability that the paired test at 5% finds a true gain", title_justify="left")
    for heading in ("gain", "tasks", "trainings scatter by", *(f"{seeds} seeds" for seeds in SHOWN_SEEDS)):
        table.add_column(heading, justify="right")
    table.add_column(f"seeds for {POWER:.0%}", justify="right")
    for gain in assumed.gains:
        for panel, tasks in panels.items():
            for scatter in assumed.scatter_points:
                found = (f"{assumed.power(gain, seeds, tasks, scatter):.2f}" for seeds in SHOWN_SEEDS)
                needed = assumed.seeds_needed(gain, tasks, scatter) or f"> {MOST_SEEDS}"
                table.add_row(f"{gain:g} points", f"{tasks} ({panel})", f"{scatter:g} points", *found, str(needed))
            table.add_section()
    console = Console(width=140)
    console.print(table)
    console.print(
        "The test has random effects of seeds and tasks (docs/audit.md). Where trainings scatter, more tasks help "
        "little and more seeds do.\nAssumptions: resources/plan/assumptions.yaml, under power."
    )
