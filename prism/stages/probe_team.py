"""Several processes that probe one shard together, each on a device: which packs, files and memory are whose."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from prism.core.errors import BadInput
from prism.core.shards import Shard

ALL = "all"


@dataclass(frozen=True)
class Team:
    """One of the processes of a probe on several devices.

    Attributes:
        whole: the output of all of them together.
        devices: a device a process; one may be there several times.
        member: which of them this process is, from 0.
    """

    whole: Path
    devices: tuple[str, ...]
    member: int

    @property
    def device(self) -> str:
        """Where this process computes."""
        return self.devices[self.member]

    @property
    def part(self) -> Shard:
        """The packs of this process: they are dealt out in turn, the longest first."""
        return Shard(self.member, len(self.devices))

    @property
    def neighbours(self) -> int:
        """How many of the processes compute on this one's device, itself included."""
        return self.devices.count(self.device)

    @property
    def file(self) -> Path:
        """The norms of this process."""
        return Path(f"{self.whole}.device{self.member}")

    @property
    def journal(self) -> Path:
        """What this process has finished; its first line holds the plan that all follow."""
        return Path(f"{self.file}.journal")

    @property
    def log(self) -> Path:
        """What this process says."""
        return Path(f"{self.file}.log")


def parse_devices(text: str, device: str) -> tuple[str, ...]:
    """The devices that ``--devices`` names.

    Args:
        device: what ``--device`` names.

    Raises:
        BadInput: one cannot be used here, they are of several kinds, or both options name some.
    """
    if device != "auto":
        raise BadInput("--devices", f"names devices, and so does --device {device}", "give one of the two")
    if text == ALL:
        if not (count := torch.cuda.device_count()):
            raise BadInput("--devices", "finds no GPU", "leave it out, or name devices, as in cpu,cpu")
        return tuple(f"cuda:{number}" for number in range(count))
    found = [_usable(name.strip()) for name in text.split(",")]
    if len({one.type for one in found}) > 1:
        raise BadInput("--devices", f"{text!r} are of several kinds, which round differently", "name those of one kind")
    return tuple(map(str, found))


def _usable(name: str) -> torch.device:
    """A device that this machine has; nothing is allocated there yet."""
    try:
        found = torch.device(name)
    except RuntimeError:
        found = torch.device("meta")
    if found.type == "cuda":
        found = torch.device("cuda", found.index or 0)
    if found != torch.device("cpu") and not (found.type == "cuda" and found.index < torch.cuda.device_count()):
        raise BadInput("--devices", f"{name!r} cannot be used here", "use all, or names as in cuda:0,cuda:1 or cpu,cpu")
    return found


def left_journal(whole: Path) -> Path:
    """What an interrupted probe left, be it of one process or of several."""
    return Path(f"{whole}.journal")


def left_by_teams(whole: Path, kind: str = "") -> list[Path]:
    """Files of any team's processes beside an output: all, or of one kind (``journal``, ``log``)."""
    pattern = f"{glob.escape(whole.name)}.device*"
    return sorted(whole.parent.glob(f"{pattern}.{kind}" if kind else pattern))


def remove_files(paths: Sequence[Path]) -> None:
    """Delete those that are there."""
    for path in paths:
        path.unlink(missing_ok=True)
