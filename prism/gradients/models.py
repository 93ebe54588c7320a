"""Loads the frozen model that is probed: safetensors only, no remote code, finite weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM

from prism.core.errors import BadInput, first_line
from prism.core.model_folder import MODEL_FILES, sha256_model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def resolve_model(model: str | Path) -> tuple[Path, str]:
    """Local folder of a model and its hash; as for `find_model`."""
    folder = find_model(model)
    return folder, sha256_model(folder)


def find_model(model: str | Path) -> Path:
    """Local folder of a model; an id of the Hugging Face Hub is downloaded.

    Raises:
        BadInput: there is no such folder or id, or it holds pickled weights only.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _download(str(model))
    if not (folder / "config.json").is_file():
        raise BadInput(folder, "holds no config.json", "name the folder of a Hugging Face model")
    return folder


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(MODEL_FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(model, "is neither a model folder nor a model id that can be downloaded", "check it") from error


def load_model(folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Load the weights onto a device.

    Raises:
        BadInput: the folder holds no causal language model, or a weight is NaN or infinite.
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
    return model
