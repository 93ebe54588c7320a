"""Which sample sizes allow a published rate (the GRIM test, Brown and Heathers 2017).

A rate of k successes in n episodes, printed with two decimals, is one of n + 1 numbers. Most numbers with two decimals
are no such rate for n below a thousand; a table of them gives its sample size away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import binom

from prism.stages.audit.findings import AGREES, DISAGREES, NOTE, Finding, names
from prism.stages.audit.paper import Paper

# 100 percent in hundredths of a percent
HUNDREDTHS = 10000
# three seeds on WebShop's 500 test goals: the largest evaluation that the paper's text allows
LARGEST_SIZE = 1500
WEBSHOP_GOALS = 500
# below this a coincidence is no explanation
IMPLAUSIBLE = 1e-3


@dataclass(frozen=True)
class Sample:
    """What a group of rates is computed from.

    Attributes:
        group: where the rates stand.
        rates: hundredths of a percent, by row.
        episodes: sample size that fits the most rates.
        runs: runs that the sample can be the sum of: the stated seeds, or one.
    """

    group: str
    rates: Mapping[str, int]
    episodes: int
    runs: int

    @property
    def tasks(self) -> int:
        """Episodes of one run."""
        return self.episodes // self.runs

    def hits(self, episodes: int) -> int:
        """Rates that lie on the grid of another sample size."""
        return sum(successes_of(rate, episodes) is not None for rate in self.rates.values())


def successes_of(rate: int, episodes: int, whole: int = HUNDREDTHS) -> int | None:
    """The k for which k / episodes prints as `rate`, or None.

    It is unique below half of `whole` episodes. All in whole numbers: |whole k / n - rate| <= 1/2, so that either
    rounding of a half counts.

    Args:
        rate: in units of the last printed digit, hundredths of a percent by default.
        whole: 100 percent in that unit.
    """
    successes = (rate * episodes + whole // 2) // whole
    return successes if 2 * abs(whole * successes - rate * episodes) <= episodes else None


def infer_sample(group: str, rates: Mapping[str, int], seeds: int) -> Sample:
    """The smallest sample size, up to 1,500, on whose grid the most rates lie."""
    fitting = {
        size: sum(successes_of(rate, size) is not None for rate in rates.values())
        for size in range(2, LARGEST_SIZE + 1)
    }
    episodes = max(fitting, key=lambda size: (fitting[size], -size))
    return Sample(group, rates, episodes, seeds if episodes % seeds == 0 else 1)


def samples_of(paper: Paper) -> dict[str, Sample]:
    """The sample behind each group of rates."""
    seeds = int(paper.number("seeds"))
    return {group: infer_sample(group, rates, seeds) for group, rates in paper.rate_groups().items()}


def audit_grid(paper: Paper) -> list[Finding]:
    """Overall rates against the grids of panel sizes and of a mean over the stated seeds."""
    samples = list(samples_of(paper).values())
    return [_single_rates(samples), _seeds(paper, samples), _whole_panels(paper, samples)]


def _single_rates(samples: list[Sample]) -> Finding:
    shown, off = [], []
    for sample in samples:
        shown.append(
            f"{sample.group}: {sample.hits(sample.episodes)} of {len(sample.rates)} rates are k/{sample.episodes}"
        )
        for row, rate in sample.rates.items():
            if successes_of(rate, sample.episodes) is None:
                nearest = round(rate * sample.episodes / 10000)
                value = 100 * nearest / sample.episodes
                off.append(f"{row}: {rate / 100:.2f}, nearest is {nearest}/{sample.episodes} = {value:.2f}")
    meaning = "every overall rate is one of a whole number of successes"
    if off:
        meaning = "no number of successes prints as this value: a slip of a digit, or another number of episodes"
    return Finding(
        "grid-rates",
        "overall success rates",
        "tables 1 and 2",
        f"sample size up to {LARGEST_SIZE} that gives the most rates a whole number of successes",
        "; ".join(shown + off),
        meaning,
        DISAGREES if off else AGREES,
    )


def _seeds(paper: Paper, samples: list[Sample]) -> Finding:
    """A mean over s runs of n episodes lies on k/(sn); that it lies on k/n has probability 1/s each time."""
    seeds = int(paper.number("seeds"))
    claim, place = f"each rate is the mean of {seeds} seeds", paper.places["seeds"]
    single = [sample for sample in samples if sample.runs < seeds]
    if not single:
        sizes = ", ".join(f"{sample.group}: k/{sample.episodes}" for sample in samples)
        result = f"{sizes}: multiples of {seeds}"
        check = "does the grid of the rates leave room for the stated runs?"
        return Finding("grid-seeds", claim, place, check, result, "one grid with the claim", AGREES)
    total = sum(len(sample.rates) for sample in single)
    hits = sum(sample.hits(sample.episodes) for sample in single)
    chance = float(binom.sf(hits - 1, total, 1 / seeds))
    sizes = names(sorted({f"k/{sample.episodes}" for sample in single}))
    result = (
        f"{hits} of {total} rates lie on {sizes}; a mean over {seeds} runs would do so with probability 1/{seeds}: "
        f"{float(seeds) ** -hits:.0e} for {hits} of {hits}, {chance:.0e} for at least {hits} of {total}"
    )
    meaning = (
        "a rate rests on this number of episodes in all, however many seeds they come from; the spread over seeds is "
        "not in the tables"
    )
    check = f"share of rates on the grid of one run against the share expected of a mean over {seeds} runs"
    return Finding("grid-seeds", claim, place, check, result, meaning, DISAGREES if chance < IMPLAUSIBLE else NOTE)


def _whole_panels(paper: Paper, samples: list[Sample]) -> Finding:
    seeds = int(paper.number("seeds"))
    shown, partial = [], []
    for sample in samples:
        split = sample.group.removeprefix("table 1, ")
        whole = sum(paper.games[split].values()) if split in paper.games else WEBSHOP_GOALS
        others = ", ".join(f"k/{size}: {sample.hits(size)}" for size in (whole, seeds * whole))
        shown.append(
            f"{sample.group}: k/{sample.episodes}: {sample.hits(sample.episodes)} of {len(sample.rates)}, {others}"
        )
        if sample.tasks != whole:
            partial.append(f"{sample.tasks} of {whole} ({sample.group})")
    meaning = "the panels are the whole evaluation sets"
    if partial:
        meaning = f"the panels are not the whole sets: {', '.join(partial)}; which tasks they hold is not stated"
    return Finding(
        "grid-panels",
        "evaluation follows the standard protocols",
        "section 3.1",
        f"the same rates on the grids of ALFWorld's splits and WebShop's {WEBSHOP_GOALS} goals, one run or {seeds}",
        "; ".join(shown),
        meaning,
        NOTE if partial else AGREES,
    )
