"""Tiny language models with a real family's architecture and chat tokens, and a word-level vocabulary.

They stand in for the 8B backbones where no GPU is: everything that reads a model folder (probe, SFT, RL, evaluation)
treats them as any other. A word of the benchmark is one token, so that an environment step is a few hundred tokens.
Any other word is spelled letter by letter: a model that meets one reads badly, but copies what it reads.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prism.core.errors import BadInput
from prism.core.prompts import ACTION, END_ACTION, END_THINK, THINK

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

UNKNOWN = "<unk>"
CONTEXT_LENGTH = 1024
# instance numbers of a scene's objects and receptacles ("cabinet 27")
LARGEST_NUMBER = 60
# rows of the embedding are a multiple of this, as in the large models; the spare rows are never used
VOCABULARY_MULTIPLE = 32
# marks a token that continues a word
CONTINUED = "##"


_TIGHT = {" [": "[", "[ ": "[", " ]": "]", "( ": "(", " )": ")", " - ": "-"}


@dataclass(frozen=True)
class Family:
    """What a model family prescribes: its chat tokens, its chat template, its transformers classes.

    Attributes:
        chat_tokens: the family's special tokens, in the order of their ids.
        bos: beginning-of-text token, or empty.
        eos: end-of-turn token; generation stops there.
        pad: padding token.
    """

    name: str
    chat_tokens: tuple[str, ...]
    bos: str
    eos: str
    pad: str
    chat_template: str


FAMILIES = {
    "qwen3": Family(
        name="qwen3",
        chat_tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos="",
        eos="<|im_end|>",
        pad="<|endoftext|>",
        chat_template=(
            "{% for message in messages %}"
            "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
        ),
    ),
    "llama3": Family(
        name="llama3",
        chat_tokens=(
            "<|begin_of_text|>",
            "<|finetune_right_pad_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|eot_id|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad="<|finetune_right_pad_id|>",
        chat_template=(
            "{{ bos_token }}{% for message in messages %}"
            "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
            " + message['content'] + '<|eot_id|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
        ),
    ),
}


@dataclass(frozen=True)
class Shape:
    """Size of a tiny model; the names are those of the transformers configs."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rope_theta: float = 10000.0


def find_family(name: str) -> Family:
    """The family called `name`.

    Raises:
        BadInput: there is no such family.
    """
    if name not in FAMILIES:
        raise BadInput("family", f"unknown family {name!r}", f"use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def build_vocabulary(family: Family, words: Iterable[str]) -> dict[str, int]:
    """Word -> id: the family's chat tokens, the tags, punctuation, numbers, letters, then `words` in order."""
    fixed = [*family.chat_tokens, UNKNOWN, THINK, END_THINK, ACTION, END_ACTION, "system", "user", "assistant"]
    fixed += [*string.punctuation, *(str(number) for number in range(LARGEST_NUMBER + 1))]
    fixed += [*string.ascii_lowercase, *(CONTINUED + letter for letter in string.ascii_lowercase + string.digits)]
    ordered = dict.fromkeys([*fixed, *sorted({word.lower() for word in words})])
    return {word: index for index, word in enumerate(ordered)}


def build_tokenizer(family: Family, words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A lower-casing word-level tokenizer with the family's chat tokens; think and action tags are one token each."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # the longest match comes first: a word of the vocabulary is one token, only others are spelled
    vocabulary = build_vocabulary(family, words)
    core = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, continuing_subword_prefix=CONTINUED))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(behavior="isolated")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix=CONTINUED, cleanup=False),
            decoders.Fuse(),
            # actions are read back as they are written: click[x-large], click[8 ounce (pack of 1)]
            *(decoders.Replace(spaced, tight) for spaced, tight in _TIGHT.items()),
        ]
    )
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in family.chat_tokens])
    # as in Qwen3 itself: tags are tokens of their own, but not special, so that decoding keeps them
    core.add_tokens([AddedToken(tag, normalized=False) for tag in (THINK, END_THINK, ACTION, END_ACTION)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=family.bos or None,
        eos_token=family.eos,
        pad_token=family.pad,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = family.chat_template
    return tokenizer


def build_config(family: Family, shape: Shape, tokenizer: Any) -> Any:
    """The transformers config of a tiny model; word embeddings are tied."""
    from transformers import LlamaConfig, Qwen3Config

    kinds = {"qwen3": Qwen3Config, "llama3": LlamaConfig}
    return kinds[family.name](
        vocab_size=-(-len(tokenizer) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=CONTEXT_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )


def build_model(family: Family, shape: Shape, tokenizer: Any, seed: int) -> PreTrainedModel:
    """A tiny model with random weights drawn from `seed`, on the CPU in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(build_config(family, shape, tokenizer), dtype=torch.float32)
