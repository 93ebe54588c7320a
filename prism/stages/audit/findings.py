"""What a check reports."""

from __future__ import annotations

from dataclasses import dataclass

AGREES, NOTE, NOT_SHOWN, DISAGREES = "agrees", "note", "not shown", "disagrees"
VERDICTS = (AGREES, NOTE, NOT_SHOWN, DISAGREES)


@dataclass(frozen=True)
class Finding:
    """One check of one claim.

    Attributes:
        id: stable name.
        claim: what the paper says, in our words.
        place: where it says so.
        check: what was computed.
        result: the numbers that came out.
        meaning: what follows from them, and what does not.
        verdict: one of `VERDICTS`; docs/audit.md says what each means.
    """

    id: str
    claim: str
    place: str
    check: str
    result: str
    meaning: str
    verdict: str


def names(items: list[str]) -> str:
    """A list in words: ``a, b and c``; ``none`` of an empty one."""
    if not items:
        return "none"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
