"""Evaluation with all episodes of a panel advancing together, against one episode at a time; same sampler, greedy.

    python benchmarks/evaluation.py --model MODEL --games DIR --panel FILE [--tasks N] [--threads N] [--workers N]

Both play the same tasks with the same code, each with environment processes of its own, and must give the same
episodes action by action: greedy decoding leaves nothing to chance.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time

from prism.core.episodes import Episode
from prism.core.prompts import PromptFormat
from prism.environments.base import Panel, read_panel
from prism.stages.evaluate import EvaluationRecipe, PanelRun, load_generator, open_pool, play_panel

PROMPT = PromptFormat("compact", "actions:14", 512)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Time taken: by the clock, and by this process on a CPU (sampling and bookkeeping, not the environments)."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "games", "panel"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tasks", type=int, default=48)
    parser.add_argument("--max-steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="of the sampler")
    parser.add_argument("--workers", type=int, default=1, help="environment processes")
    options = parser.parse_args()
    panel = read_panel(options.panel)
    panel = dataclasses.replace(panel, tasks=panel.tasks[: options.tasks])
    recipe = EvaluationRecipe(
        prompt=PROMPT, max_steps=options.max_steps, temperature=0.0, top_p=1.0, max_new_tokens=32, batch_size=64,
        workers=options.workers, threads=options.threads,
    )  # fmt: skip
    together, batched = play([panel], options, recipe)
    each = [dataclasses.replace(panel, tasks=(task,)) for task in panel.tasks]
    alone, single = play(each, options, dataclasses.replace(recipe, batch_size=1))
    same = [first.record() == second.record() for first, second in zip(together, alone, strict=True)]
    solved = sum(episode.success for episode in together)
    print(f"{len(same)} episodes, {sum(len(episode.replies) for episode in together)} steps, {solved} solved, greedy")
    for name, taken in (("one at a time", single), ("all together", batched)):
        print(
            f"{name:14} {taken.wall:6.1f} s, {len(same) / taken.wall:6.2f} episodes/s, sampler {taken.cpu:6.1f} CPU s"
        )
    print(
        f"ratio {single.wall / batched.wall:.1f} of the wall clock, {single.cpu / batched.cpu:.1f} of the sampler's CPU"
    )
    print(f"{sum(same)} of {len(same)} episodes identical")
    if not all(same):
        sys.exit("the two differ")


def play(panels: list[Panel], options: argparse.Namespace, recipe: EvaluationRecipe) -> tuple[list[Episode], Seconds]:
    """Play panels one after the other.

    Returns:
        Episodes, and the seconds of resetting and stepping environments and of sampling.
    """
    generator = load_generator(options.model, recipe, seed=0)
    with open_pool(panels[0], PanelRun(options.model, options.games, options.panel), recipe) as pool:
        # imports and loading of games are the same for both, and over before the clock starts
        pool.start([task.game for panel in panels for task in panel.tasks])
        episodes: list[Episode] = []
        wall, cpu = time.perf_counter(), time.process_time()
        for panel in panels:
            episodes += play_panel(pool, generator, panel, recipe, report=lambda _: None)
        return episodes, Seconds(time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    main()
