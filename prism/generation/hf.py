"""Batched sampling from a Hugging Face causal language model; made for small models on a CPU.

`model.generate` spends most of a small model's time in its bookkeeping. Here one forward pass a token is all there
is: prompts are padded on the left, sorted by length, share one KV cache, and rows that ended leave the batch. Equal
prompts, as those of a group's first step in RL, are read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prism.core.savings import active
from prism.generation.base import Sampling, request_seed
from prism.generation.kv_cache import cache_with_room, sampling_attention

# a batch is repacked once this share of its rows has ended: repacking copies the whole cache
REPACK_SHARE = 0.25


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn, and which ones end a row.

    Attributes:
        temperature: divides the logits; 0 takes the most likely token.
        top_p: nucleus: the smallest set of tokens with at least this probability is kept; 1 keeps all.
        stop_ids: tokens that end a row; the token itself is part of the response.
        pad_id: fills the rows of a batch on the left.
    """

    temperature: float
    top_p: float
    stop_ids: Sequence[int]
    pad_id: int


@torch.inference_mode()
def sample_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    max_new_tokens: int | Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator],
) -> tuple[list[list[int]], list[list[float]]]:
    """Continue every prompt until a stop token or its limit.

    Each row has its own random numbers, drawn before the first token: what a row samples does not depend on when its
    neighbours end.

    Args:
        model: a transformers causal language model in evaluation mode.
        prompts: token ids, none of them empty.
        max_new_tokens: limit for all rows, or one a row.
        generator: source of the random numbers, on the CPU; untouched at temperature 0. With one a row, a row's
            numbers do not depend on who else is in the batch.

    Returns:
        Token ids and their log-probabilities, row by row. A log-probability is that of the tempered distribution
        before the nucleus cut (temperature 0: of the plain one), which is what a policy gradient needs.
    """
    if not prompts:
        return [], []
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    longest = max(limits)
    uniform = _uniform(len(prompts), longest, generator) if decoding.temperature else None
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    stops = frozenset(decoding.stop_ids)
    rows = list(range(len(prompts)))  # rows[i] is the prompt in line i of the tensors

    ids, visible, position = _pad_left(prompts, decoding.pad_id, longest, model.device)
    width = ids.shape[1]
    first, places = _distinct(prompts)
    # the last token of a response is never fed back
    cache = cache_with_room(model.config.get_text_config(), longest - 1)
    logits = model(
        input_ids=ids[first],
        attention_mask=_causal_mask(visible[first, :width], model.dtype),
        position_ids=(visible[first, :width].cumsum(-1) - 1).clamp_(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    if len(first) < len(prompts):
        spread = torch.tensor(places, device=ids.device)
        cache.batch_select_indices(spread)
        logits = logits[spread]
    for step in range(longest):
        draws = uniform[rows, step] if decoding.temperature else None
        chosen, chosen_logprobs = _choose(logits.float(), decoding, draws)
        alive = []
        for line, (row, token, logprob) in enumerate(zip(rows, chosen.tolist(), chosen_logprobs.tolist(), strict=True)):
            if len(tokens[row]) >= limits[row] or (tokens[row] and tokens[row][-1] in stops):
                continue
            tokens[row].append(token)
            logprobs[row].append(logprob)
            if token not in stops and len(tokens[row]) < limits[row]:
                alive.append(line)
        if not alive:
            break
        if len(alive) <= len(rows) * (1 - REPACK_SHARE):
            keep = torch.tensor(alive, device=ids.device)
            cache.batch_select_indices(keep)
            chosen, visible, position = chosen[keep], visible[keep], position[keep]
            rows = [rows[line] for line in alive]
        logits = model(
            input_ids=chosen[:, None],
            attention_mask=_additive(visible[:, None, None, : width + step + 1], model.dtype),
            position_ids=position + step,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    return tokens, logprobs


def _distinct(prompts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Where each different prompt comes first, and which of those each prompt is."""
    if not active("equal_prompts"):
        return list(range(len(prompts))), list(range(len(prompts)))
    number: dict[tuple[int, ...], int] = {}
    places = [number.setdefault(tuple(prompt), len(number)) for prompt in prompts]
    return [places.index(place) for place in range(len(number))], places


def _uniform(rows: int, columns: int, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
    """Random numbers in [0, 1), rows x columns, float64; row by row where each row has its own generator."""
    if isinstance(generator, torch.Generator):
        return torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return torch.stack([torch.rand(columns, generator=own, dtype=torch.float64) for own in generator])


def _pad_left(
    prompts: Sequence[Sequence[int]], pad_id: int, new_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts padded on the left.

    Returns:
        ids (B x W), visible (B x (W + new_tokens), True where a later token may look), position of the first new
        token (B x 1).
    """
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
    visible = torch.arange(width + new_tokens)[None, :] >= (width - lengths)[:, None]
    return ids.to(device), visible.to(device), lengths[:, None].to(device)


def _causal_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask B x 1 x W x W of left-padded prompts."""
    width = visible.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=visible.device).tril()
    # a padding position looks at itself: a row that sees nothing would be NaN
    itself = torch.eye(width, dtype=torch.bool, device=visible.device)
    return _additive((visible[:, None, None, :] & causal) | itself, dtype)


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `visible`, the smallest number of `dtype` elsewhere: transformers takes a 4-D mask as it is."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)


def _choose(logits: Tensor, decoding: Decoding, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token a row by inverting the cumulative distribution at `uniform`; and its log-probability.

    Args:
        logits: B x V.
        uniform: B numbers in [0, 1), float64; not used at temperature 0.
    """
    if decoding.temperature == 0:
        logprobs = logits.log_softmax(-1)
        chosen = logprobs.argmax(-1)
        return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]
    logprobs = (logits / decoding.temperature).log_softmax(-1)
    probabilities = logprobs.double().exp()
    if decoding.top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= decoding.top_p
        probabilities = probabilities.scatter(-1, order, ordered.masked_fill(outside, 0.0))
    cumulative = probabilities.cumsum(-1)
    threshold = uniform.to(logits.device)[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]


class HFGenerator:
    """A `Generator` over a transformers model.

    Args:
        model: causal language model, switched to evaluation mode.
        tokenizer: gives the end-of-turn and padding tokens.
        sampling: temperature, nucleus, length and seed.
        batch_size: prompts in one forward pass.
    """

    def __init__(self, model: Any, tokenizer: Any, sampling: Sampling, batch_size: int):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.stop_ids = [tokenizer.eos_token_id]
        self.pad_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.sampling, self.batch_size = sampling, batch_size
        self._requests = 0

    @classmethod
    def load(cls, model_dir: str | Path, sampling: Sampling, batch_size: int) -> HFGenerator:
        """Load model (in the dtype of its weights) and tokenizer from a folder."""
        from transformers import AutoModelForCausalLM

        from prism.core.tokenizers import load_tokenizer

        tokenizer = load_tokenizer(model_dir)
        model = AutoModelForCausalLM.from_pretrained(
            model_dir, dtype="auto", use_safetensors=True, attn_implementation=sampling_attention()
        )
        return cls(model, tokenizer, sampling, batch_size)

    def generate(self, prompts: list[list[int]], seeds: Sequence[int] | None = None) -> list[list[int]]:
        """Response token ids per prompt, end-of-turn token included where one was produced; `Generator` says more."""
        first, self._requests = self._requests, self._requests + len(prompts)
        if seeds is None:
            seeds = [request_seed(self.sampling.seed, number) for number in range(first, self._requests)]
        # neighbours of like length waste little padding; sorting is stable, so a repeated run is the same run
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        responses: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            tokens, _ = sample_batch(
                self.model,
                [prompts[index] for index in batch],
                Decoding(self.sampling.temperature, self.sampling.top_p, self.stop_ids, self.pad_id),
                self.sampling.max_new_tokens,
                [_seeded(seeds[index]) for index in batch],
            )
            for index, response in zip(batch, tokens, strict=True):
                responses[index] = response
        return responses


def _seeded(seed: int) -> torch.Generator:
    """A source of random numbers that starts at a seed."""
    return torch.Generator().manual_seed(seed)
