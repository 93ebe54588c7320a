"""Backbones from a folder of this repository; `prism.stages.hub` brings those of a model hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, sha256_model
from prism.core.progress import say

# No pickled weights and no code: what is not listed is not taken over.
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
               "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
               "chat_template.jinja", "provenance.json", "LICENSE*")  # fmt: skip


def copy_backbone(location: Path, out_dir: Path) -> None:
    """Copy a model folder: weights, configuration and tokenizer, nothing else.

    Raises:
        BadInput: the folder does not exist or holds no safetensors weights.
    """
    if not Path(location).is_dir():
        raise BadInput(location, "is not a folder", "check backbones.*.location, or run `make backbones`")
    sha256_model(location)  # refuses folders without safetensors
    with atomic_folder(out_dir) as temporary:
        for pattern in MODEL_FILES:
            for file in sorted(Path(location).glob(pattern)):
                shutil.copyfile(file, temporary / file.name)
    say(f"backbone: {location}, sha256 {sha256_model(out_dir)[:12]}")
