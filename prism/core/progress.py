"""Progress that a person can follow on a terminal and in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 5.0


def say(message: str) -> None:
    """One line for the log: time of day and message, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def track(items: Iterable[Item], total: int, what: str, unit: str = "samples") -> Iterator[Item]:
    """Yield `items`; say how far it is, how fast, and how long it still takes, every few seconds."""
    started = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            rate = done / max(now - started, 1e-9)
            left = (total - done) / rate
            say(f"{what}: {done}/{total} {unit}, {rate:.1f}/s, {left:.0f} s left")
            last = now
