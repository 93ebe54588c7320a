"""Files and models from the Hugging Face hub at a pinned commit, checked against the hash that the hub states."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import CHUNK_BYTES, atomic_path, sha256_file, sha256_model, write_json
from prism.core.progress import say, track
from prism.stages.sources import MODEL_FILES

SOURCE_RECORD = "source.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at one commit.

    Attributes:
        digest: the hub's own hash: SHA-256 of a large file (LFS), else git's SHA-1 of the blob.
    """

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class HubListing:
    """What the hub says about a repository at one commit."""

    files: tuple[HubFile, ...]
    licence: str


def download_backbone(repository: str, revision: str, out_dir: Path, *, endpoint: str | None = None) -> None:
    """Download a pinned commit of a model: safetensors, configuration and tokenizer, each checked against its hash.

    ``source.json`` in the folder records commit, licence and hashes.

    Args:
        endpoint: another hub than the default one.

    Raises:
        BadInput: the revision is not a full commit hash, the hub refuses, or a file does not match.
    """
    check_commit(f"backbone {repository}", revision)
    listing = list_repository(repository, revision, "model", endpoint=endpoint)
    wanted = [file for file in listing.files if any(fnmatch(file.path, pattern) for pattern in MODEL_FILES)]
    with atomic_path(out_dir) as folder:
        folder.mkdir(parents=True)
        for file in track(wanted, len(wanted), f"backbone {repository}", "files"):
            fetch_file(repository, revision, file, folder, "model", endpoint=endpoint)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        sha256_model(folder)  # refuses folders without safetensors
        write_json(folder / SOURCE_RECORD, _record(repository, revision, listing.licence, wanted))
    say(f"backbone: {repository} at {revision[:12]}, licence {listing.licence}, sha256 {sha256_model(out_dir)[:12]}")


def _record(repository: str, revision: str, licence: str, files: list[HubFile]) -> dict[str, Any]:
    hashes = {file.path: file.digest for file in files}
    return {"repository": repository, "revision": revision, "licence": licence, "hub_hashes": hashes}


def check_commit(place: str, revision: str) -> None:
    """Refuse branches and tags: they move."""
    if not _COMMIT.fullmatch(revision):
        raise BadInput(place, f"revision {revision!r} is not a commit hash", "pin all 40 characters")


def list_repository(repository: str, revision: str, kind: str, *, endpoint: str | None = None) -> HubListing:
    """Files and licence of a repository at a commit.

    Args:
        kind: ``model`` or ``dataset``.

    Raises:
        BadInput: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    with _refusals_in_one_line(repository, kind):
        info = HfApi(endpoint=endpoint).repo_info(repository, revision=revision, repo_type=kind, files_metadata=True)
    files = tuple(
        HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else file.blob_id or "")
        for file in info.siblings or ()
    )
    return HubListing(files, str((info.card_data or {}).get("license") or "not stated"))


def fetch_file(
    repository: str, revision: str, file: HubFile, folder: Path, kind: str, *, endpoint: str | None = None
) -> Path:
    """Download one file below `folder` and check it.

    Raises:
        BadInput: the hub refuses, or the bytes do not match the hub's hash.
    """
    from huggingface_hub import hf_hub_download

    with _refusals_in_one_line(repository, kind):
        found = hf_hub_download(
            repository, file.path, revision=revision, repo_type=kind, local_dir=folder, endpoint=endpoint
        )
    path = Path(found)
    if not matches_hub(path, file.digest):
        path.unlink()
        raise BadInput(f"{repository}/{file.path}", "does not match the hub's hash", "run it again")
    return path


def matches_hub(path: Path, digest: str) -> bool:
    """Whether a file has the hash that the hub states: SHA-256, or git's blob hash where it has 40 digits."""
    if len(digest) == 64:
        return sha256_file(path) == digest
    return git_blob_sha1(path) == digest


def git_blob_sha1(path: Path) -> str:
    """Git's hash of a file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


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
