"""Errors that end a command in one line instead of a traceback."""

from __future__ import annotations


class PrismError(Exception):
    """Something failed that a person can act on; printed as one line, exit code 1."""

    exit_code = 1


class BadInput(PrismError):
    """A file or value that the user supplied cannot be used; exit code 2.

    Args:
        place: file, and line or key where there is one (``data.jsonl:17``).
        problem: what is wrong, in a few words.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, place: object, problem: str, remedy: str):
        super().__init__(f"{place}: {problem}; {remedy}")
        self.place, self.problem, self.remedy = str(place), problem, remedy


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class NotFinite(PrismError):
    """A norm, loss or reward is NaN or infinite; names the sample so that it can be inspected."""
