"""Section 2.2's claim in numbers: peak memory of the probe beside a forward pass and an ordinary backward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from prism.core.files import write_json
from prism.core.progress import say
from prism.core.tokenizers import load_tokenizer
from prism.gradients.corpus import load_corpus
from prism.gradients.families import make_prober
from prism.gradients.memory import peak_memory
from prism.gradients.models import DTYPES, load_model, resolve_model
from prism.gradients.packs import Pack, Sample, build_pack, check_samples, useful_length
from prism.gradients.projections import find_projections
from prism.gradients.recipe import ProbeRecipe

# trajectories that are looked at for the longest row
LOOKED_AT = 50
MEBIBYTE = 2**20


def measure_memory(model: str | Path, data: str | Path, out_json: str | Path, recipe: ProbeRecipe) -> None:
    """Measure the passes over one row, the longest of the first trajectories, with the same loss.

    Each pass runs twice and the second one counts: the first also builds what stays. ``forward`` keeps nothing for a
    backward pass, ``forward_kept`` keeps its activations, ``probe`` is `prism probe` without and with gradient
    checkpointing, ``naive`` is a backward pass that leaves the gradient of every weight.

    Args:
        model: folder of a Hugging Face model.
        data: expert trajectories.
        out_json: MiB of the weights, and of each pass above them.

    Raises:
        BadInput: the data or the model cannot be used, or this machine does not let its memory be measured.
    """
    folder, model_sha256 = resolve_model(model)
    sample = _longest_row(data, folder, recipe)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    network = load_model(folder, DTYPES[recipe.dtype], device)
    check_samples(network, [sample], str(folder))
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    peaks = _ordinary_passes(network, build_pack([sample], device))
    # the prober takes the model over, so that the ordinary passes come first
    peaks["probe"] = _probe_pass(network, sample, device, checkpointing=False)
    del network
    network = load_model(folder, DTYPES[recipe.dtype], device)
    peaks["probe_checkpointed"] = _probe_pass(network, sample, device, checkpointing=True)
    facts = {"model": str(model), "model_sha256": model_sha256, "dtype": recipe.dtype, "device": device.type}
    sizes = {"tokens": sample.tokens, "response_tokens": sample.response_tokens, "weights_mib": weights / MEBIBYTE}
    passes = {name: size / MEBIBYTE for name, size in peaks.items()}
    write_json(out_json, {**facts, **sizes, "peak_mib": passes})
    say("memory: " + ", ".join(f"{name} {size:.0f} MiB" for name, size in passes.items()))


def _ordinary_passes(network: nn.Module, pack: Pack) -> dict[str, int]:
    """Bytes of the passes that every model has."""
    device = pack.input_ids.device
    network.eval().requires_grad_(True)
    return {
        "forward": _peak(lambda: _forward(network, pack), device),
        "forward_kept": _peak(lambda: _loss(network, pack), device),
        "naive": _peak(lambda: _naive(network, pack), device),
    }


def _probe_pass(network: nn.Module, sample: Sample, device: torch.device, checkpointing: bool) -> int:
    prober = make_prober(network, find_projections(network), checkpointing)
    return _peak(lambda: list(prober.probe([[sample]])), device)


def _longest_row(data: str | Path, folder: Path, recipe: ProbeRecipe) -> Sample:
    """A trajectory of one row: the longest one of those that are looked at."""
    corpus, tokenizer = load_corpus(data), load_tokenizer(folder)
    encoded = (
        corpus.encode(identifier, tokenizer, recipe.prompt, recipe.layout, recipe.loss_on)
        for identifier in sorted(corpus.ids)[:LOOKED_AT]
    )
    rows = [(useful_length(row), sample.id, row) for sample in encoded for row in sample.rows]
    _, identifier, row = max(rows, key=lambda entry: entry[:2])
    return Sample(identifier, (row,))


def _peak(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that the second of two runs needs."""
    work()
    with peak_memory(device) as measured:
        work()
    return measured.size


def _loss(model: nn.Module, pack: Pack) -> torch.Tensor:
    """The probe's loss in an ordinary forward pass; logits of the predictors alone, as the probe has them."""
    logits = model(
        input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, logits_to_keep=pack.predictors
    ).logits[0]
    losses = F.cross_entropy(logits.float(), pack.targets, reduction="none")
    return (losses * pack.weights.to(losses.dtype)).sum()


@torch.no_grad()
def _forward(model: nn.Module, pack: Pack) -> float:
    return float(_loss(model, pack))


def _naive(model: nn.Module, pack: Pack) -> None:
    model.zero_grad(set_to_none=True)
    _loss(model, pack).backward()
    model.zero_grad(set_to_none=True)
