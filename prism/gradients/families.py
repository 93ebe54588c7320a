"""Which models can be probed in packs, and the prober for the others: every family of transformers is exact in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn
from transformers import PretrainedConfig
from transformers.pytorch_utils import Conv1D

from prism.gradients.prober import GradientProber
from prism.gradients.projections import Projection
from prism.gradients.row_by_row import RowByRowProber

# Language models whose layers mix tokens by our attention alone and know positions by their ids alone: a pack computes
# what its rows compute on their own. A test proves it for each; any other family is probed row by row.
_PACKED = """
apertus arcee bitnet cohere cohere2 cwm ernie4_5 exaone4 gemma gemma3_text gemma4_text glm glm4 gpt2 gpt_neox
granite helium hunyuan_v1_dense jais2 llama ministral ministral3 mistral nanochat olmo olmo2 olmo3 opt persimmon
phi phi3 qwen2 qwen3 seed_oss smollm3 starcoder2 youtu
"""
PACKED = frozenset(_PACKED.split())
# the same behind a tower for images or sound
PACKED_WITH_SENSES = frozenset({"gemma3", "gemma4", "mistral3"})
ATTENTION = frozenset({"full_attention", "sliding_attention"})
# rotary frequencies of these depend on the longest row around
ROPE_BY_LENGTH = frozenset({"dynamic", "longrope"})


def packs_exactly(config: PretrainedConfig, projections: Sequence[Projection]) -> bool:
    """Whether `GradientProber` computes a model's norms exactly.

    Args:
        config: of the whole model.
        projections: what is measured.
    """
    text = config.get_text_config()
    return (
        text.model_type in PACKED
        and (text is config or config.model_type in PACKED_WITH_SENSES)
        and ATTENTION.issuperset(getattr(text, "layer_types", None) or ())
        and getattr(text, "attn_logit_softcapping", None) is None
        and getattr(text, "use_bidirectional_attention", None) in (None, False, "vision")
        and ROPE_BY_LENGTH.isdisjoint(_rope_types(getattr(text, "rope_parameters", None)))
        and all(len(one.parts) == 1 and type(one.linear) in (nn.Linear, Conv1D) for one in projections)
    )


def make_prober(
    model: nn.Module, projections: Sequence[Projection], gradient_checkpointing: bool = False
) -> GradientProber | RowByRowProber:
    """The fastest prober that is exact for a model; it takes the model over."""
    kind = GradientProber if packs_exactly(model.config, projections) else RowByRowProber
    return kind(model, gradient_checkpointing, projections)


def _rope_types(parameters: dict | None) -> Iterable[str]:
    """Kinds of rotary frequencies, where they may differ by kind of layer."""
    for name, value in (parameters or {}).items():
        if isinstance(value, dict):
            yield from _rope_types(value)
        elif name == "rope_type":
            yield value
