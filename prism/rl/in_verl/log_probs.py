"""Log-probabilities and entropies of verl's training, in chunks of tokens, keeping nothing as large as the logits.

Without the flash-attn package, which is in no lock, verl 0.9.1 takes log-probabilities token by token in a Python loop
with one autograd node each, and keeps a float32 log-softmax of every token for the backward pass; its chunked entropy
keeps softmax and logits in float32 as well: 20 bytes an entry of the logits in sum. The functions here keep the logits
themselves and a float32 number a token, and compute the gradient in chunks from those.

verl loads this module on every platform (``VERL_USE_EXTERNAL_MODULES``); the two functions take the places of verl's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import verl.utils.torch_functional as verl_functional

from prism.rl.command import CHUNK_TOKENS
from prism.rl.in_verl import replace


def log_probs_of_labels(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each label, at least in float32: logits (..., V) and labels (...) give (...)."""
    flat = logits.reshape(-1, logits.shape[-1])
    return _LabelLogProbs.apply(flat, labels.reshape(-1)).view(labels.shape)


def entropy_of_logits(logits: torch.Tensor, chunk_size: int = CHUNK_TOKENS) -> torch.Tensor:
    """Entropy in nats of each distribution, at least in float32: logits (T, V) give (T,).

    Args:
        chunk_size: tokens at a time; the result does not depend on it.
    """
    return _Entropy.apply(logits, chunk_size)


class _LabelLogProbs(torch.autograd.Function):
    """x_label - logsumexp(x); its gradient is onehot(label) - softmax(x)."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        norms = torch.cat([chunk.logsumexp(-1) for _, chunk in _chunks(logits, CHUNK_TOKENS)])
        ctx.save_for_backward(logits, labels, norms)
        return logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1).to(norms.dtype) - norms

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, labels, norms = ctx.saved_tensors
        result = torch.empty_like(logits)
        for rows, chunk in _chunks(logits, CHUNK_TOKENS):
            upstream = gradient[rows].unsqueeze(-1)
            change = (chunk - norms[rows].unsqueeze(-1)).exp_().mul_(-upstream)
            result[rows] = change.scatter_add_(-1, labels[rows].unsqueeze(-1), upstream)
        return result, None


class _Entropy(torch.autograd.Function):
    """H = logsumexp(x) - sum(p x); its gradient is -p (log p + H)."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, chunk_size: int) -> torch.Tensor:
        norms, entropies = [], []
        for _, chunk in _chunks(logits, chunk_size):
            norm = chunk.logsumexp(-1)
            norms.append(norm)
            entropies.append(norm - chunk.softmax(-1).mul_(chunk).sum(-1))
        norm, entropy = torch.cat(norms), torch.cat(entropies)
        ctx.save_for_backward(logits, norm, entropy)
        ctx.chunk_size = chunk_size
        return entropy

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, norms, entropy = ctx.saved_tensors
        result = torch.empty_like(logits)
        for rows, chunk in _chunks(logits, ctx.chunk_size):
            log_probs = chunk - norms[rows].unsqueeze(-1)
            probs = log_probs.exp()
            result[rows] = log_probs.add_(entropy[rows].unsqueeze(-1)).mul_(probs).mul_(-gradient[rows].unsqueeze(-1))
        return result, None


def _chunks(logits: torch.Tensor, tokens: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Slices of the rows, each with its logits in float32, or float64 where they are that."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    for start in range(0, len(logits), tokens):
        rows = slice(start, start + tokens)
        yield rows, logits[rows].to(wide)


replace(verl_functional, "logprobs_from_logits_v2", log_probs_of_labels)
replace(verl_functional, "entropy_from_logits_with_chunking", entropy_of_logits)
