"""Where the chats of a person are: a file, a folder, a folder of `datasets`, or a data set of the Hugging Face Hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prism.core.chat_formats.parts import keys_of
from prism.core.errors import BadInput, first_line
from prism.core.files import read_json, sha256_file, sha256_json
from prism.core.records import Record, read_records

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet", ".arrow", ".traj", ".ndjson")
# what lies beside data and is none
_BESIDE = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_HUB_ID = re.compile(r"(?P<name>[\w-][\w.-]*/[\w.-]+?)(@(?P<revision>[\w./-]+))?")
_SPLIT_WORDS = {
    "train": "train|training",
    "validation": "validation|valid|val|dev",
    "test": "test|testing|eval|evaluation",
}
# columns that may be named; first those that a record may lack
OPTIONAL = ("id", "tools", "system", "input", "history")
REQUIRED = ("messages", "role", "content", "prompt", "completion", "instruction", "output", "input_ids", "labels")
COLUMNS = (*OPTIONAL, *REQUIRED)


@dataclass(frozen=True)
class DataSource:
    """A data set.

    Attributes:
        path: file, folder, or id of a data set on the Hub (``owner/name``, ``owner/name@revision``).
        split: of a folder or a data set; by default ``train``, or the only one. ``config/split`` names a configuration.
        columns: our name of a column to the file's; ``role`` and ``content`` are keys of a message.
    """

    path: str
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.path

    def __fspath__(self) -> str:
        return self.path

    @classmethod
    def of(cls, data: str | Path | DataSource) -> DataSource:
        """A path as a source; a source as it is."""
        return data if isinstance(data, DataSource) else cls(str(data))

    @property
    def options(self) -> str:
        """Split and columns as JSON, empty where nothing was asked for; `with_options` reads it."""
        asked = {"split": self.split, "columns": dict(self.columns)}
        return json.dumps({key: value for key, value in asked.items() if value}) if any(asked.values()) else ""

    @classmethod
    def with_options(cls, path: str, options: str | None) -> DataSource:
        """The source of a path that was read with these options."""
        return cls(path, **(json.loads(options) if options else {}))

    @property
    def on_hub(self) -> bool:
        """Whether the path is no file or folder, but may be the id of a data set on the Hub."""
        local = Path(self.path).exists() or self.path.endswith(SUFFIXES)
        return not local and _HUB_ID.fullmatch(self.path) is not None

    @cached_property
    def files(self) -> list[Path]:
        """The files of the data set, in order.

        Raises:
            BadInput: there are none, or there is no such split.
        """
        path = Path(self.path)
        if self.on_hub:
            match = _HUB_ID.fullmatch(self.path)
            path = _download(match["name"], match["revision"])
        if path.is_dir():
            return folder_files(path, self.split)
        if self.split:
            raise BadInput(path, "is one file, which has no splits", "drop --split")
        return [path]

    def trajectory_file(self) -> Path:
        """The file of the workflow's own trajectories, which are one file without options.

        Raises:
            BadInput: there are several files, or columns were named.
        """
        if len(self.files) > 1 or self.columns:
            raise BadInput(self.path, "holds the workflow's trajectories, which are one file with columns of their own",
                           "name the file alone")  # fmt: skip
        return self.files[0]

    def sha256(self) -> str:
        """Hash of the data: of a file that of its bytes; split and columns count, names of folders do not."""
        hashes = [sha256_file(path) for path in self.files]
        return hashes[0] if len(hashes) == 1 and not self.options else sha256_json([*hashes, self.options])

    def records(self) -> Iterator[Record]:
        """Records of all files with their columns renamed, as `read_records` yields them.

        In several files records are numbered through; runs of agents, a file each, are called by their path.

        Raises:
            BadInput: a file or record cannot be read, or lacks a column that was named.
        """
        count = 0
        for path in self.files:
            for number, place, record in read_records(path):
                count += 1
                key: int | str = number if len(self.files) == 1 else count
                if len(self.files) > 1 and _is_run(path) and number == 1:
                    key = path.relative_to(os.path.commonpath(self.files)).as_posix()
                yield key, place, rename(record, self.columns, place)


def parse_columns(text: str) -> dict[str, str]:
    """Columns as the command line names them: ``messages=dialog,id=uid``.

    Raises:
        BadInput: it is not written so, or names what no format has.
    """
    columns = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ours, _, theirs = part.partition("=")
        if not theirs or ours not in COLUMNS:
            raise BadInput("--columns", f"cannot read {part!r}", f"write messages=NAME; known are {', '.join(COLUMNS)}")
        columns[ours] = theirs
    return columns


def rename(record: dict[str, Any], columns: Mapping[str, str], place: str) -> dict[str, Any]:
    """A record with the columns that were named under our names.

    Raises:
        BadInput: the record lacks one of them.
    """
    if not columns:
        return record
    inner = {theirs: ours for ours, theirs in columns.items() if ours in ("role", "content")}
    outer = {theirs: ours for ours, theirs in columns.items() if ours not in ("role", "content")}
    for theirs, ours in outer.items():
        if theirs not in record and ours not in OPTIONAL:
            raise BadInput(place, f"has no column {theirs!r}; it has {keys_of(record)}", "mend --columns")
    taken = set(outer.values())
    renamed = {outer.get(key, key): value for key, value in record.items() if key in outer or key not in taken}
    messages = renamed.get("messages")
    if inner and isinstance(messages, list):
        renamed["messages"] = [
            {inner.get(key, key): value for key, value in turn.items()} if isinstance(turn, dict) else turn
            for turn in messages
        ]
    return renamed


def folder_files(folder: Path, split: str | None) -> list[Path]:
    """The data files of a folder: of `datasets.save_to_disk`, of a data set of the Hub, of agents' runs, or any others.

    Raises:
        BadInput: there are none, or there is no such split.
    """
    if (folder / "dataset_dict.json").is_file():
        names = read_json(folder / "dataset_dict.json").get("splits", [])
        return folder_files(folder / _pick(names, split, folder), None)
    if (folder / "state.json").is_file():
        if split:
            raise BadInput(folder, "is a single split", "drop --split")
        return [folder / entry["filename"] for entry in read_json(folder / "state.json").get("_data_files", [])]
    found = [path for path in sorted(folder.rglob("*")) if _is_data(path, folder)]
    runs = [path for path in found if _is_run(path)]
    if runs and not split:
        return runs
    splits = _declared(folder, split) or _named(found, folder)
    if not splits:
        raise BadInput(
            folder, "holds no data", f"name a folder with files such as {', '.join(SUFFIXES[:2])} or .parquet"
        )
    return splits[_pick(list(splits), split.rpartition("/")[2] if split else None, folder)]


def _is_run(path: Path) -> bool:
    """Whether a file is one run of an agent, by the names that Harbor, SWE-agent and mini-SWE-agent give it."""
    return path.name == "trajectory.json" or path.name.endswith((".traj", ".traj.json"))


def _is_data(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.name.endswith(SUFFIXES) and path.name not in _BESIDE and not hidden and path.is_file()


def _pick(splits: list[str], wanted: str | None, folder: Path) -> str:
    known = ", ".join(splits)
    if wanted is not None and wanted not in splits:
        raise BadInput(folder, f"has no split {wanted!r}", f"use --split with one of {known}")
    if wanted is None and len(splits) > 1 and "train" not in splits:
        raise BadInput(folder, f"has the splits {known}", "name one with --split")
    return wanted or ("train" if "train" in splits else splits[0])


def _declared(folder: Path, split: str | None) -> dict[str, list[Path]]:
    """Files by split as the head of the folder's README declares them for the Hub."""
    configs = _head(folder / "README.md").get("configs") or []
    configs = [one for one in configs if isinstance(one, dict) and one.get("data_files")]
    if not configs:
        return {}
    names = [str(one.get("config_name", "default")) for one in configs]
    wanted = split.rpartition("/")[0] if split else ""
    default = next((name for one, name in zip(configs, names, strict=True) if one.get("default")), "default")
    name = wanted or (names[0] if len(names) == 1 else default)
    if name not in names:
        raise BadInput(
            folder, f"has the configurations {', '.join(names)}", "name one with --split CONFIGURATION/SPLIT"
        )
    files = configs[names.index(name)]["data_files"]
    if not (isinstance(files, list) and all(isinstance(one, dict) for one in files)):
        files = [{"split": "train", "path": files}]
    return {str(one.get("split", "train")): _matching(folder, one.get("path")) for one in files}


