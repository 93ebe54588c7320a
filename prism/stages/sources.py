"""Backbones from where they are kept: a folder of this repository, or a pinned revision of a model hub."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_path, sha256_model
from prism.core.progress import say

# No pickled weights and no code: what is not listed is not taken over.
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
               "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
               "chat_template.jinja", "provenance.json", "LICENSE*")  # fmt: skip
_COMMIT = re.compile(r"[0-9a-f]{40}")


def copy_backbone(location: Path, out_dir: Path) -> None:
    """Copy a model folder: weights, configuration and tokenizer, nothing else.

    Raises:
        BadInput: the folder does not exist or holds no safetensors weights.
    """
    if not Path(location).is_dir():
        raise BadInput(location, "is not a folder", "check backbones.*.location, or run `make backbones`")
    sha256_model(location)  # refuses folders without safetensors
    with atomic_path(out_dir) as temporary:
        temporary.mkdir()
        for pattern in MODEL_FILES:
            for file in sorted(Path(location).glob(pattern)):
                shutil.copyfile(file, temporary / file.name)
    say(f"backbone: {location}, sha256 {sha256_model(out_dir)[:12]}")


def download_backbone(repository: str, revision: str, out_dir: Path) -> None:
    """Download a pinned revision of a model from the hub, safetensors only.

    Raises:
        BadInput: the revision is not a full commit hash, or the hub refuses the download.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    if not _COMMIT.fullmatch(revision):
        raise BadInput(f"backbone {repository}", f"revision {revision!r} is not a commit hash", "pin all 40 characters")
    try:
        with atomic_path(out_dir) as temporary:
            snapshot_download(repository, revision=revision, allow_patterns=list(MODEL_FILES), local_dir=temporary)
            shutil.rmtree(temporary / ".cache", ignore_errors=True)
    except GatedRepoError as error:
        raise BadInput(repository, "is gated", "accept its licence on the hub and run `hf auth login`") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(repository, f"cannot be downloaded ({type(error).__name__})",
                       "check the network, or place the files yourself and set source: local") from error  # fmt: skip
    say(f"backbone: {repository} at {revision[:12]}, sha256 {sha256_model(out_dir)[:12]}")
