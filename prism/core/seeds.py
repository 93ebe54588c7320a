"""Seeds that follow from a place in a run: a place draws the same numbers, whatever is drawn beside it."""

from __future__ import annotations

import hashlib

# samplers take seeds of 32 bits
SEED_BYTES = 4


def seed_of(place: str) -> int:
    """Seed of a place in a run, from 0 to 2^32 - 1: the first bytes of the SHA-256 of its name."""
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:SEED_BYTES], "big")