def _matching(folder: Path, patterns: Any) -> list[Path]:
    patterns = patterns if isinstance(patterns, list) else [patterns]
    found = [path for pattern in patterns for path in sorted(folder.glob(str(pattern)))]
    if not found:
        raise BadInput(folder, f"holds no file {patterns[0]!r}, which its README names", "download it whole")
    return list(dict.fromkeys(found))


def _head(readme: Path) -> dict[str, Any]:
    if not readme.is_file():
        return {}
    import yaml

    text = readme.read_text(encoding="utf-8-sig", errors="replace")
    match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    try:
        head = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as error:
        raise BadInput(readme, f"has a head that is not YAML ({first_line(error)})", "mend it") from error
    return head if isinstance(head, dict) else {}


def _named(files: list[Path], folder: Path) -> dict[str, list[Path]]:
    """Files by the split that stands in their names; those that name none belong to ``train``."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        name = str(path.relative_to(folder))
        split = next(
            (split for split, words in _SPLIT_WORDS.items() if re.search(rf"(^|[/_.-])({words})([/_.-]|$)", name)),
            "train",
        )
        splits.setdefault(split, []).append(path)
    return splits


def _download(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise BadInput(name, "is no file or folder, and the Hub needs huggingface_hub", "check the path") from error
    patterns = [*(f"*{suffix}" for suffix in SUFFIXES), "README.md"]
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        problem = "is neither a file nor a folder nor a data set of the Hub that can be downloaded"
        raise BadInput(name, problem, "check the path or the id") from error
