"""Methods are data: (SFT subset, RL subset, RL algorithm). No method has code of its own.

A subset is a quantile slice of a score, named ``{score}-{low|high}{percent}``, or ``all``. ``low`` holds the
trajectories with s <= quantile, ``high`` those above it (eq. 2-3), so ``gini-low50`` and ``gini-high50`` are the two
halves of one split, and the inverse of a method swaps them. A score is the run's own, or that of a variant of the
probe: ``gini@steps-low50``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from prism.core.concentration import score_names
from prism.core.detours import DETOUR
from prism.core.errors import BadInput
from prism.core.splits import DRAWN, column_and_variant

ALL = "all"
BASE = "base"
# scores that come from rollouts: the pass rate p, and p (1 - p)
PASS_RATE, PASS_RATE_VARIANCE = COUNTED = ("pass_rate", "pass_rate_variance")
ALGORITHMS = ("grpo", "gigpo")
_SUBSET = re.compile(r"(?P<score>[a-z0-9_]+(?:-seed\d+|@[a-z0-9-]+)?)-(?P<side>low|high)(?P<percent>\d{1,2})")


@dataclass(frozen=True)
class Slice:
    """One side of a split.

    Attributes:
        score: column of the score table.
        rl_percent: share of the corpus above the threshold, in percent; names the split's file.
        regime: ``sft`` for the side at or below the threshold, ``rl`` for the side above it.
    """

    score: str
    rl_percent: int
    regime: str


@dataclass(frozen=True)
class Method:
    """A row of the tables: what SFT sees, what RL sees, and how RL is done. None: the phase is skipped."""

    name: str
    sft: str | None
    rl: str | None
    algorithm: str | None

    def at_seed(self, seed: int) -> Method:
        """The method as one seed runs it: a random split is drawn anew for every seed."""

        def resolve(subset: str | None) -> str | None:
            return subset and re.sub(rf"^({'|'.join(DRAWN)})-(low|high)", rf"\1-seed{seed}-\2", subset)

        return Method(self.name, resolve(self.sft), resolve(self.rl), self.algorithm)

    @property
    def init(self) -> str:
        """What RL starts from: the name of the SFT subset, or ``base``."""
        return self.sft or BASE

    @property
    def scores(self) -> set[str]:
        """The scores that its subsets of the corpus are made by; none where it trains on the whole corpus."""
        return {part.score for part in map(parse_slice, filter(None, (self.sft, self.rl))) if part}

    def shares(self) -> tuple[str, str]:
        """Percent of the corpus that SFT and RL see, as the paper's tables print it."""
        return share_percent(self.sft), share_percent(self.rl)


def parse_slice(subset: str, place: str = "subset") -> Slice | None:
    """Read a subset's name; None for the whole corpus.

    Raises:
        BadInput: the name is not of the form ``{score}-{low|high}{percent}``.
    """
    if subset == ALL:
        return None
    match = _SUBSET.fullmatch(subset)
    if match is None or not 0 < int(match["percent"]) < 100:
        raise BadInput(
            place, f"cannot read subset {subset!r}", "write all, {score}-low{percent} or {score}-high{percent}"
        )
    percent = int(match["percent"])
    high = match["side"] == "high"
    return Slice(match["score"], percent if high else 100 - percent, "rl" if high else "sft")


def share_percent(subset: str | None) -> str:
    """Percent of the corpus in a subset, ``-`` for none."""
    if subset is None:
        return "-"
    return "100" if subset == ALL else _SUBSET.fullmatch(subset)["percent"]


def build_methods(config: dict) -> dict[str, Method]:
    """The method table of a config.

    Raises:
        BadInput: a method trains nothing it could train, or names an unknown score or algorithm.
    """
    methods = {}
    for name, value in config.items():
        place = f"config methods.{name}"
        method = Method(name, value.get("sft"), value.get("rl"), value.get("algorithm"))
        if (method.rl is None) != (method.algorithm is None):
            raise BadInput(place, "rl and algorithm go together", "give both or none")
        if method.algorithm not in (None, *ALGORITHMS):
            raise BadInput(place, f"unknown algorithm {method.algorithm!r}", f"use one of {', '.join(ALGORITHMS)}")
        for subset in filter(None, (method.sft, method.rl)):
            part = parse_slice(subset, place)
            score, variant = column_and_variant(part.score) if part else ("", "")
            known = score_names() if variant else (*score_names(), *DRAWN, *COUNTED, DETOUR)
            if part and score not in known:
                raise BadInput(place, f"unknown score {score!r}", f"use one of {', '.join(known)}")
        methods[name] = method
    return methods
