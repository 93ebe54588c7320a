"""Hours, GB, kWh and CO2 of planned jobs: measured where a benchmark file exists, modelled after Table 3 elsewhere.

The model, per job (all constants in ``resources/plan/assumptions.yaml``):

- probe, also of a variant: Table 3's probing time, divided by the number of shards, on one GPU instead of eight, plus
  the start.
- SFT: Table 3's time on half of the corpus, times the share of the corpus over one half.
- both are for one sequence a trajectory; step rows have more tokens and take that many times longer.
- RL: the row of Table 3 that is this very run, else linear in the share of the corpus; runs from an SFT checkpoint have
  their own slope (their episodes are shorter). A run that plays more or fewer episodes than its share of 150 steps of
  128 takes longer or shorter by as much.
- evaluation and pass rates: episodes times the GPU-hours of one RL rollout, which is what an RL step of Table 3's GRPO
  run leaves for it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import fmean
from typing import Any

from prism.core.methods import BASE, parse_slice, share_percent
from prism.core.recipes import build_recipe
from prism.core.run_times import read_seconds
from prism.core.splits import RL
from prism.rl.recipe import RlRecipe
from prism.tools.snakemake_plan import Job, dependencies

GPUS_PER_NODE = 8
# the RL runs of Table 3, by the score that routes half of the corpus to them
TABLE3_RUNS = {"cv": "prism-cv", "gini": "prism-gini", "kurtosis": "prism-kurtosis", "random": "random"}
SEED = re.compile(r"seed\d+")
# what a random split's name says besides: every seed draws its own
OF_SEED = re.compile(r"-seed\d+$")


@dataclass(frozen=True)
class Cost:
    """What one job costs.

    Attributes:
        hours: wall-clock.
        basis: ``measured``, ``table 3`` or ``model``.
        storage_gb: what stays on disk.
        work_gb: what it needs beside that while it runs.
    """

    hours: float
    basis: str
    storage_gb: float
    work_gb: float


class CostModel:
    """Costs of jobs under a set of assumptions.

    Args:
        assumptions: content of ``resources/plan/assumptions.yaml``.
        panels: episodes of each evaluation panel, ``{benchmark: {panel: size}}``.
    """

    def __init__(self, assumptions: Mapping[str, Any], panels: Mapping[str, Mapping[str, int]]) -> None:
        self._assumptions = assumptions
        self._table3 = assumptions["table3"]
        self._model = assumptions["model"]
        self._panels = panels

    def cost(self, job: Job) -> Cost:
        """The cost of one job."""
        hours, basis = measured_hours(job), "measured"
        if hours is None:
            hours, basis = self._modelled(job)
        work_gb = self._assumptions["work_gb"].get(job.rule, 0.0)
        return Cost(hours, basis, _of_job(self._assumptions["storage_gb"], job), work_gb)

    def _modelled(self, job: Job) -> tuple[float, str]:
        stages = {
            "probe": self._probe,
            "probe_variant": self._probe,
            "sft": self._sft,
            "rl": self._rl,
            "evaluate": self._evaluation,
            "pass_rates": self._pass_rates,
        }
        if job.rule in stages:
            hours, basis = stages[job.rule](job)
            return hours + self._model["start_hours"][job.rule], basis
        return _of_job(self._model["cpu_hours"], job), "model"

    def _probe(self, job: Job) -> tuple[float, str]:
        whole, rows = self._table3[job.wildcards["benchmark"]]["probe"], self._tokens(job)
        hours = whole * rows * self._table3["gpus"] / (int(job.wildcards["shards"]) * max(job.gpus, 1))
        return hours, _basis(rows == 1)

    def _sft(self, job: Job) -> tuple[float, str]:
        half = self._table3[job.wildcards["benchmark"]]["sft_half"]
        share, rows = int(share_percent(job.wildcards["subset"])), self._tokens(job)
        hours = half * rows * share / 50 * self._table3["gpus"] / max(job.gpus, 1)
        return hours, _basis(share == 50 and rows == 1)

    def _tokens(self, job: Job) -> float:
        """Tokens of a trajectory in the layout of a job, over those of one conversation."""
        steps = recipe_of(job).get("layout") == "steps"
        return self._model["step_row_tokens"][job.wildcards["benchmark"]] if steps else 1

    def _rl(self, job: Job) -> tuple[float, str]:
        rows = self._table3[job.wildcards["benchmark"]]["rl"]
        subset, share = job.wildcards["subset"], int(share_percent(job.wildcards["subset"]))
        length = self._rl_length(job, share / 100)
        speed = length * self._table3["gpus"] / max(job.gpus, 1)
        if job.wildcards["init"] == BASE:
            return rows["grpo"] * share / 100 * speed, _basis(self._is_grpo_run(job) and length == 1)
        part = parse_slice(subset)
        run = TABLE3_RUNS.get(OF_SEED.sub("", part.score)) if part and part.regime == RL else None
        if run and share == 50:
            return rows[run] * speed, _basis(length == 1)
        halves = fmean(hours for name, hours in rows.items() if name != "grpo")
        return halves * share / 50 * speed, "model"

    def _rl_length(self, job: Job, share: float) -> float:
        """Episodes of an RL job, over its share of the 150 steps of 128 that Table 3's runs are taken to have."""
        settings = recipe_of(job)
        if not settings:
            return 1
        recipe = build_recipe(RlRecipe, settings, job.label)
        corpus = self._model["corpus"][job.wildcards["benchmark"]]
        steps = recipe.training_steps(round(corpus * share), corpus)
        expected = round(self._model["rl_steps"] * share) * self._model["rl_episodes_per_step"]
        return steps * recipe.tasks_per_step * recipe.group_size / expected

    def _is_grpo_run(self, job: Job) -> bool:
        return job.wildcards["subset"] == "all" and job.wildcards["algorithm"] == "grpo"

    def _evaluation(self, job: Job) -> tuple[float, str]:
        benchmark, panel = job.wildcards["benchmark"], job.wildcards["panel"]
        return self._episode_gpu_hours(benchmark) * self._panels[benchmark][panel] / max(job.gpus, 1), "model"

    def _pass_rates(self, job: Job) -> tuple[float, str]:
        benchmark = job.wildcards["benchmark"]
        episodes = self._model["corpus"][benchmark] * recipe_of(job).get("rollouts", 8)
        parts = int(job.wildcards["shards"]) * max(job.gpus, 1)
        return self._episode_gpu_hours(benchmark) * episodes / parts, "model"

    def _episode_gpu_hours(self, benchmark: str) -> float:
        """GPU-hours of one played episode: the rollout's share of Table 3's GRPO run over its episodes."""
        gpu_hours = self._table3[benchmark]["rl"]["grpo"] * self._table3["gpus"] * self._model["rollout_share"]
        return gpu_hours / (self._model["rl_steps"] * self._model["rl_episodes_per_step"])

    def energy_kwh(self, gpu_hours: float) -> float:
        """Electricity of GPU-hours, with hosts, cooling and conversion."""
        energy = self._assumptions["energy"]
        return gpu_hours * energy["kilowatt_per_gpu"] * energy["load_factor"] * energy["pue"]

    def co2_kg(self, gpu_hours: float) -> float:
        """CO2 of that electricity."""
        return self.energy_kwh(gpu_hours) * self._assumptions["energy"]["kilogram_co2_per_kwh"]


