"""Runs in the GPU stack's environment: DeepSpeed's own config class reads settings, as told by a JSON file."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """What DeepSpeed made of the settings; names of the fields that its ZeRO config has."""
    from deepspeed.runtime.config import DeepSpeedConfig
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    told = json.loads(source.read_text())
    fields = {field.alias or name for name, field in DeepSpeedZeroConfig.model_fields.items()}
    fields |= set(DeepSpeedZeroConfig.model_fields)
    answer = {"zero_fields": sorted(fields)}
    config = DeepSpeedConfig(told["settings"])
    answer["stage"] = config.zero_config.stage
    answer["gather"] = config.zero_config.gather_16bit_weights_on_model_save
    answer["micro_batch"] = config.train_micro_batch_size_per_gpu
    answer["accumulation"] = config.gradient_accumulation_steps
    try:
        DeepSpeedZeroConfig(**told["misspelt"])
        answer["misspelt"] = "accepted"
    except Exception as error:
        answer["misspelt"] = str(error)
    target.write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
