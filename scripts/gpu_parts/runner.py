"""Runs one part as a process of its own, for so long and no longer, and watches the memory that it takes.

Standard library alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prism.rl.launch import kill_marked, marked_processes

# every descendant of a part inherits it; verl's marker is another
VARIABLE = "PRISM_GPU_CHECK"
SECONDS_TO_END = 10
SECONDS_BETWEEN_LOOKS = 1.0
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code; None where it was cut off.
        card_gib: most memory in use on the card at one time, whoever used it; 0 without a card.
        host_gib: most memory that its processes had resident together; what they share counts for each.
    """

    code: int | None = None
    seconds: float = 0.0
    card_gib: float = 0.0
    host_gib: float = 0.0
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)


def run_limited(command: Sequence[str | Path], limit: float, log: Path, variables: Mapping[str, str]) -> Ended:
    """Run a command with its output in a log; after `limit` seconds it and all that it started are ended."""
    ended, started = Ended(), time.monotonic()
    environment = {**os.environ, **variables, VARIABLE: ended.marker}
    log.parent.mkdir(parents=True, exist_ok=True)
    over = threading.Event()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [str(word) for word in command], env=environment, stdout=out, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        watcher = threading.Thread(target=_watch, args=(ended, over), daemon=True)
        watcher.start()
        try:
            ended.code = process.wait(limit)
        except subprocess.TimeoutExpired:
            # the product's own stages end what they started; what is left then is killed
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        finally:
            over.set()
            watcher.join()
            if process.poll() is None:
                process.kill()
            kill_marked(ended.marker, VARIABLE)
    ended.seconds = time.monotonic() - started
    return ended


def _watch(ended: Ended, over: threading.Event) -> None:
    while not over.wait(SECONDS_BETWEEN_LOOKS):
        ended.card_gib = max(ended.card_gib, card_memory_in_use())
        ended.host_gib = max(ended.host_gib, sum(map(_resident, marked_processes(ended.marker, VARIABLE))) / 2**30)


def _resident(process: int) -> int:
    """Bytes that a process has in memory; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def card_memory_in_use() -> float:
    """GiB in use on the card; 0 without one."""
    answer = ask_card("memory.used")
    return float(answer[0]) / 1024 if answer else 0.0


def ask_card(*fields: str) -> list[str]:
    """Fields of ``nvidia-smi`` about the card in use, the first of CUDA_VISIBLE_DEVICES; empty without one."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    command = [program, f"--id={card}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return [word.strip() for word in answer.stdout.split(",")] if answer.returncode == 0 else []
