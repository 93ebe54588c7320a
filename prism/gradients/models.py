"""Loads the frozen model that is probed: safetensors only, no remote code, finite weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM

from prism.core.errors import BadInput, first_line
from prism.core.files import sha256_model
from prism.gradients.samples import Sample

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def resolve_model(model: str | Path) -> tuple[Path, str]:
    """Local folder of a model and its hash; an id of the Hugging Face Hub is downloaded.

    Raises:
        BadInput: there is no such folder or id, or it holds pickled weights only.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _download(str(model))
    if not (folder / "config.json").is_file():
        raise BadInput(folder, "holds no config.json", "name the folder of a Hugging Face model")
    return folder, sha256_model(folder)


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(model, "is neither a model folder nor a model id that can be downloaded", "check it") from error


def load_model(folder: Path, dtype: torch.dtype, device: torch.device, samples: Sequence[Sample]) -> nn.Module:
    """Load the weights and check that the model can read the samples.

    Raises:
        BadInput: a weight is NaN or infinite, a row is longer than the model's positions, or a token id is unknown.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadInput(
            folder, f"cannot be loaded as a causal language model ({first_line(error)})", "check its files"
        ) from error
    model = model.to(device)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise BadInput(folder, f"{name} holds NaN or infinite weights", "use an intact checkpoint")
    check_samples(folder, model, samples)
    return model


def check_samples(folder: str | Path, model: nn.Module, samples: Sequence[Sample]) -> None:
    """Check that a model has positions and tokens for all samples.

    Args:
        folder: what to call the model in an error.

    Raises:
        BadInput: a row is longer than the model's positions, or a token id is unknown.
    """
    positions = getattr(model.config, "max_position_embeddings", None)
    vocabulary = model.get_input_embeddings().num_embeddings
    for sample in samples:
        longest = max(len(row.input_ids) for row in sample.rows)
        if positions is not None and longest > positions:
            raise BadInput(
                folder,
                f"has {positions} positions, trajectory {sample.id!r} has {longest} tokens",
                "lower the context length",
            )
        if max(max(row.input_ids) for row in sample.rows) >= vocabulary:
            raise BadInput(
                folder, f"does not know a token of trajectory {sample.id!r}", "use the model's own tokenizer"
            )
