"""Pass rates (HPT): how often the untrained backbone solves each training task.

Hybrid post-training gates on the success of a few rollouts. As a router it sends the tasks that the model solves
least to SFT and the others to RL. A small model solves most tasks never, so most pass rates are equal: their order is
broken by a seeded draw, and the table and the split made from it say how many that concerns.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from prism.core.csvfiles import write_table
from prism.core.episodes import Episode
from prism.core.errors import BadInput
from prism.core.files import sha256_model
from prism.core.progress import say, track
from prism.environments.base import Panel, Task, read_panel
from prism.stages.evaluate import EvaluationRecipe, load_generator, open_pool, play_panel

EPISODES_AT_ONCE = 256
"""Episodes that are open at the same time: an open environment takes some megabytes."""


@dataclass(frozen=True)
class PassRatesRecipe(EvaluationRecipe):
    """Settings of the pass rates: those of an evaluation, and these.

    Attributes:
        rollouts: episodes of each task (HPT: 8).
        seed: of the sampling and of the order of equal pass rates.
    """

    rollouts: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rollouts < 1:
            raise BadInput("pass_rates.rollouts", f"{self.rollouts} is not positive", "give a whole number above 0")


def measure_pass_rates(
    model_dir: str | Path,
    games_dir: str | Path,
    panel_path: str | Path,
    out_csv: str | Path,
    recipe: PassRatesRecipe,
) -> None:
    """Play every task of a panel `recipe.rollouts` times and write how often each was solved.

    Args:
        model_dir: the untrained backbone.
        games_dir: data folder of the panel's benchmark.
        panel_path: the training panel; a task's id is its trajectory's id.
        out_csv: written with the columns id, pass_rate (share of solved rollouts), pass_rate_rank (0 is the lowest,
            ties broken by the seed), solved, rollouts, errors; the head says how many pass rates are tied.

    Raises:
        BadInput: the panel, model or recipe cannot be used.
    """
    panel = read_panel(panel_path)
    if not panel.tasks:
        raise BadInput(panel_path, "lists no task", "rebuild it")
    with open_pool(panel, panel_path, games_dir, recipe) as pool:
        digest = sha256_model(model_dir)
        generator, tokenizer = load_generator(model_dir, recipe, recipe.seed)
        waves = list(task_waves(panel.tasks, recipe.rollouts))
        say(f"pass rates: {len(panel.tasks)} tasks, {recipe.rollouts} rollouts each, in {len(waves)} waves")
        play = partial(play_panel, pool, generator, tokenizer, recipe=recipe, report=_silent)
        solved: list[int] = []
        errors: list[int] = []
        for wave in track(waves, len(waves), "pass rates", "waves"):
            episodes = play(panel=repeated(panel, wave, recipe.rollouts))
            for start in range(0, len(episodes), recipe.rollouts):
                solved.append(count_solved(episodes[start : start + recipe.rollouts]))
                errors.append(sum(bool(episode.error) for episode in episodes[start : start + recipe.rollouts]))
    rates = [count / recipe.rollouts for count in solved]
    ids = [task.id for task in panel.tasks]
    say(f"pass rates: {sum(solved)} of {len(ids) * recipe.rollouts} episodes solved, {sum(errors)} broke")
    recorded = asdict(recipe)
    # it does not change what comes out
    del recorded["workers"]
    head = [
        f"share of {recipe.rollouts} rollouts that solved the task, temperature {recipe.temperature:g}; no unit",
        f"model sha256: {digest}",
        f"panel sha256: {panel.sha256}",
        f"prompt format: {recipe.prompt.sha256()}",
        f"recipe: {json.dumps(recorded, sort_keys=True)}",
        *tie_lines(solved, recipe.rollouts),
    ]
    ranks = tie_broken_ranks(ids, rates, recipe.seed)
    columns = ["id", "pass_rate", "pass_rate_rank", "solved", "rollouts", "errors"]
    repeats = [recipe.rollouts] * len(ids)
    write_table(out_csv, head, columns, zip(ids, rates, ranks, solved, repeats, errors, strict=True))


def task_waves(tasks: Sequence[Task], rollouts: int) -> Iterator[Sequence[Task]]:
    """Cut the tasks into runs of tasks that are played together, at most `EPISODES_AT_ONCE` episodes each."""
    size = max(1, EPISODES_AT_ONCE // rollouts)
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]


def repeated(panel: Panel, tasks: Sequence[Task], rollouts: int) -> Panel:
    """A panel that lists each of the tasks `rollouts` times in a row."""
    return Panel(panel.benchmark, panel.name, tuple(task for task in tasks for _ in range(rollouts)))


def count_solved(episodes: Sequence[Episode]) -> int:
    """Episodes that solved their task."""
    return sum(episode.success for episode in episodes)


def tie_broken_ranks(ids: Sequence[str], rates: Sequence[float], seed: int) -> list[int]:
    """Rank of every task, 0 for the lowest pass rate; equal rates are ordered by a draw.

    The draw depends on the seed and the set of ids alone, not on the order in which the tasks are listed.
    """
    shuffled = sorted(ids)
    random.Random(seed).shuffle(shuffled)
    draw = {identifier: position for position, identifier in enumerate(shuffled)}
    order = sorted(range(len(ids)), key=lambda index: (rates[index], draw[ids[index]]))
    ranks = [0] * len(ids)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def tie_lines(solved: Sequence[int], rollouts: int) -> list[str]:
    """Head lines: how many tasks were solved how often, and how many share their pass rate with another task."""
    counts = Counter(solved)
    tied = sum(count for count in counts.values() if count > 1)
    histogram = ", ".join(f"{times}/{rollouts}: {counts[times]}" for times in sorted(counts))
    return [f"tasks by solved rollouts: {histogram}", f"tied: {tied}", f"tied_share: {tied / len(solved):.4f}"]


def _silent(_: str) -> None:
    """The waves report progress themselves."""
