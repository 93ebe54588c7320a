"""What verl writes of a LoRA run, as the folder of an adapter that peft reads."""

from __future__ import annotations

from pathlib import Path

from prism.core.errors import PrismError
from prism.core.model_folder import model_files
from prism.rl.recipe import LORA_ALPHA_PER_RANK


def write_adapter(exported: Path, rank: int, folder: Path) -> None:
    """Take the adapter out of verl's export.

    verl 0.9.1 exports such a model under peft's own names, base and adapters side by side: loaded as a plain model, it
    would be one of random weights.

    Args:
        exported: the ``huggingface`` folder of a checkpoint.
        rank: of the adapters.
        folder: gets ``adapter_config.json`` and ``adapter_model.safetensors``.

    Raises:
        PrismError: the export holds no adapter.
    """
    from peft import LoraConfig
    from safetensors import safe_open
    from safetensors.torch import save_file

    tensors = {}
    for path in model_files(exported, ("*.safetensors",)):
        with safe_open(path, "pt") as weights:
            names = [name for name in weights.keys() if ".lora_" in name]  # noqa: SIM118, it is no mapping
            # peft saves an adapter without the name that it has in memory
            tensors |= {name.replace(".default.", "."): weights.get_tensor(name) for name in names}
    if not tensors:
        raise PrismError(f"{exported}: verl exported no adapter")
    modules = sorted({name.partition(".lora_")[0].rpartition(".")[2] for name in tensors})
    config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=LORA_ALPHA_PER_RANK * rank, target_modules=modules)
    config.save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors")
