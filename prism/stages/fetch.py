"""Data of the paper's scale: download what is missing, accept what matches, check everything, unpack safely.

A collection (``resources/downloads.yaml``) is fetched into a folder that outlives the results. What is learned of each
file (hash, origin) is kept in the folder's ``downloads.lock.json`` and copied into the results.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from prism.core.errors import BadInput
from prism.core.files import CHUNK_BYTES, read_json, sha256_file, write_json
from prism.core.progress import complain, say
from prism.core.recipes import build_recipe

LOCK = "downloads.lock.json"
ATTEMPTS = 4
TIMEOUT_SECONDS = 60
LINE_EVERY_BYTES = 256 << 20

PUBLISHED, HUB, FIRST_USE, BY_HAND = "published hash", "hub's hash", "first use", "placed by hand"


@dataclass(frozen=True)
class HubPlace:
    """Where a file lies on the hub; the repository is a data set."""

    repository: str
    revision: str
    path: str


@dataclass(frozen=True)
class Download:
    """One file of a collection.

    Attributes:
        name: the file's name in the folder.
        url: plain download; or `hub`.
        bytes: size, where it is known.
        sha256: hash, where one is published.
        unpack: the file is a zip archive whose content belongs into the folder.
    """

    name: str
    url: str = ""
    hub: HubPlace | None = None
    bytes: int = 0
    sha256: str = ""
    unpack: bool = False


@dataclass(frozen=True)
class Collection:
    """Files that belong together; see ``resources/downloads.yaml``."""

    title: str
    licence: str
    page: str
    files: tuple[Download, ...]
    provides: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may hold at most; a bomb holds more."""

    files: int = 100_000
    bytes: int = 20 << 30


@dataclass
class Lock:
    """What is known of the files of a folder: name -> sha256, origin, how it was verified, whether it is unpacked."""

    path: Path
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Lock:
        """The folder's lock; empty where there is none."""
        path = folder / LOCK
        return cls(path, read_json(path)["files"] if path.exists() else {})

    def record(self, name: str, **facts: Any) -> None:
        """Remember facts of a file, on disk."""
        self.files[name] = {**self.files.get(name, {}), **facts}
        write_json(self.path, {"files": self.files})


