"""Settings of the RL stage: the config's slice that reaches it as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prism.core.advantages import GIGPO_MODES
from prism.core.errors import BadInput
from prism.core.methods import ALGORITHMS
from prism.core.prompts import PromptFormat
from prism.core.recipes import setting
from prism.core.trackers import TRACKERS

# where weights, gradients and moments of the training lie
OFFLOADS = ("none", "idle", "always")
# the scale of an adapter over its rank: LLaMA-Factory's own default
LORA_ALPHA_PER_RANK = 2
PLATFORM_ENGINES = {"cpu": "hf", "gpu": "vllm"}
# the file is what the run's own record is made from
OWN_LOGGERS = ("console", "file")
LOGGERS = (*OWN_LOGGERS, *TRACKERS)


@dataclass(frozen=True)
class RlRecipe:
    """Settings of the RL stage. (P): the paper's value at its scale; (V): verl-agent's default, on which it builds.

    Attributes:
        prompt: how a step becomes text; the same value as in evaluation.
        max_steps: environment steps after which an episode ends (paper: 50 ALFWorld, 15 WebShop).
        algorithm: ``grpo`` or ``gigpo``.
    """

    prompt: PromptFormat
    max_steps: int
    learning_rate: float = setting("of AdamW, constant (P)", above=0)
    tasks_per_step: int = setting("tasks of a training step, at most those of the subset (V)", at_least=1)
    mini_batch: int = setting(
        "rows (environment steps) that an optimizer step should rest on (V); `prism/rl/in_verl/trainer.py` says what "
        "verl makes of it",
        at_least=1,
    )
    micro_batch_tokens: int = setting("tokens of one forward and backward pass on one device", at_least=1)
    max_response_tokens: int = setting("tokens a response may have (V)", at_least=1)
    steps_rule: str = setting(
        "`share`: a subset gets its share of the corpus's steps, so half the corpus is half the steps (P, Table 3); "
        "`epochs`: the passes over the subset are constant; `constant`: the steps are",
        choices=("share", "epochs", "constant"),
    )
    algorithm: str = setting("", "grpo", choices=ALGORITHMS)
    group_size: int = setting("trajectories of a task (P)", 8, at_least=2)
    epochs: float = setting("passes over the subset", 0.0, at_least=0, only={"steps_rule": ("epochs",)})
    steps: int = setting(
        "training steps, on the whole corpus (`share`; V: 150) or on any subset (`constant`)",
        0,
        at_least=0,
        only={"steps_rule": ("share", "constant")},
    )
    ppo_epochs: int = setting("passes of the optimizer over the rows of one training step (V)", 1, at_least=1)
    clip_ratio: float = setting("PPO's clip range on both sides (V)", 0.2, above=0)
    temperature: float = setting("of the rollouts (V)", 1.0, above=0)
    top_p: float = setting("of the rollouts (V)", 1.0, at_least=0, at_most=1)
    kl_coefficient: float = setting(
        "weight of the KL to the initial policy in the loss; 0 leaves the reference policy out (P; GiGPO: V)",
        0.0,
        at_least=0,
    )
    entropy_coefficient: float = setting("weight of the entropy bonus (V)", 0.001, at_least=0)
    weight_decay: float = setting("of AdamW (V)", 0.01, at_least=0)
    max_grad_norm: float = setting("gradients are clipped to this norm (V)", 1.0, above=0)
    success_reward: float = setting("reward of a solved task (P)", 10.0)
    invalid_action_penalty: float = setting("what an invalid action costs its row (P)", 0.1, at_least=0)
    norm_adv_by_std: bool = setting(
        "divide GRPO's scores by their group's deviation (V)", True, only={"algorithm": ("grpo",)}
    )
    group_statistics: str = setting(
        "a group's mean and deviation are over `rows`, where long trajectories weigh more (V), or `trajectories`",
        "rows",
        choices=("rows", "trajectories"),
    )
    gigpo_gamma: float = setting(
        "GiGPO: discount of a step's return (V)", 0.95, at_least=0, at_most=1, only={"algorithm": ("gigpo",)}
    )
    gigpo_weight: float = setting(
        "GiGPO: weight of the step advantage beside the episode's (V)", 1.0, at_least=0, only={"algorithm": ("gigpo",)}
    )
    gigpo_mode: str = setting(
        "GiGPO: `mean_std_norm` divides its advantages by their deviation (V, ALFWorld), `mean_norm` only centres them "
        "(V, WebShop)",
        "mean_std_norm",
        choices=GIGPO_MODES,
        only={"algorithm": ("gigpo",)},
    )
    loss_aggregation: str = setting(
        "verl's `loss_agg_mode` (V)",
        "token-mean",
        choices=("token-mean", "seq-mean-token-sum", "seq-mean-token-mean"),
    )
    shuffle_rows: bool = setting("shuffle rows before they are cut into mini-batches", False)
    lora_rank: int = setting(
        "rank of LoRA's adapters on all linear layers, merged into the weights afterwards; 0: every parameter is "
        "trained (P)",
        0,
        at_least=0,
        added=True,
    )
    offload: str = setting(
        "what lies in the host's memory: `none`; `idle`: weights and moments while they are not in use; `always`: they "
        "and the optimizer's step as well ([one GPU](../docs/one-gpu.md))",
        "none",
        choices=OFFLOADS,
        machine=True,
    )
    save_every: int = setting(
        "training steps between checkpoints in the work folder; 0: the last one only", 0, at_least=0, machine=True
    )
    keep_checkpoints: int = setting("checkpoints that stay in the work folder", 2, at_least=1, machine=True)
    platform: str = setting("where verl runs", "cpu", choices=tuple(PLATFORM_ENGINES))
    rollout_engine: str = setting("`hf` on CPUs, `vllm` on GPUs", "hf", choices=tuple(PLATFORM_ENGINES.values()))
    gpus: int = setting("GPUs a node (P: 8); 1 on a CPU: one logical device", 1, at_least=1)
    nodes: int = setting("nodes of the SLURM job ([more than one](../docs/cluster.md))", 1, at_least=1)
    tensor_parallel: int = setting(
        "GPUs that share one copy of the rollout engine", 1, at_least=1, only={"rollout_engine": ("vllm",)}
    )
    threads: int = setting("CPU threads of training and of the sampler, which take turns", 2, at_least=1, machine=True)
    agent_workers: int = setting("processes that run agent loops", 1, at_least=1, machine=True)
    environment_threads: int = setting("threads of such a process that step environments", 4, at_least=1, machine=True)
    environment_processes: int = setting(
        "processes of such a process that hold its environments, which its threads then wait for; 0: the threads step "
        "them themselves, one at a time in effect",
        0,
        at_least=0,
        machine=True,
    )
    gpu_memory_utilization: float = setting("share of GPU memory for vLLM", 0.6, at_least=0, at_most=1, machine=True)
    loggers: tuple[str, ...] = setting(
        "where verl reports to; `console` and `file` are needed ([others](../docs/cluster.md#watch-a-training))",
        OWN_LOGGERS,
        choices=LOGGERS,
        machine=True,
    )
    warm_workers: bool = setting(
        "start Ray's workers by forking one warmed-up process (CPU platform only)", True, machine=True
    )

    def __post_init__(self) -> None:
        engine = PLATFORM_ENGINES[self.platform]
        _require(
            self.rollout_engine == engine,
            "rollout_engine",
            f"{self.rollout_engine!r} does not run on platform {self.platform}",
            f"use {engine}",
        )
        missing = [name for name in OWN_LOGGERS if name not in self.loggers]
        _require(not missing, "loggers", f"{', '.join(missing)} is left out", "the run's own record is made from it")
        needed = self.epochs if self.steps_rule == "epochs" else self.steps
        key = "epochs" if self.steps_rule == "epochs" else "steps"
        _require(needed > 0, key, f"{needed} is not positive", f"steps_rule {self.steps_rule} needs it")

    @property
    def row_tokens(self) -> int:
        """Tokens a row may have: the longest prompt, and the longest response on top."""
        return self.prompt.context_length + self.max_response_tokens

    def check_batches(self) -> None:
        """Refuse batches that do not add up: every GPU gets as many trajectories, and every row fits into a pass.

        Raises:
            BadInput: names the setting.
        """
        devices = self.gpus * self.nodes
        trajectories = self.tasks_per_step * self.group_size
        _require(
            trajectories % devices == 0,
            "tasks_per_step",
            f"{trajectories} trajectories do not divide among {devices} GPUs",
            "make tasks_per_step x group_size a multiple of them",
        )
        _require(
            self.mini_batch % devices == 0,
            "mini_batch",
            f"{self.mini_batch} rows do not divide among {devices} GPUs",
            "give a multiple of them",
        )
        _require(
            self.rollout_engine != "vllm" or self.gpus % self.tensor_parallel == 0,
            "tensor_parallel",
            f"{self.tensor_parallel} does not divide {self.gpus} GPUs",
            "give a divisor",
        )
        _require(
            self.micro_batch_tokens >= self.row_tokens,
            "micro_batch_tokens",
            f"{self.micro_batch_tokens} tokens hold no row of {self.row_tokens}",
            "raise it",
        )

    def training_steps(self, tasks: int, corpus: int) -> int:
        """Training steps on a subset of `tasks` tasks of a corpus of `corpus`."""
        if self.steps_rule == "constant":
            return self.steps
        if self.steps_rule == "share":
            return max(1, round(self.steps * tasks / corpus))
        return math.ceil(self.epochs * tasks / min(self.tasks_per_step, tasks))


def _require(holds: bool, key: str, problem: str, remedy: str) -> None:
    if not holds:
        raise BadInput(f"rl.{key}", problem, remedy)
