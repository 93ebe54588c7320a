"""Settings of the RL stage: the config's slice that reaches it as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prism.core.advantages import GIGPO_MODES
from prism.core.errors import BadInput
from prism.core.methods import ALGORITHMS
from prism.core.prompts import PromptFormat

PLATFORM_ENGINES = {"cpu": "hf", "gpu": "vllm"}


@dataclass(frozen=True)
class RlRecipe:
    """Settings of the RL stage.

    Attributes:
        prompt: how a step becomes text; the same value as in evaluation.
        algorithm: ``grpo`` or ``gigpo``.
        tasks_per_step: tasks (groups) of one training step; at most the size of the subset.
        group_size: trajectories a task.
        steps_rule: ``share`` gives a subset its share of the corpus's steps, so that half the corpus is half the steps;
            ``epochs`` keeps the passes over the subset constant; ``constant`` keeps the steps.
        epochs: passes over the subset (rule ``epochs``).
        steps: training steps, on the whole corpus (rule ``share``) or on any subset (rule ``constant``).
        max_env_steps: environment steps after which an episode ends (paper: 50 ALFWorld, 15 WebShop).
        learning_rate: AdamW, constant.
        ppo_epochs: passes of the optimizer over the rows of one training step.
        clip_ratio: PPO's clip range on both sides.
        temperature: of the rollouts.
        top_p: of the rollouts.
        max_response_tokens: tokens a response may have.
        mini_batch: rows an optimizer step should rest on; a row is an environment step. See `prism.verl_plugin.trainer`
            for what verl makes of it.
        micro_batch_tokens: tokens of one forward and backward pass on one device.
        kl_coefficient: weight of the KL to the initial policy in the loss; 0 leaves the reference policy out.
        entropy_coefficient: weight of the entropy bonus.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        success_reward: reward of a solved task.
        invalid_action_penalty: what an invalid action costs its row.
        norm_adv_by_std: divide group-relative scores by their deviation.
        group_statistics: ``rows`` or ``trajectories``, see `prism.core.advantages.grpo_advantages`.
        gigpo_gamma: GiGPO's discount of a step's return.
        gigpo_weight: weight of GiGPO's step advantage beside its episode advantage.
        gigpo_mode: ``mean_std_norm`` divides both of GiGPO's advantages by their deviation, ``mean_norm`` only centres
            them. `norm_adv_by_std` is GRPO's.
        loss_aggregation: verl's `loss_agg_mode`.
        shuffle_rows: shuffle rows before they are cut into mini-batches.
        save_every: training steps between checkpoints; the last step is always saved. 0 saves the last one only.
        keep_checkpoints: how many of them stay in the work folder; the oldest goes first.
        platform: ``cpu`` or ``gpu``.
        rollout_engine: ``hf`` on CPU, ``vllm`` on GPU.
        gpus: GPUs a node (1 on CPU: one logical device).
        nodes: nodes of the SLURM job; with more than one, a Ray cluster is started over them.
        tensor_parallel: of the rollout engine.
        threads: torch threads of the training process and of the sampler, which take turns.
        environment_threads: threads that step environments, in each agent-loop worker.
        agent_workers: processes that run agent loops.
        gpu_memory_utilization: share of GPU memory for vLLM.
        warm_workers: start Ray's worker processes by forking one warmed-up process (CPU platform only).
    """

    prompt: PromptFormat
    max_env_steps: int
    learning_rate: float
    tasks_per_step: int
    mini_batch: int
    micro_batch_tokens: int
    max_response_tokens: int
    steps_rule: str
    algorithm: str = "grpo"
    group_size: int = 8
    epochs: float = 0.0
    steps: int = 0
    ppo_epochs: int = 1
    clip_ratio: float = 0.2
    temperature: float = 1.0
    top_p: float = 1.0
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.001
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    success_reward: float = 10.0
    invalid_action_penalty: float = 0.1
    norm_adv_by_std: bool = True
    group_statistics: str = "rows"
    gigpo_gamma: float = 0.95
    gigpo_weight: float = 1.0
    gigpo_mode: str = "mean_std_norm"
    loss_aggregation: str = "token-mean"
    shuffle_rows: bool = False
    save_every: int = 0
    keep_checkpoints: int = 2
    platform: str = "cpu"
    rollout_engine: str = "hf"
    gpus: int = 1
    nodes: int = 1
    tensor_parallel: int = 1
    threads: int = 2
    environment_threads: int = 4
    agent_workers: int = 1
    gpu_memory_utilization: float = 0.6
    warm_workers: bool = True

    def __post_init__(self) -> None:
        _one_of("algorithm", self.algorithm, ALGORITHMS)
        _one_of("steps_rule", self.steps_rule, ("share", "epochs", "constant"))
        _one_of("group_statistics", self.group_statistics, ("rows", "trajectories"))
        _one_of("gigpo_mode", self.gigpo_mode, GIGPO_MODES)
        if not 0 <= self.gigpo_gamma <= 1:
            raise BadInput("rl.gigpo_gamma", f"{self.gigpo_gamma} is no discount", "give a number from 0 to 1")
        _one_of("platform", self.platform, tuple(PLATFORM_ENGINES))
        _one_of("rollout_engine", self.rollout_engine, (PLATFORM_ENGINES[self.platform],))
        needed = self.epochs if self.steps_rule == "epochs" else self.steps
        if needed <= 0:
            key = "epochs" if self.steps_rule == "epochs" else "steps"
            raise BadInput(f"rl.{key}", f"{needed} is not positive", f"steps_rule {self.steps_rule} needs it")
        for name in ("tasks_per_step", "group_size", "max_env_steps", "mini_batch", "max_response_tokens"):
            if getattr(self, name) < 1:
                raise BadInput(f"rl.{name}", f"{getattr(self, name)} is not positive", "give a whole number above 0")

    @property
    def row_tokens(self) -> int:
        """Tokens a row may have: the longest prompt, and the longest response on top."""
        return self.prompt.context_length + self.max_response_tokens

    def training_steps(self, tasks: int, corpus: int) -> int:
        """Training steps on a subset of `tasks` tasks of a corpus of `corpus`."""
        if self.steps_rule == "constant":
            return self.steps
        if self.steps_rule == "share":
            return max(1, round(self.steps * tasks / corpus))
        return math.ceil(self.epochs * tasks / min(self.tasks_per_step, tasks))


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise BadInput(f"rl.{key}", f"unknown value {value!r}", f"use one of {', '.join(known)}")