def read_collection(catalog: str | Path, name: str) -> Collection:
    """One collection of the catalog.

    Raises:
        BadInput: the catalog cannot be read or has no such collection.
    """
    import yaml

    try:
        entries = yaml.safe_load(Path(catalog).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(catalog, "cannot be read", "restore it from the repository") from error
    if name not in entries:
        raise BadInput(catalog, f"has no collection {name!r}", f"use one of {', '.join(entries)}")
    values = dict(entries[name])
    files = tuple(_download(f"{catalog}: {name}", value) for value in values.pop("files"))
    return Collection(files=files, **{**values, "provides": tuple(values.get("provides", ()))})


def _download(place: str, values: Mapping[str, Any]) -> Download:
    plain = {key: value for key, value in values.items() if key != "hub"}
    found = build_recipe(Download, plain, place)
    hub = build_recipe(HubPlace, values["hub"], f"{place}.hub") if "hub" in values else None
    if bool(found.url) == (hub is not None):
        raise BadInput(place, f"{found.name} needs either url or hub", "give one of them")
    return Download(**{**vars(found), "hub": hub})


def fetch_collection(
    name: str,
    catalog: str | Path,
    folder: Path,
    manifest: Path,
    *,
    endpoint: str | None = None,
    limits: UnpackLimits = UnpackLimits(),
) -> None:
    """Make sure that `folder` holds a collection, and write down what it holds.

    A file that is there already is accepted if it matches. A folder that holds everything unpacked, but no lock, was
    filled by hand: it is accepted, with a warning.

    Args:
        manifest: JSON: licence, and for each file its origin, size, hash and how it was verified.
        endpoint: another hub than the default one.

    Raises:
        BadInput: a file cannot be had or does not match, or an archive is not what it should be.
    """
    collection = read_collection(catalog, name)
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock.of(folder)
    if _placed_by_hand(collection, folder, lock):
        complain(f"{name}: {folder} was filled by hand: taken as it is, not verified against a published hash")
        files: dict[str, Any] = {entry: {"verified": BY_HAND} for entry in collection.provides}
    else:
        for download in collection.files:
            _ensure(download, folder, lock, endpoint)
            if download.unpack and not lock.files[download.name].get("unpacked"):
                say(f"{name}: unpacking {download.name}")
                unpack(folder / download.name, folder, limits)
                lock.record(download.name, unpacked=True)
        files = lock.files
    _require_provided(collection, folder)
    facts = {"title": collection.title, "licence": collection.licence, "page": collection.page}
    write_json(manifest, {"collection": name, **facts, "files": files})
    say(f"{name}: complete in {folder}; licence: {collection.licence}")


def _placed_by_hand(collection: Collection, folder: Path, lock: Lock) -> bool:
    """Whether everything is there unpacked and nothing of it was ever fetched; single files are checked instead."""
    archives_only = all(download.unpack for download in collection.files)
    return archives_only and not lock.files and all((folder / path).exists() for path in collection.provides)


def _require_provided(collection: Collection, folder: Path) -> None:
    for path in collection.provides:
        if not (folder / path).exists():
            raise BadInput(folder / path, "is not there after unpacking", "check resources/downloads.yaml")


def _ensure(download: Download, folder: Path, lock: Lock, endpoint: str | None) -> None:
    """Have one file, verified and in the lock."""
    path = folder / download.name
    known = lock.files.get(download.name, {})
    if not path.exists():
        _get(download, path, endpoint)
    _check_size(download, path)
    digest = sha256_file(path)
    expected = download.sha256 or known.get("sha256", "")
    if expected and digest != expected:
        said = "its published sha256" if download.sha256 else f"the sha256 in {lock.path}"
        raise BadInput(path, f"does not match {said}", "delete it and run it again")
    verified = PUBLISHED if download.sha256 else _verified_without_hash(download, path, known, endpoint)
    origin = download.url or f"hub:{download.hub.repository}@{download.hub.revision}/{download.hub.path}"
    changed = {} if known.get("sha256") == digest else {"unpacked": False}
    lock.record(download.name, sha256=digest, bytes=path.stat().st_size, origin=origin, verified=verified, **changed)


def _verified_without_hash(download: Download, path: Path, known: Mapping[str, Any], endpoint: str | None) -> str:
    """How a file without a published hash is known to be right: by the hub, or by what was first seen."""
    if known.get("verified"):
        return known["verified"]
    same = _matches_hub(download.hub, path, endpoint) if download.hub else None
    if same is None:
        complain(f"{path}: not verified against a published hash; the hash that it has now is recorded and holds")
        return FIRST_USE
    if not same:
        raise BadInput(path, f"is not what {download.hub.repository} holds", "delete it and run it again")
    return HUB


def _matches_hub(place: HubPlace, path: Path, endpoint: str | None) -> bool | None:
    """Whether a file is the hub's; None where the hub cannot be asked (a cluster without network)."""
    from prism.stages.backbone import mismatches

    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, place.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        try:
            return not mismatches(place.repository, place.revision, "dataset", Path(folder), endpoint=endpoint)
        except BadInput as error:
            complain(f"{path}: {error.place} {error.problem}")
            return None


def _check_size(download: Download, path: Path) -> None:
    size = path.stat().st_size
    if download.bytes and size != download.bytes:
        raise BadInput(path, f"has {size} bytes instead of {download.bytes}", "delete it and run it again")


def _get(download: Download, path: Path, endpoint: str | None) -> None:
    if download.hub is None:
        download_url(download.url, path)
        return
    from prism.stages.backbone import download_verified

    place = download.hub
    staging = path.parent / ".hub"
    download_verified(place.repository, place.revision, "dataset", [place.path], staging, endpoint=endpoint)
    found = staging / place.path
    if not found.exists():
        raise BadInput(place.repository, f"holds no {place.path}", "check resources/downloads.yaml")
    os.replace(found, path)
    shutil.rmtree(staging, ignore_errors=True)


def download_url(url: str, path: Path) -> None:
    """Download to `path`, which appears when all of it is there; an interrupted download goes on where it was.

    Raises:
        BadInput: the server cannot be reached, refuses, or sends less than it announced.
    """
    import requests

    part = path.with_name(path.name + ".part")
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            _continue_download(url, part)
            os.replace(part, path)
            return
        except requests.HTTPError as error:
            status = error.response.status_code
            reason = f"status {status}"
            if status == 416:  # what is there does not fit what the server has
                part.unlink(missing_ok=True)
            elif status < 500:
                break
        except (requests.RequestException, EOFError) as error:
            reason = type(error).__name__
    raise BadInput(url, f"cannot be downloaded ({reason})", f"check the network, or place the file as {path} yourself")


def _continue_download(url: str, part: Path) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    # "identity": sizes and ranges are those of the file itself
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        answer.raise_for_status()
        goes_on = answer.status_code == 206
        announced = int(answer.headers.get("Content-Length", 0)) + (have if goes_on else 0)
        with part.open("ab" if goes_on else "wb") as out:
            _copy_with_lines(answer.iter_content(CHUNK_BYTES), out, announced, part.stem)
    if announced and part.stat().st_size != announced:
        raise EOFError(f"{part.stat().st_size} of {announced} bytes")


def _copy_with_lines(chunks: Any, out: BinaryIO, total: int, name: str) -> None:
    """Write chunks, with a line of progress now and then."""
    said = out.tell()
    for chunk in chunks:
        out.write(chunk)
        if out.tell() - said >= LINE_EVERY_BYTES:
            said = out.tell()
            say(f"downloading {name}: {said / 1e6:.0f} of {total / 1e6:.0f} MB")


def unpack(archive: Path, folder: Path, limits: UnpackLimits) -> None:
    """Unpack a zip archive below `folder`.

    Nothing is written where a member would leave the folder, is a link or is encrypted, or where the archive holds more
    than `limits` allow; sizes are counted while unpacking, since an archive may lie about them.

    Raises:
        BadInput: the archive is broken or refused.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check_members(archive, members, limits)
            left = limits.bytes
            for member in members:
                if not member.is_dir():
                    left -= _extract(opened, member, folder, left, archive)
    except zipfile.BadZipFile as error:
        raise BadInput(archive, f"is not a sound zip archive ({error})", "delete it and run it again") from error


def _check_members(archive: Path, members: list[zipfile.ZipInfo], limits: UnpackLimits) -> None:
    if len(members) > limits.files:
        raise BadInput(archive, f"holds {len(members)} files", f"at most {limits.files} are unpacked")
    if sum(member.file_size for member in members) > limits.bytes:
        raise BadInput(archive, "unpacks to too much", f"at most {limits.bytes} bytes are unpacked")
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename.split("/")[0]:
            raise BadInput(archive, f"{member.filename!r} would leave the folder", "do not use this archive")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadInput(archive, f"{member.filename!r} is a link", "do not use this archive")
        if member.flag_bits & 1:
            raise BadInput(archive, f"{member.filename!r} is encrypted", "do not use this archive")


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, left: int, archive: Path) -> int:
    """Unpack one member of at most `left` bytes; returns its size."""
    target = folder.joinpath(*PurePosixPath(member.filename).parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BadInput(archive, f"{member.filename!r} would leave the folder through a link", "use an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(member) as source, target.open("wb") as out:
        while chunk := source.read(CHUNK_BYTES):
            written += len(chunk)
            if written > left:
                raise BadInput(archive, "unpacks to too much", "do not use this archive")
            out.write(chunk)
    return written
