"""Evaluation with all episodes of a panel advancing together, against one episode at a time; same sampler, greedy.

    python benchmarks/evaluation.py --model MODEL --games DIR --panel FILE [--tasks N] [--threads N]

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
from prism.stages.evaluate import EvaluationRecipe, load_generator, open_pool, play_panel

PROMPT = PromptFormat("compact", "actions:14", "steps", 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "games", "panel"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tasks", type=int, default=48)
    parser.add_argument("--max-steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    panel = read_panel(options.panel)
    panel = dataclasses.replace(panel, tasks=panel.tasks[: options.tasks])
    recipe = EvaluationRecipe(
        prompt=PROMPT, max_steps=options.max_steps, temperature=0.0, top_p=1.0, max_new_tokens=32, batch_size=64,
        workers=1, threads=options.threads,
    )  # fmt: skip
    together, batched_seconds = play([panel], options, recipe)
    each = [dataclasses.replace(panel, tasks=(task,)) for task in panel.tasks]
    alone, single_seconds = play(each, options, dataclasses.replace(recipe, batch_size=1))
    same = [first.record() == second.record() for first, second in zip(together, alone, strict=True)]
    solved = sum(episode.success for episode in together)
    print(f"{len(same)} episodes, {sum(len(episode.replies) for episode in together)} steps, {solved} solved, greedy")
    print(f"one at a time: {single_seconds:6.1f} s, {len(same) / single_seconds:6.2f} episodes/s")
    print(f"all together:  {batched_seconds:6.1f} s, {len(same) / batched_seconds:6.2f} episodes/s")
    print(f"ratio {single_seconds / batched_seconds:.1f}, {sum(same)} of {len(same)} episodes identical")
    if not all(same):
        sys.exit("the two differ")


def play(panels: list[Panel], options: argparse.Namespace, recipe: EvaluationRecipe) -> tuple[list[Episode], float]:
    """Play panels one after the other.

    Returns:
        Episodes, and the seconds of loading games, stepping and sampling; starting processes and model not counted.
    """
    generator, tokenizer = load_generator(options.model, recipe, seed=0)
    with open_pool(panels[0], options.panel, options.games, recipe) as pool:
        # the first answer of the environment processes comes after their imports
        pool.start([])
        episodes: list[Episode] = []
        started = time.perf_counter()
        for panel in panels:
            episodes += play_panel(pool, generator, tokenizer, panel, recipe, report=lambda _: None)
        return episodes, time.perf_counter() - started


if __name__ == "__main__":
    main()
