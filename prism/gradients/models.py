"""Loads the frozen model that is probed: safetensors only, no remote code, finite weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    PretrainedConfig,
)

from prism.core.errors import BadInput, first_line
from prism.core.files import sha256_file, sha256_json
from prism.core.model_folder import MODEL_FILES, sha256_model
from prism.gradients.adapters import SETTINGS, WEIGHTS, base_of, is_adapter, merge_adapter

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
# quantisations that transformers undoes with torch alone
UNPACKED = ("fp8", "mxfp4")


def resolve_model(model: str | Path) -> tuple[Path, str]:
    """Local folder of a model and its hash; as for `find_model`.

    The hash of an adapter's folder covers the model that it was trained on.
    """
    folder = find_model(model)
    if is_adapter(folder):
        _, base_sha256 = resolve_model(base_of(folder))
        own = {name: sha256_file(folder / name) for name in (SETTINGS, WEIGHTS)}
        return folder, sha256_json({"base": base_sha256, **own})
    return folder, sha256_model(folder)


def find_model(model: str | Path) -> Path:
    """Local folder of a model; an id of the Hugging Face Hub is downloaded.

    Raises:
        BadInput: there is no such folder or id, or it holds pickled weights only.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _download(str(model))
    if not is_adapter(folder) and not (folder / "config.json").is_file():
        raise BadInput(folder, "holds no config.json", "name the folder of a Hugging Face model")
    return folder


def tokenizer_folder(folder: Path) -> Path:
    """Where the tokenizer of a resolved model lies: an adapter without one is used with its base's."""
    return folder if (folder / "tokenizer_config.json").is_file() else config_folder(folder)


def config_folder(folder: Path) -> Path:
    """Where the configuration of a found model lies: that of an adapter is its base's."""
    return find_model(base_of(folder)) if is_adapter(folder) else folder


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=[*MODEL_FILES, SETTINGS]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(model, "is neither a model folder nor a model id that can be downloaded", "check it") from error


def load_model(folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Load the weights onto a device; adapters are merged, weights of eight bits or fewer unpacked where possible.

    Raises:
        BadInput: the folder holds no causal language model, its quantisation cannot be undone, or a weight is NaN or
            infinite.
    """
    if is_adapter(folder):
        base = load_model(config_folder(folder), dtype, torch.device("cpu"))
        model = merge_adapter(base, folder)
    else:
        model = _load(folder, dtype)
    model = model.to(device)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise BadInput(folder, f"{name} holds NaN or infinite weights", "use an intact checkpoint")
    return model


def _load(folder: Path, dtype: torch.dtype) -> nn.Module:
    method = None
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        method = _undo_quantisation(folder, config)
        options = {"config": config, "dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
        model = _model_class(config).from_pretrained(folder, **options)
    except ImportError as error:
        problem = f"is quantised ({method}), and unpacking it failed" if method else "needs a library that is missing"
        raise BadInput(
            folder, f"{problem} ({first_line(error)})", "install it, or use a checkpoint of 16 bits or more"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        remedy = "give --stream, or take a larger machine" if "memory" in str(error) else "check its files"
        problem = f"cannot be loaded as a causal language model ({first_line(error)})"
        raise BadInput(folder, problem, remedy) from error
    if method:
        # in the type that they were packed from; buffers stay as they are, rotary frequencies among them
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
    return model


def _model_class(config: PretrainedConfig) -> type:
    """The class that loads a model: models that see images or hear are not among the causal ones by name."""
    known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    return AutoModelForCausalLM if known else AutoModelForMultimodalLM


def _undo_quantisation(folder: Path, config: PretrainedConfig) -> str | None:
    """Let transformers unpack quantised weights while it loads them; returns how they are packed."""
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is None:
        return None
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
    if method not in UNPACKED:
        problem = f"is quantised ({method or 'unknown'}): its weights have no gradients of their own"
        raise BadInput(folder, problem, "use its original of 16 bits or more")
    quantisation["dequantize"] = True
    return method
