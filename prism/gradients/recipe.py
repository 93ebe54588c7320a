"""Settings of the probe: the config's slice that reaches it as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prism.core.chat_templates import ChatForm
from prism.core.prompts import LAYOUTS, LOSSES, PromptFormat
from prism.core.recipes import setting


@dataclass(frozen=True)
class ProbeRecipe:
    """Settings of the probe.

    Attributes:
        prompt: how trajectories become tokens; of chats only the context length counts.
        chat: how people's own chats are rendered; the workflow has none.
        matrices: which matrices are measured (`find_projections`); people say it of their own models.
    """

    prompt: PromptFormat
    layout: str = setting(
        "`steps`: a row an environment step; `conversation`: one row a trajectory (P); chats are chats",
        "steps",
        choices=LAYOUTS,
    )
    loss_on: str = setting(
        "`response`: the answers (P, section 2.2); `all` tokens (P, appendix A)", "response", choices=LOSSES
    )
    dtype: str = setting(
        "the model's floating-point type while probing (not stated by the paper); norms are accumulated in float32 or "
        "better",
        "float32",
        choices=("float32", "bfloat16", "float64"),
    )
    tokens_per_pack: int = setting(
        "tokens of one forward pass; halved when memory runs out", 4096, at_least=1, machine=True
    )
    gradient_checkpointing: bool = setting(
        "recompute each layer in the backward pass: less memory, a third more time", False, machine=True
    )
    tokens_kept: int = setting(
        "with gradient checkpointing: what layers keep of so many tokens is not recomputed; a longer pass recomputes "
        "as many of its layers as it must",
        0,
        at_least=0,
        machine=True,
    )
    tokens_per_pass: int = setting(
        "a longer trajectory of several rows is probed in parts, whose gradients are summed; 0: whole",
        0,
        at_least=0,
        machine=True,
    )
    chat: ClassVar[ChatForm] = ChatForm()
    matrices: ClassVar[str] = "auto"
