"""What a Hugging Face model folder consists of: weights, configuration, tokenizer. Copies it and hashes it.

No pickled weights and no code: what is not listed here is not taken over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import sha256_file, sha256_json, write_text
from prism.core.progress import say

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
CONFIGURATION = ("config.json", "generation_config.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
MODEL_FILES = (*WEIGHTS, *CONFIGURATION, *TOKENIZER, "provenance.json", "LICENSE*")

# the files that `sha256_model` looks at
IDENTITY = ("*.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
# larger files are hashed once: a plan must not read 16 GB each time
REMEMBERED_BYTES = 64 << 20


def model_files(folder: str | Path, patterns: Sequence[str] = MODEL_FILES) -> Iterator[Path]:
    """The files of a model folder that match, pattern by pattern, each in the order of names."""
    for pattern in patterns:
        yield from sorted(Path(folder).glob(pattern))


def copy_model_files(source: str | Path, target: str | Path, patterns: Sequence[str] = MODEL_FILES) -> None:
    """Copy the files of a model folder that match, byte for byte."""
    for path in model_files(source, patterns):
        shutil.copyfile(path, Path(target) / path.name)


def assemble_model(weights: str | Path, rest: str | Path, folder: str | Path) -> None:
    """Copy the weights of one folder, and all else that makes a model from another of the same kind.

    Configuration and tokenizer stay byte for byte what they were before the training: a trainer's export rewrites them,
    and the dtype with them.
    """
    copy_model_files(weights, folder, WEIGHTS)
    copy_model_files(rest, folder, (*CONFIGURATION, *TOKENIZER))


def sha256_model(folder: str | Path) -> str:
    """Hex SHA-256 over what decides a model's probabilities: weights, config, tokenizer, chat template.

    READMEs and training leftovers do not count. Neither does ``generation_config.json``, which adds stop tokens to the
    tokenizer's: every norm, model and evaluation on record carries this hash, and would look like that of another
    model. `content_hash` covers it: a backbone whose stop tokens change is taken over anew, with all that follows.

    Raises:
        BadInput: the folder holds no safetensors weights.
    """
    paths = list(model_files(folder, IDENTITY))
    if not any(path.suffix == ".safetensors" for path in paths):
        raise BadInput(folder, "holds no .safetensors weights", "convert the model; pickled weights are not loaded")
    return sha256_json({path.name: sha256_file(path) for path in paths})


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
    say(f"hashing {path}, {status.st_size / 1e9:.1f} GB")
    digest = sha256_file(path)
    with suppress(OSError):
        write_text(known, digest)
    return digest
