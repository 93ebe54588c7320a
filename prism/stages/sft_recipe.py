"""Settings of supervised fine-tuning: the config's slice that reaches it as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prism.core.errors import BadInput
from prism.core.prompts import LAYOUTS, PromptFormat
from prism.core.recipes import setting
from prism.core.trackers import TRACKERS


@dataclass(frozen=True)
class SftRecipe:
    """Settings of supervised fine-tuning; all but the first and last block are LLaMA-Factory's own keys.

    (P): the paper's value at its scale; (L): LLaMA-Factory's stock recipe for this model.

    Attributes:
        prompt: prompt format; the rows are cut at its context length.
        template: LLaMA-Factory's name of the chat template (``qwen3``, ``llama3``). The rows are tokenised before; it
            only has to know the family's tokens.
    """

    prompt: PromptFormat
    template: str
    layout: str = setting(
        "`steps`: a row an environment step; `conversation`: one row a trajectory, as the times of P's Table 3 demand",
        choices=LAYOUTS,
    )

    learning_rate: float = setting("peak learning rate of AdamW (P)", above=0)
    num_train_epochs: float = setting("passes over the subset (P)", above=0)
    per_device_train_batch_size: int = setting("rows of a forward pass (P)", at_least=1)
    gradient_accumulation_steps: int = setting("passes of an update (P)", at_least=1)
    lr_scheduler_type: str = setting(
        "schedule of the learning rate (P)", "cosine", choices=("cosine", "linear", "constant", "constant_with_warmup")
    )
    warmup_ratio: float = setting("share of warm-up steps (P)", 0.1, at_least=0, at_most=1)
    weight_decay: float = setting("of the optimizer (L)", 0.0, at_least=0)
    max_grad_norm: float = setting("gradients are clipped to this norm (L)", 1.0, above=0)
    lora_rank: int = setting(
        "rank of LoRA's adapters on all linear layers, merged into the weights afterwards; 0: every parameter is "
        "trained (P)",
        0,
        at_least=0,
        added=True,
    )
    optim: str = setting("the optimizer (L)", "adamw_torch", choices=("adamw_torch", "adamw_torch_fused"))
    bf16: bool = setting("train in bfloat16 (P); off on CPUs without native support", False)
    flash_attn: str = setting("attention kernel", "sdpa", choices=("sdpa", "fa2"))
    gradient_checkpointing: bool = setting(
        "recompute each layer in the backward pass: less memory, more time", False, machine=True
    )
    train_sampling_strategy: str = setting(
        "order of the rows (L: `random`); `group_by_length` wastes less padding",
        "random",
        choices=("random", "sequential", "group_by_length"),
    )
    full_determinism: bool = setting("two runs give the same bytes; slower kernels on GPUs", True)
    logging_steps: int = setting("steps between two lines of the loss curve", 10, at_least=1, machine=True)
    save_strategy: str = setting(
        "when the work folder gets a checkpoint that a killed run goes on from; at the paper's scale none: each would "
        "be 98 GB (12 bytes a weight), in a phase of minutes that Table 3 times",
        "epoch",
        choices=("no", "epoch", "steps"),
        machine=True,
    )
    save_steps: int = setting("steps between checkpoints under `save_strategy: steps`", 500, at_least=1, machine=True)
    save_total_limit: int = setting("checkpoints that stay in the work folder", 2, at_least=1, machine=True)
    deepspeed: dict[str, Any] = setting(
        "DeepSpeed's configuration, empty for none (L: ZeRO-3)",
        default_factory=dict,
        schema={"$ref": "#/$defs/deepspeed"},
    )

    report_to: tuple[str, ...] = setting(
        "[services](../docs/cluster.md#watch-a-training) that it reports to", (), choices=TRACKERS, machine=True
    )
    gpus: int = setting("GPUs a node (P: 8); 0 trains on the CPU", 0, at_least=0)
    nodes: int = setting("nodes of the SLURM job ([more than one](../docs/cluster.md))", 1, at_least=1)
    threads: int = setting("CPU threads of a process", 2, at_least=1, machine=True)

    def __post_init__(self) -> None:
        if not self.deepspeed:
            return
        if self.gpus < 1:
            raise BadInput("sft.gpus", "DeepSpeed needs GPUs", "set gpus, or leave deepspeed out")
        sizes = {
            "train_batch_size": self.per_device_train_batch_size * self.gradient_accumulation_steps * self.gpus,
            "train_micro_batch_size_per_gpu": self.per_device_train_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
        for key, size in sizes.items():
            stated = self.deepspeed.get(key, "auto")
            if stated not in ("auto", size):
                raise BadInput(f"sft.deepspeed.{key}", f"{stated} is not {size}", "write auto")
