"""Folders of adapters (LoRA and its kin, as LLaMA-Factory and TRL save them): the base they belong to, and merging."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from prism.core.errors import BadInput, first_line
from prism.core.files import read_json
from prism.core.model_folder import CONFIGURATION, TOKENIZER, copy_model_files

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / SETTINGS).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path) -> str:
    """Folder, or id of the Hugging Face Hub, of the model that an adapter was trained on.

    Raises:
        BadInput: the adapter does not name it, or holds no safetensors weights.
    """
    if not (folder / WEIGHTS).is_file():
        raise BadInput(folder, f"holds no {WEIGHTS}", "save the adapter as safetensors; pickled weights are not loaded")
    settings = read_json(folder / SETTINGS)
    base = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    if not isinstance(base, str) or not base:
        raise BadInput(folder / SETTINGS, "names no base_model_name_or_path", "name the model it was trained on there")
    beside = folder / base
    return str(beside if beside.is_dir() else base)


def merge_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """The base model with the adapter merged into its weights, in memory.

    Raises:
        BadInput: peft is missing, or the adapter does not fit the model.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise BadInput(folder, "is an adapter, and peft is not installed", "pip install peft, or merge it") from error
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    # peft and the libraries beneath raise bare exceptions of many kinds for an adapter that does not fit
    except Exception as error:
        problem = f"cannot be merged into its base ({first_line(error)[:160]})"
        raise BadInput(folder, problem, "check that base_model_name_or_path is the model it was trained on") from error


def write_merged(base: Path, adapter: Path, folder: Path) -> None:
    """Write a base model with an adapter merged into its weights: a model folder like any other.

    Weights are in float32, in which the small changes that an adapter makes are not rounded away; configuration and
    tokenizer are the base's, byte for byte.

    Raises:
        BadInput: peft is missing, or the adapter does not fit the model.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    merge_adapter(model, adapter).save_pretrained(folder)
    copy_model_files(base, folder, (*CONFIGURATION, *TOKENIZER))
