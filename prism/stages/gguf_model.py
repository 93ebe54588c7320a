"""A model out of a GGUF file: its quantised weights become floating-point safetensors, its vocabulary a tokenizer.

A GGUF file is data alone: metadata and tensors. transformers dequantises the tensors. The tokenizer is built here, from
the file's own tokens and merges: transformers takes every GGUF of Llama's architecture for one of Llama's vocabulary,
puts a start token before every text and does not split numbers into digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput, first_line

# the type that the weights are written in: it holds every 4-bit or 8-bit value with its scale
DTYPE = "float32"
_ROLES = ("bos", "eos", "unknown", "padding")


def _digits_alone() -> Any:
    """SmolLM's: every digit is a piece, then as GPT-2."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])


# how a vocabulary of bytes cuts text into pieces before it merges, by GGUF's name for it
_PIECES: dict[str, Callable[[], Any]] = {"smollm": _digits_alone}


def write_gguf_model(path: Path, folder: Path) -> dict[str, int]:
    """Write the model of a GGUF file to an empty folder: safetensors in `DTYPE`, configuration, tokenizer.

    Returns:
        Tensors of each type in the file, by GGUF's names of the types (``Q4_1``: 4 bits a weight).

    Raises:
        BadInput: the file is no GGUF, its vocabulary is of an unknown kind, or transformers does not know its model.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    reader = _open(path)
    gguf_tokenizer(reader, path).save_pretrained(folder)
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=getattr(torch, DTYPE), trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        problem = f"holds no model that transformers knows ({first_line(error)[:120]})"
        raise BadInput(path, problem, "name another file or package") from error
    model.save_pretrained(folder)
    return dict(sorted(Counter(tensor.tensor_type.name for tensor in reader.tensors).items()))


def _open(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    # what the library raises for a broken file depends on where it is broken
    except Exception as error:
        raise BadInput(path, f"is no GGUF file ({first_line(error)[:120]})", "name another file") from error


def gguf_tokenizer(reader: Any, path: Path) -> Any:
    """The tokenizer of an open GGUF file, with its special tokens and its chat template.

    Args:
        reader: a `gguf.GGUFReader`.
        path: names the file in an error.

    Raises:
        BadInput: the vocabulary is of a kind that is not known here.
    """
    from gguf import TokenType
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    def field(name: str) -> Any:
        found = reader.get_field(f"tokenizer.{name}")
        return None if found is None else found.contents()

    kind, pieces = field("ggml.model"), field("ggml.pre")
    if kind != "gpt2" or pieces not in _PIECES:
        problem = f"has a vocabulary of the kind {kind}, {pieces}"
        raise BadInput(path, problem, f"known: {', '.join(f'gpt2, {name}' for name in _PIECES)}")
    tokens = field("ggml.tokens")
    names = {role: tokens[number] for role in _ROLES if (number := field(f"ggml.{role}_token_id")) is not None}
    merges = [tuple(merge.split(" ")) for merge in field("ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = Tokenizer(BPE(vocabulary, merges, unk_token=names.get("unknown")))
    backend.pre_tokenizer, backend.decoder = _PIECES[pieces](), ByteLevel()
    types = field("ggml.token_type")
    backend.add_special_tokens([token for token, its in zip(tokens, types, strict=True) if its == TokenType.CONTROL])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=field("chat_template"),
        clean_up_tokenization_spaces=False,
        bos_token=names.get("bos"),
        eos_token=names.get("eos"),
        unk_token=names.get("unknown"),
        pad_token=names.get("padding"),
    )
