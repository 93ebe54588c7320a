"""The folder that a run keeps its checkpoints and logs in: one run at a time, one set of settings."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_json, write_json
from prism.core.progress import say

LOCK, SETTINGS = "lock", "settings.json"


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Hold a work folder for this process alone; the lock ends with the process, however that ends.

    Raises:
        BadInput: another run works in it, or it is full of something else.
    """
    # the lock is the first file of a work folder; other programs have a settings.json too
    if work.exists() and any(work.iterdir()) and not (work / LOCK).exists():
        raise BadInput(work, "is not a work folder of RL and not empty", "name another folder")
    work.mkdir(parents=True, exist_ok=True)
    with (work / LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise BadInput(work, f"another run works in it (process {holder})", "wait for it or end it") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {os.uname().nodename}\n")
        lock.flush()
        yield


def claim(work: Path, settings: Mapping[str, Any]) -> int:
    """Make a locked work folder this run's: keep it where its settings are the same, else empty it.

    Checkpoints of other settings are never continued from.

    Returns:
        Training steps that the last complete checkpoint has behind it.
    """
    digest = sha256_json(dict(settings))
    if (work / SETTINGS).exists():
        former = read_json(work / SETTINGS)
        if former.get("sha256") == digest:
            return last_checkpoint(work / "checkpoints")
        differing = ", ".join(changed_keys(former, settings)) or "the record of its settings"
        say(f"{work}: checkpoints of other settings are discarded ({differing} changed)")
    for path in sorted(work.iterdir()):
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(work / SETTINGS, {**settings, "sha256": digest})
    return 0


def changed_keys(former: Mapping[str, Any], settings: Mapping[str, Any], place: str = "") -> list[str]:
    """Dotted names of the settings whose value is not what it was."""
    changed = []
    for key, value in settings.items():
        before = former.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            changed += changed_keys(before, value, f"{place}{key}.")
        elif before != value:
            changed.append(f"{place}{key}")
    return changed


def last_checkpoint(folder: Path) -> int:
    """Training step of the last complete checkpoint; 0 where there is none."""
    tracker = folder / "latest_checkpointed_iteration.txt"
    return int(tracker.read_text()) if tracker.exists() else 0
