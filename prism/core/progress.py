"""Progress that a person can follow on a terminal and in a log file.

Under the workflow (`PRISM_LOG` names the job's log) everything a stage and its children print goes to the log; what
the stage says about its progress goes to the screen as well.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar

from prism import __version__

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 5.0
LOG_VARIABLE = "PRISM_LOG"
# begins the first line of a log: then the time of the start and the command, by which `prism trace` says what was run
LOGGED_COMMAND = "# started "
LOGGED_VERSION = "# version "
# control characters, those that turn the direction of text, and halves of characters
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_screen: TextIO | None = None


def log_to_file() -> bool:
    """Send this process's output, and that of every child, to the file that `PRISM_LOG` names; say whether it did."""
    global _screen
    # taken out of the environment: children write to the inherited descriptors, not to a log of their own
    log = os.environ.pop(LOG_VARIABLE, "")
    if not log:
        return False
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    _screen = os.fdopen(os.dup(2), "w", encoding="utf-8")
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{LOGGED_COMMAND}{started} prism {shlex.join(sys.argv[1:])}", file=sys.stderr)
    print(f"{LOGGED_VERSION}prism {__version__}, Python {platform.python_version()}", file=sys.stderr, flush=True)
    return True


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Text for a terminal: characters that it would obey instead of showing are spelt, as in ``\x1b``.

    Args:
        keep: control characters that stay.
    """
    return _OBEYED.sub(lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text)


def complain(message: str) -> None:
    """One line for the log and the screen."""
    for stream in filter(None, (sys.stderr, _screen)):
        print(printable(message), file=stream, flush=True)


def counted(number: int, one: str, many: str) -> str:
    """A number and what is counted: ``1 trajectory``, ``2 trajectories``."""
    return f"{number} {one if number == 1 else many}"


def say(message: str) -> None:
    """One line of progress for the log and the screen, with the time of day, on standard error."""
    complain(f"{time.strftime('%H:%M:%S')} {message}")


def track(
    items: Iterable[Item],
    total: int,
    what: str,
    unit: str = "samples",
    share: Callable[[Item], float] | None = None,
) -> Iterator[Item]:
    """Yield `items`; say how far it is, how fast, and how long it still takes, every few seconds.

    Args:
        share: what part of all the work an item was; by default each is as much as another.
    """
    started = last = time.monotonic()
    worked = 0.0
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        worked += share(item) if share else 1 / total
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            took = max(now - started, 1e-9)
            # when all is done, what is missing of 1 is rounding
            left = seconds_left(took, worked) if done < total else 0.0
            say(f"{what}: {done}/{total} {unit}, {done / took:.1f}/s, {left:.0f} s left")
            last = now


def seconds_left(seconds: float, worked: float) -> float:
    """What the rest will take, where a part of all the work, between 0 and 1, took so many seconds."""
    return seconds * (1 - worked) / worked if worked else 0.0


@contextmanager
def following(log: Path, describe: Callable[[dict[str, Any]], str | None]) -> Iterator[None]:
    """While the block runs, say what `describe` makes of the newest line of a JSONL log that another program writes.

    Lines that are not there yet, half-written or described as None are passed over, and so is what an attempt before
    left behind.
    """
    ended = threading.Event()
    before = describe(_last_record(log)) or ""

    def watch() -> None:
        said = before
        while not ended.wait(SECONDS_BETWEEN_LINES):
            message = describe(_last_record(log)) or said
            if message != said:
                say(message)
                said = message

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _last_record(log: Path) -> dict[str, Any]:
    """The last whole record of a JSONL file; empty where there is none."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in reversed(lines[-2:]):
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            continue
    return {}
