"""Backbones: a folder of one's own, or a pinned commit of the Hugging Face hub, checked against the hub's hashes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput, first_line
from prism.core.files import atomic_folder, read_json, sha256_file, write_json
from prism.core.model_folder import MODEL_FILES, copy_model_files, sha256_model
from prism.core.progress import say

SOURCE_RECORD = "source.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
        copy_model_files(location, temporary)
    say(f"backbone: {location}, sha256 {sha256_model(out_dir)[:12]}")


def download_backbone(repository: str, revision: str, out_dir: Path, *, endpoint: str | None = None) -> None:
    """Download a pinned commit of a model: safetensors, configuration and tokenizer, each checked against its hash.

    ``source.json`` in the folder records commit, licence and hashes.

    Args:
        endpoint: another hub than the default one.

    Raises:
        BadInput: the revision is not a full commit hash, the hub refuses, or a file does not match.
    """
    with atomic_folder(out_dir) as folder:
        licence = download_verified(repository, revision, "model", MODEL_FILES, folder, endpoint=endpoint)
        model = sha256_model(folder)  # refuses folders without safetensors
        check_needs_no_code(folder)
        hashes = {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*"))}
        record = {"repository": repository, "revision": revision, "licence": licence, "sha256": hashes}
        write_json(folder / SOURCE_RECORD, record)
    say(f"backbone: {repository} at {revision[:12]}, licence {licence}, sha256 {model[:12]}")


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


def download_verified(
    repository: str, revision: str, kind: str, patterns: Sequence[str], folder: Path, *, endpoint: str | None = None
) -> str:
    """Download the files of a repository that match a pattern, and check them.

    Args:
        kind: ``model`` or ``dataset``.
        folder: gets the files, and nothing else.

    Returns:
        The repository's licence, as its card states it.

    Raises:
        BadInput: the revision is not a full commit hash, the hub refuses, or a file does not match its hash.
    """
    from huggingface_hub import HfApi, snapshot_download

    check_commit(repository, revision)
    place: dict[str, Any] = {"repo_type": kind, "revision": revision}
    say(f"downloading {repository} at {revision[:12]}")
    with _refusals_in_one_line(repository, kind):
        card = HfApi(endpoint=endpoint).repo_info(repository, **place).card_data or {}
        snapshot_download(repository, **place, local_dir=folder, allow_patterns=list(patterns), endpoint=endpoint)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if wrong := mismatches(repository, revision, kind, folder, endpoint=endpoint):
        raise BadInput(f"{repository}/{wrong[0]}", "does not match the hub's hash", "run it again")
    return str(card.get("license") or "not stated")


def check_commit(place: str, revision: str) -> None:
    """Refuse branches and tags: they move."""
    if not _COMMIT.fullmatch(revision):
        raise BadInput(place, f"revision {revision!r} is not a commit hash", "pin all 40 characters")


def mismatches(
    repository: str, revision: str, kind: str, folder: Path, *, endpoint: str | None = None
) -> tuple[str, ...]:
    """Files of a folder that differ from those of the repository, by the hub's own hashes.

    Raises:
        BadInput: the hub cannot be reached or refuses, or the repository lacks a file of the folder.
    """
    from huggingface_hub import HfApi

    with _refusals_in_one_line(repository, kind):
        found = HfApi(endpoint=endpoint).verify_repo_checksums(
            repository, repo_type=kind, revision=revision, local_dir=folder
        )
    if found.extra_paths:
        raise BadInput(repository, f"holds no {found.extra_paths[0]}", "check its path")
    return tuple(mismatch["path"] for mismatch in found.mismatches)


@contextmanager
def _refusals_in_one_line(repository: str, kind: str) -> Iterator[None]:
    """Turn the hub library's errors into one line; none of it holds a token."""
    import httpx
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}"
    try:
        yield
    except GatedRepoError as error:
        raise BadInput(
            repository, "is gated", f"accept its licence on {page}, then set HF_TOKEN (or run `hf auth login`)"
        ) from error
    except RepositoryNotFoundError as error:
        raise BadInput(
            repository, "is not on the hub, or is private", f"open {page}; if it exists, set HF_TOKEN"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise BadInput(
            repository,
            f"cannot be downloaded ({type(error).__name__})",
            "check the network, or place the files yourself (docs/cluster.md)",
        ) from error
