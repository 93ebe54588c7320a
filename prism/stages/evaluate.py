"""Evaluation on a fixed panel: every episode once, all of them advancing together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from prism.core.benchmarks import find_benchmark
from prism.core.episodes import Episode, Feedback, next_prompts
from prism.core.errors import BadInput, PrismError
from prism.core.files import write_json
from prism.core.model_folder import sha256_model
from prism.core.progress import say
from prism.core.prompts import PromptEncoder, PromptFormat
from prism.core.recipes import result_settings, setting
from prism.environments.base import Panel, Task, read_panel
from prism.environments.pool import EnvironmentFailure, EnvironmentPool
from prism.generation.base import Generator, Sampling

ROUNDS_BETWEEN_LINES = 5


@dataclass(frozen=True)
class EvaluationRecipe:
    """Settings of an evaluation. (V): verl-agent's value.

    Attributes:
        prompt: prompt format; it must be the one of the training.
        max_steps: environment steps after which an episode ends as failed.
    """

    prompt: PromptFormat
    max_steps: int
    temperature: float = setting("of the sampler (V); 0 is greedy", at_least=0)
    top_p: float = setting("of the sampler (V)", at_least=0, at_most=1)
    max_new_tokens: int = setting("tokens of a response (V)", at_least=1)
    batch_size: int = setting("prompts that advance together", at_least=1, machine=True)
    workers: int = setting("processes that step environments", 1, at_least=1, machine=True)
    threads: int = setting("CPU threads of the model", 2, at_least=1, machine=True)
    generator: str = setting("`hf`: transformers, on CPUs; `vllm`: vLLM, on GPUs", "hf", choices=("hf", "vllm"))


@dataclass(frozen=True)
class PanelRun:
    """A model and what it plays.

    Attributes:
        model: its folder.
        games: data folder of the panel's benchmark; the tasks' games lie below it.
        panel: file of the panel.
    """

    model: Path
    games: Path
    panel: Path


def evaluate(run: PanelRun, out_json: str | Path, recipe: EvaluationRecipe, seed: int) -> None:
    """Play every task of a panel once and write one record an episode.

    The file holds no times, so that equal runs are equal bytes. An environment that breaks fails its own episode only.

    Args:
        seed: of the sampling.

    Raises:
        BadInput: the panel, model or recipe cannot be used.
    """
    started = time.monotonic()
    panel = read_panel(run.panel)
    # the environments' processes start up while the model is hashed and its libraries are imported
    with open_pool(panel, run, recipe) as pool:
        model_sha256 = sha256_model(run.model)
        generator = load_generator(run.model, recipe, seed)
        ready = time.monotonic() - started
        say(f"evaluation: {len(panel.tasks)} tasks of panel {panel.name}, ready after {ready:.0f} s")
        episodes = play_panel(pool, generator, panel, recipe)
    _require_one_that_played(episodes, run.panel)
    for line in summarize(episodes):
        say(line)
    say(f"evaluation took {time.monotonic() - started:.1f} s")
    write_json(
        out_json,
        {
            "benchmark": panel.benchmark,
            "panel": panel.name,
            "panel_sha256": panel.sha256,
            "model_sha256": model_sha256,
            "prompt_sha256": recipe.prompt.sha256(),
            "recipe": result_settings(recipe),
            "seed": seed,
            "versions": {name: version(name) for name in libraries(recipe)},
            "episodes": [episode.record() for episode in episodes],
        },
    )


def open_pool(panel: Panel, run: PanelRun, recipe: EvaluationRecipe) -> EnvironmentPool:
    """Start the processes that a panel's environments live in; use the pool as a context manager.

    Raises:
        BadInput: there are no environments of the panel's benchmark, or a task's game file is not there.
    """
    benchmark = find_benchmark(panel.benchmark, run.panel)
    if benchmark.game_files:
        for task in panel.tasks:
            if not (run.games / task.game).is_file():
                raise BadInput(run.games / task.game, "is missing, but the panel names it", "check --games")
    return EnvironmentPool(benchmark.environments, recipe.workers, {"data_dir": str(run.games)})


def load_generator(model_dir: str | Path, recipe: EvaluationRecipe, seed: int) -> Generator:
    """The sampler that the recipe names."""
    return _GENERATORS[recipe.generator](model_dir, recipe, seed)


def play_panel(
    pool: EnvironmentPool,
    generator: Generator,
    panel: Panel,
    recipe: EvaluationRecipe,
    report: Callable[[str], None] = say,
    reply_seed: Callable[[int, int], int] | None = None,
) -> list[Episode]:
    """Play all tasks of a panel at the same time; episodes in the panel's order.

    Args:
        report: takes a line of progress every few steps.
        reply_seed: seed of a reply, from the task's position in the panel and the number of replies before; without
            it the generator draws on.
    """
    encoder = PromptEncoder(generator.tokenizer, recipe.prompt)
    first = pool.start([task.game for task in panel.tasks])
    episodes = [
        _begin(panel.benchmark, task, words, feedback, recipe.max_steps)
        for task, (words, feedback) in zip(panel.tasks, first, strict=True)
    ]
    rounds = 0
    while running := [slot for slot, episode in enumerate(episodes) if not episode.finished]:
        _advance(episodes, running, pool, generator, encoder, reply_seed)
        rounds += 1
        if rounds % ROUNDS_BETWEEN_LINES == 0:
            solved = sum(episode.success for episode in episodes)
            report(f"evaluation: step {rounds}/{recipe.max_steps}, {len(running)} episodes running, {solved} solved")
    return episodes


def _begin(benchmark: str, task: Task, words: str, feedback: Feedback | EnvironmentFailure, max_steps: int) -> Episode:
    """An episode at its first observation; failed at once where its environment did not open."""
    broken = isinstance(feedback, EnvironmentFailure)
    seen = Feedback("", ()) if broken else feedback
    episode = Episode(benchmark, task.id, task.task_type, words, max_steps, seen)
    if broken:
        episode.fail(feedback.message)
    return episode


def _advance(
    episodes: Sequence[Episode],
    running: Sequence[int],
    pool: EnvironmentPool,
    generator: Generator,
    encoder: PromptEncoder,
    reply_seed: Callable[[int, int], int] | None,
) -> None:
    """One step of every running episode: prompt, reply, action, feedback."""
    asked = zip(running, next_prompts([episodes[slot] for slot in running], encoder), strict=True)
    prompts = {slot: prompt for slot, prompt in asked if prompt is not None}
    if not prompts:
        return
    seeds = [reply_seed(slot, len(episodes[slot].replies)) for slot in prompts] if reply_seed else None
    replies = generator.generate(list(prompts.values()), seeds)
    texts = encoder.tokenizer.batch_decode(replies, skip_special_tokens=True)
    actions = [(slot, episodes[slot].read(text).action) for slot, text in zip(prompts, texts, strict=True)]
    for slot, feedback in pool.step(actions):
        if isinstance(feedback, EnvironmentFailure):
            episodes[slot].fail(feedback.message)
        else:
            episodes[slot].advance(feedback)


def _require_one_that_played(episodes: Sequence[Episode], place: str | Path) -> None:
    """Refuse an evaluation in which every environment broke: that is no success rate of 0.

    Raises:
        PrismError: with the first episode's error.
    """
    if episodes and all(episode.error for episode in episodes):
        raise PrismError(f"{place}: every episode broke; {episodes[0].task_id}: {episodes[0].error}")


def summarize(episodes: Sequence[Episode]) -> list[str]:
    """Success rate with its Wilson 95 % interval, and the rates by task type, as lines for the log."""
    from prism.core.statistics import wilson_rate

    solved = sum(episode.success for episode in episodes)
    rate = wilson_rate(solved, len(episodes))
    # eq. 8; an episode that broke counts with 0
    score = 100 * sum(episode.record()["score"] for episode in episodes) / max(1, len(episodes))
    steps = sum(len(episode.replies) for episode in episodes)
    invalid = sum(not reply.valid for episode in episodes for reply in episode.replies)
    lines = [
        f"success {solved}/{len(episodes)} = {rate.value:.1f} % "
        f"[{rate.low:.1f}, {rate.high:.1f}], average score {score:.1f}, {steps} steps, {invalid} invalid replies"
    ]
    by_type: dict[str, list[bool]] = {}
    for episode in episodes:
        by_type.setdefault(episode.task_type, []).append(episode.success)
    lines.append(", ".join(f"{name} {sum(by_type[name])}/{len(by_type[name])}" for name in sorted(by_type)))
    if broken := [episode for episode in episodes if episode.error]:
        lines.append(f"{len(broken)} episodes broke; first: {broken[0].task_id}: {broken[0].error}")
    return lines


def libraries(recipe: EvaluationRecipe) -> list[str]:
    """Packages whose versions are recorded with an evaluation."""
    return ["torch", "transformers", "textworld", *(["vllm"] if recipe.generator == "vllm" else [])]


def _load_hf(model_dir: str | Path, recipe: EvaluationRecipe, seed: int) -> Generator:
    """The sampler on transformers."""
    import torch

    from prism.generation.hf import HFGenerator

    torch.set_num_threads(recipe.threads)
    sampling = Sampling(recipe.temperature, recipe.top_p, recipe.max_new_tokens, seed)
    return HFGenerator.load(model_dir, sampling, recipe.batch_size)


def _load_vllm(model_dir: str | Path, recipe: EvaluationRecipe, seed: int) -> Generator:
    """The sampler on vLLM."""
    from prism.generation.vllm import VllmGenerator

    sampling = Sampling(recipe.temperature, recipe.top_p, recipe.max_new_tokens, seed)
    tokens = recipe.prompt.context_length + recipe.max_new_tokens
    return VllmGenerator.load(model_dir, sampling, batch_size=recipe.batch_size, context_tokens=tokens)


_GENERATORS = {"hf": _load_hf, "vllm": _load_vllm}
