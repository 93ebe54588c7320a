"""What the other parts read: a few generated games with the expert's trajectories, and a model with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpu_parts.common import Found, Place, gpu_benchmark, prism, require
from prism.tools.doctor import TOKENIZER, gpu_steps

# standard deviation of the logits: a sampler is as decided as a trained one, so that log-probabilities can be compared
LOGIT_DEVIATION = 4.0


def measure(place: Place, found: Found) -> None:
    """Make games, trajectories, panels and the model."""
    require(["alfworld", "textworld"])
    shape = "tiny" if place.cpu else "qwen3-0.6b"
    found["model"] = shape
    found["weights"] = save_model(shape, place.model, torch.float32 if place.cpu else torch.bfloat16)
    for command in gpu_steps(place.folder)[0].commands:
        prism(*command)
    found["trajectories"] = len(place.corpus.read_text(encoding="utf-8").splitlines())
    found["summary"] = (
        f"{found['trajectories']} trajectories, {shape} with {found['weights'] / 1e6:.1f} million weights"
    )


def save_model(shape: str, folder: Path, dtype: torch.dtype) -> int:
    """Save a model of a real shape that speaks in single tokens at random; returns the number of its weights.

    The tokenizer is the tiny backbone's, and so is the vocabulary: verl lets vLLM say no token that the tokenizer has
    not, and the probability of all those would stand between the sampler's log-probabilities and the trainer's.
    """
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    benchmark = gpu_benchmark()
    config = benchmark.MODELS[shape]
    config.vocab_size = len(tokenizer)
    for name in ("bos", "eos", "pad"):
        setattr(config, f"{name}_token_id", getattr(tokenizer, f"{name}_token_id"))
    torch.manual_seed(0)
    with torch.device(benchmark.DEVICE):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    with torch.no_grad():
        model.model.norm.weight.fill_(LOGIT_DEVIATION / (config.initializer_range * config.hidden_size**0.5))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())