def _of_job(assumed: Mapping[str, Any], job: Job) -> float:
    """What is assumed of a job's rule, or of the rule's jobs of one benchmark; else the default."""
    value = assumed.get(job.rule, assumed["default"])
    return value.get(job.wildcards["benchmark"], assumed["default"]) if isinstance(value, Mapping) else value


def _basis(is_row: bool) -> str:
    return "table 3" if is_row else "model"


def recipe_of(job: Job) -> dict[str, Any]:
    """The settings that a job's command carries; empty where it carries none."""
    words = shlex.split(job.command)
    return json.loads(words[words.index("--recipe") + 1]) if "--recipe" in words else {}


def measured_hours(job: Job) -> float | None:
    """Run time of this job from Snakemake's benchmark files: its own, else the mean of other seeds; None without any.

    Raises:
        BadInput: a benchmark file cannot be read.
    """
    if not job.benchmark:
        return None
    own = Path(job.benchmark)
    if own.is_file():
        return read_seconds(own) / 3600
    pattern = SEED.sub("seed*", job.benchmark)
    others = sorted(Path().glob(pattern)) if pattern != job.benchmark else []
    return fmean(map(read_seconds, others)) / 3600 if others else None


def gpu_hours(jobs: Sequence[Job], costs: Mapping[int, Cost]) -> float:
    """GPU-hours of jobs."""
    return sum(job.gpus * costs[job.id].hours for job in jobs)


def least_hours(jobs: Sequence[Job], costs: Mapping[int, Cost], nodes: int) -> float:
    """Wall-clock that no schedule can beat: all GPUs busy to the end, or the longest chain of jobs.

    Args:
        jobs: the jobs; what they read of others is taken to be there.
        costs: the cost of each, by id.
        nodes: nodes of eight GPUs.
    """
    needs = dependencies(jobs)
    ends: dict[int, float] = {}
    for number in TopologicalSorter(needs).static_order():
        ends[number] = costs[number].hours + max((ends[needed] for needed in needs[number]), default=0.0)
    return max([gpu_hours(jobs, costs) / (GPUS_PER_NODE * nodes), *ends.values()])
