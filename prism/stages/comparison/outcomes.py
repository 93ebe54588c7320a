"""The rule of the verdicts: from estimates with intervals to what a run says of a claim (docs/audit.md).

An estimate is above its threshold where its whole 95% interval is, below where none of it is, unclear otherwise. A
claim holds where all of its estimates do, fails where one fails, and is unclear otherwise. Only a run at the paper's
scale can support or not support a claim about the paper's models. A run whose protocol was written beforehand says
whether a claim holds in its own world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.stages.audit.paper import Claim

PAPER_SCALE = "paper"
# scales with a protocol of their own (docs/protocol.md)
DECIDING_SCALES = ("laptop",)
SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive at this scale"
NOT_BUILT = "not built in this run"
INTERIM = "interim"
HOLDS, FAILS, UNCLEAR = "holds", "fails", "unclear"


@dataclass(frozen=True)
class Estimate:
    """One comparison of a claim.

    Attributes:
        label: what is compared.
        value, low, high: estimate and 95% interval, in `unit`.
        published: the paper's value, or None.
        files: what it was computed from.
    """

    label: str
    value: float
    low: float
    high: float
    unit: str
    published: float | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A claim and what the run says of it.

    Attributes:
        missing: comparisons of the claim that the run does not have.
    """

    claim: Claim
    estimates: tuple[Estimate, ...]
    missing: tuple[str, ...]

    def position(self, estimate: Estimate) -> str:
        """Whether one estimate meets the claim's threshold."""
        above, below = estimate.low > self.claim.threshold, estimate.high < self.claim.threshold
        if self.claim.below:
            above, below = below, above
        return HOLDS if above else FAILS if below else UNCLEAR

    @property
    def in_this_run(self) -> str:
        """Whether the claim holds for this run's models."""
        positions = [self.position(estimate) for estimate in self.estimates]
        if not positions:
            return NOT_BUILT
        if FAILS in positions:
            return FAILS
        return HOLDS if set(positions) == {HOLDS} and not self.missing else UNCLEAR

    @property
    def needed(self) -> str:
        """The threshold in words: ``> 0``."""
        return f"{'<' if self.claim.below else '>'} {self.claim.threshold:g}"

    def verdict(self, scale: str, decided: bool | None = None) -> str:
        """What the run says of the paper's claim.

        Args:
            decided: of a run with a protocol, whether it has as many seeds as the protocol reads verdicts from.
        """
        if self.in_this_run == NOT_BUILT:
            return NOT_BUILT
        if scale in DECIDING_SCALES and decided is not None:
            return f"{self.in_this_run} in this world" if decided else INTERIM
        if scale != PAPER_SCALE or self.in_this_run == UNCLEAR:
            return INCONCLUSIVE
        return SUPPORTED if self.in_this_run == HOLDS else NOT_SUPPORTED


def built(outcomes: Sequence[Outcome]) -> int:
    """How many claims have an estimate."""
    return sum(bool(outcome.estimates) for outcome in outcomes)
