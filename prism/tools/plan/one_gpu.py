"""What a target costs on one card: hours by kind of card, and whether each stage fits its memory.

Two numbers of a card make its hours: training goes with its arithmetic, sampling with its memory's speed. The anchor is
a published run of another implementation, and not of ours (``one_gpu`` in ``resources/plan/assumptions.yaml``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from prism.core.methods import BASE, share_percent
from prism.core.recipes import build_recipe
from prism.gradients.recipe import ProbeRecipe
from prism.rl.memory import all_parameters
from prism.rl.recipe import RlRecipe
from prism.stages.sft_recipe import SftRecipe
from prism.tools.plan.costs import recipe_of
from prism.tools.plan.memory import fits, probe_memory, rl_memory, sft_memory
from prism.tools.snakemake_plan import Job

# forward, backward and the layers once more; two operations a parameter and token for each pass of four
FLOP_A_TOKEN = 8
STAGES = ("probe", "probe_variant", "sft", "rl", "evaluate", "pass_rates")


@dataclass(frozen=True)
class Card:
    """A kind of card.

    Attributes:
        gb: its memory.
        tflops: dense bfloat16 arithmetic, 1e12 operations a second.
        tb_per_second: of its memory.
    """

    gb: float
    tflops: float
    tb_per_second: float


class OneGpuModel:
    """Hours and memory of jobs on one card, under assumptions.

    Args:
        assumptions: content of ``resources/plan/assumptions.yaml``.
        panels: episodes of each evaluation panel, ``{benchmark: {panel: size}}``.
    """

    def __init__(self, assumptions: Mapping[str, Any], panels: Mapping[str, Mapping[str, int]]) -> None:
        self._model, self._table3 = assumptions["model"], assumptions["table3"]
        self._known, self._panels = assumptions["one_gpu"], panels
        self.cards = {name: Card(**card) for name, card in self._known["cards"].items()}

    def shape(self, job: Job) -> Mapping[str, Any] | None:
        """The shape of a job's backbone; None where it is not known."""
        return self._known["backbones"].get(job.wildcards.get("backbone", ""))

    def hours(self, job: Job, card: Card) -> float:
        """Hours of a job on a card; a job without the card counts for nothing."""
        shape = self.shape(job)
        if job.rule not in STAGES or shape is None:
            return 0.0
        sampled, trained = self._played(job), self._trained(job)
        anchor, reference = self._known["anchor"], self.cards[self._known["anchor"]["card"]]
        size = all_parameters(shape) / anchor["parameters"]
        seconds = anchor["seconds"]
        an_episode = anchor["cards"] * size / anchor["episodes"]
        sampling = sampled * seconds["sampling"] * an_episode * reference.tb_per_second / card.tb_per_second
        training = (sampled if job.rule == "rl" else 0) * seconds["training"] * an_episode
        training *= reference.tflops / card.tflops
        passes = trained * FLOP_A_TOKEN * all_parameters(shape) / (1e12 * card.tflops * self._known["utilisation"])
        return (sampling + training + passes) / 3600 + self._model["start_hours"][job.rule]

    def _played(self, job: Job) -> float:
        """Episodes that a job plays, as so many of ALFWorld by a model that fails them."""
        benchmark = job.wildcards["benchmark"]
        corpus = self._model["corpus"][benchmark]
        length = self._table3[benchmark]["rl"]["grpo"] / self._table3["alfworld"]["rl"]["grpo"]
        if job.rule == "evaluate":
            return self._panels[benchmark][job.wildcards["panel"]] * length
        if job.rule == "pass_rates":
            return corpus * recipe_of(job)["rollouts"] * length / int(job.wildcards["shards"])
        if job.rule != "rl":
            return 0.0
        recipe = build_recipe(RlRecipe, recipe_of(job), job.label)
        share = int(share_percent(job.wildcards["subset"])) / 100
        steps = recipe.training_steps(round(corpus * share), corpus)
        if job.wildcards["init"] != BASE:
            length *= self._after_sft(benchmark)
        return steps * recipe.tasks_per_step * recipe.group_size * length

    def _after_sft(self, benchmark: str) -> float:
        """Length of the episodes of a model after SFT, over the backbone's: what Table 3 says of halves."""
        rows = self._table3[benchmark]["rl"]
        return fmean(hours for name, hours in rows.items() if name != "grpo") / (rows["grpo"] / 2)

    def _trained(self, job: Job) -> float:
        """Tokens that go through the model forward and backward outside of RL."""
        if job.rule not in ("probe", "probe_variant", "sft"):
            return 0.0
        benchmark, settings = job.wildcards["benchmark"], recipe_of(job)
        tokens = self._model["corpus"][benchmark] * self._known["conversation_tokens"][benchmark]
        if settings.get("layout") == "steps":
            tokens *= self._model["step_row_tokens"][benchmark]
        if job.rule != "sft":
            return tokens / int(job.wildcards["shards"])
        return tokens * settings["num_train_epochs"] * int(share_percent(job.wildcards["subset"])) / 100

    def memory(self, job: Job) -> dict[str, float]:
        """GB that a training or probing job needs at its peak, by what takes them; empty for others.

        vLLM takes what it finds in evaluations and pass rates.
        """
        shape = self.shape(job)
        probe = (ProbeRecipe, probe_memory)
        made = {"probe": probe, "probe_variant": probe, "sft": (SftRecipe, sft_memory), "rl": (RlRecipe, rl_memory)}
        if job.rule not in made or shape is None:
            return {}
        kind, needed = made[job.rule]
        words = shlex.split(job.command)
        machine = words[words.index("--machine") + 1] if "--machine" in words else "{}"
        return needed(shape, build_recipe(kind, recipe_of(job), job.label, machine))


@dataclass(frozen=True)
class CardLine:
    """One stage of a plan on one kind of card.

    Attributes:
        stage: the rule.
        card: name of the card.
        jobs: number of jobs.
        hours: of all of them, one after the other.
        gb: the largest need of a job; 0 where vLLM takes what there is.
        fits: whether that fits the card.
    """

    stage: str
    card: str
    jobs: int
    hours: float
    gb: float
    fits: bool


def card_lines(jobs: Sequence[Job], model: OneGpuModel) -> Iterable[CardLine]:
    """The stages of a plan on each kind of card."""
    for stage in STAGES:
        own = [job for job in jobs if job.rule == stage]
        if not own:
            continue
        needs = [model.memory(job) for job in own]
        largest = max(needs, key=lambda need: sum(need.values()))
        for name, card in model.cards.items():
            hours = sum(model.hours(job, card) for job in own)
            yield CardLine(stage, name, len(own), hours, sum(largest.values()), fits(largest, card.gb))
