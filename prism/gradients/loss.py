"""The loss of a pack and its backward pass; logits of a large vocabulary are formed a part at a time.

The logits of 3,000 response tokens over 150,000 words take 1.8 GB in float32, and their gradient as much again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from prism.gradients.packs import Pack

# logits that exist at once: 128 MiB in float32
LOGITS_AT_ONCE = 2**25


def backward_of_losses(model: nn.Module, pack: Pack, inputs: Mapping[str, Any]) -> torch.Tensor:
    """One forward and one backward pass over the sum of the trajectories' mean losses.

    Args:
        model: a causal language model of transformers.
        inputs: its arguments, but for the positions whose logits are kept.

    Returns:
        (R,) negative log-likelihood of each response token, in nats, float32 or better.
    """
    head, decoder = model.get_output_embeddings(), model.base_model
    at_once = max(1, LOGITS_AT_ONCE // len(head.weight)) if head is not None else len(pack.targets)
    if len(pack.targets) <= at_once or decoder is model:
        logits = model(**inputs, logits_to_keep=pack.predictors).logits[0]
        return _backward(logits, pack, slice(None))
    hidden = decoder(**inputs).last_hidden_state[:, pack.predictors]
    slope = torch.empty_like(hidden)
    losses = []
    for start in range(0, hidden.shape[1], at_once):
        part = slice(start, start + at_once)
        leaf = hidden[:, part].detach().requires_grad_()
        with _answering(decoder, leaf):
            logits = model(input_ids=inputs["input_ids"], use_cache=False).logits[0]
        losses.append(_backward(logits, pack, part))
        slope[:, part] = leaf.grad
    hidden.backward(slope)
    return torch.cat(losses)


def _backward(logits: torch.Tensor, pack: Pack, part: slice) -> torch.Tensor:
    """Backward pass from the logits of some of the predictors; returns their losses."""
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    losses = F.cross_entropy(logits, pack.targets[part], reduction="none")
    # the SUM of the trajectories' means: a mean would scale every gradient by the number of trajectories
    (losses * pack.weights[part].to(losses.dtype)).sum().backward()
    return losses.detach()


@contextmanager
def _answering(decoder: nn.Module, hidden: torch.Tensor) -> Iterator[None]:
    """Lets the model compute only what follows its decoder: the head, and what its family does to the logits."""
    own = vars(decoder).get("forward")
    decoder.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=hidden)
    try:
        yield
    finally:
        if own is None:
            del decoder.forward
        else:
            decoder.forward = own
