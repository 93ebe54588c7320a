"""Backbones from a folder of this repository; `prism.stages.hub` brings those of a model hub."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prism.core.errors import BadInput, first_line
from prism.core.files import atomic_folder, read_json, sha256_file, sha256_json, sha256_model, write_text
from prism.core.progress import say

# No pickled weights and no code: what is not listed is not taken over.
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
               "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
               "chat_template.jinja", "provenance.json", "LICENSE*")  # fmt: skip


# larger files are hashed once: a plan must not read 16 GB each time
REMEMBERED_BYTES = 64 << 20


def model_files(folder: str | Path) -> Iterator[Path]:
    """The files of a model folder that are taken over."""
    for pattern in MODEL_FILES:
        yield from sorted(Path(folder).glob(pattern))


def content_hash(folder: str | Path) -> str:
    """Hex SHA-256 of all that is taken over from a model folder: other weights or another chat template change it."""
    return sha256_json({path.name: _remembered_sha256(path) for path in model_files(folder)})


def _remembered_sha256(path: Path) -> str:
    """Hash of a file; that of a large one is kept in the user's cache for as long as nobody writes to the file."""
    status = path.stat()
    if status.st_size < REMEMBERED_BYTES:
        return sha256_file(path)
    identity = [str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "prism" / "sha256"
    known = cache / sha256_json(identity)
    with suppress(OSError):
        return known.read_text(encoding="utf-8")
    say(f"backbone: hashing {path}, {status.st_size / 1e9:.1f} GB")
    digest = sha256_file(path)
    with suppress(OSError):
        write_text(known, digest)
    return digest


def check_needs_no_code(folder: str | Path) -> None:
    """Refuse models that run code of their own: the probe would, after hours of downloading and waiting.

    Raises:
        BadInput: ``auto_map`` names code, and transformers knows the model in no other way.
    """
    if "auto_map" not in read_json(Path(folder) / "config.json"):
        return
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            folder, f"needs code of its own ({first_line(error)[:120]})", "use a model of transformers"
        ) from error


def copy_backbone(location: Path, out_dir: Path) -> None:
    """Copy a model folder: weights, configuration and tokenizer, nothing else.

    Raises:
        BadInput: the folder does not exist, holds no safetensors weights, or a model that needs code of its own.
    """
    if not Path(location).is_dir():
        raise BadInput(location, "is not a folder", "check backbones.*.location, or run `make backbones`")
    sha256_model(location)  # refuses folders without safetensors
    check_needs_no_code(location)
    with atomic_folder(out_dir) as temporary:
        for file in model_files(location):
            shutil.copyfile(file, temporary / file.name)
    say(f"backbone: {location}, sha256 {sha256_model(out_dir)[:12]}")
