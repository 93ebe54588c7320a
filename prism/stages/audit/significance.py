"""Which published gains exceed chance, as the data were published: two unpaired rates of n episodes each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import fisher_exact, norm
from statsmodels.stats.proportion import proportions_ztest

from prism.core.paper_tables import TABLE1_PANELS
from prism.core.statistics import wilson_rate
from prism.stages.audit.findings import AGREES, NOT_SHOWN, NOTE, Finding
from prism.stages.audit.grid import Sample, samples_of
from prism.stages.audit.ordering import FIRST, SECOND, alfworld_rates, shop_rows
from prism.stages.audit.paper import Claim, Paper

LEVEL, POWER = 0.05, 0.8
# rate at which the smallest detectable difference is given; most of the compared rates are near it
TYPICAL_RATE = 0.7


@dataclass(frozen=True)
class Comparison:
    """Two rates of the same number of episodes.

    Attributes:
        z, p_normal: pooled two-proportion test, two-sided.
        p_exact: Fisher's exact test, two-sided.
    """

    z: float
    p_normal: float
    p_exact: float


def compare_rates(first: int, second: int, episodes: int) -> Comparison:
    """Test whether two rates differ: `first` and `second` successes, each in `episodes` episodes."""
    if first == second:
        z, p_normal = 0.0, 1.0
    else:
        z, p_normal = map(float, proportions_ztest([first, second], [episodes, episodes]))
    table = [[first, episodes - first], [second, episodes - second]]
    return Comparison(z, p_normal, float(fisher_exact(table).pvalue))


def detectable_difference(episodes: int, rate: float = TYPICAL_RATE) -> float:
    """Smallest difference, in points, that two unpaired groups show with 80% power at the 5% level.

    Normal approximation, both groups with the variance of `rate`.
    """
    quantiles = float(norm.isf(LEVEL / 2) + norm.isf(1 - POWER))
    return 100 * quantiles * math.sqrt(2 * rate * (1 - rate) / episodes)


def audit_significance(paper: Paper) -> list[Finding]:
    """Every claimed gain of a success rate, and what the sample size can show at all."""
    samples = samples_of(paper)
    findings = []
    for claim in paper.claims:
        if claim.quantity["kind"] == "gain" and claim.quantity.get("metric") == "success":
            rates = _published_rates(paper, claim)
            episodes = samples[_group(claim)].episodes
            findings += [
                _gain(claim, baseline, rates, episodes)
                for baseline in claim.quantity["against"]
                if baseline in rates and claim.quantity["method"] in rates
            ]
    findings += _other_metrics(paper, samples)
    return [
        *findings,
        _random(paper, samples),
        _scores(paper),
        _detectable(paper, min(sample.episodes for sample in samples.values())),
    ]


def _other_metrics(paper: Paper, samples: Mapping[str, Sample]) -> list[Finding]:
    """The two other metrics against SFT-then-RL on ALFWorld: table 1's caption speaks of PRISM, not of Gini."""
    findings = []
    for split in TABLE1_PANELS:
        rates, episodes = alfworld_rates(paper, split), samples[f"table 1, {split}"].episodes
        for metric in ("kurtosis", "cv"):
            claim = Claim(
                id=f"{split}-{metric}",
                place="caption of table 1",
                statement=f"on {split} ALFWorld tasks, routing by {metric} succeeds more often than SFT-then-RL",
                quantity={"method": f"prism-{metric}"},
                threshold=0,
                below=False,
                published=(),
            )
            findings.append(_gain(claim, "sft-then-rl", rates, episodes))
    return findings


def _random(paper: Paper, samples: Mapping[str, Sample]) -> Finding:
    """Section 4.1's "significantly" for the comparison of figure 3 that Table 2 has numbers for."""
    episodes, shown, significant = samples["table 2"].episodes, [], 0
    for position in (FIRST, SECOND):
        rows = shop_rows(paper, position)
        tests = {
            name: compare_rates(*(round(rows[row].success * episodes / 10000) for row in (name, "random")), episodes)
            for name in rows
            if name.startswith("prism-")
        }
        significant += sum(test.z > 0 and test.p_exact < LEVEL for test in tests.values())
        p_values = ", ".join(f"{name} p = {test.p_exact:.3f}" for name, test in tests.items())
        shown.append(f"{rows['random'].backbone}: {p_values}")
    comparisons = sum(text.count("p = ") for text in shown)
    all_are = significant == comparisons
    return Finding(
        "significantly-random",
        "routing significantly outperforms the random split",
        "section 4.1, figure 3, table 2",
        f"success rates of {episodes} episodes, Fisher's exact test, each metric and backbone",
        f"{significant} of {comparisons} below {LEVEL:g}; {'; '.join(shown)}",
        "the word holds as published" if all_are else "most of the differences are within chance as published",
        AGREES if all_are else NOT_SHOWN,
    )


def _published_rates(paper: Paper, claim: Claim) -> dict[str, int]:
    """Rates of the methods of a claim's table, hundredths of a percent."""
    table = claim.quantity["table"]
    if table == "table1":
        return alfworld_rates(paper, claim.quantity["panel"])
    if table == "table2":
        rows = shop_rows(paper, SECOND if claim.quantity["backbone"] == "second" else FIRST)
        return {method: row.success for method, row in rows.items()}
    if table == "table4":
        return {row.method: row.success for row in paper.magnitude}
    return {}


def _group(claim: Claim) -> str:
    """The group of rates that a claim compares; table 4 repeats table 1's seen split."""
    return "table 2" if claim.quantity["table"] == "table2" else f"table 1, {claim.quantity['panel']}"


def _gain(claim: Claim, baseline: str, rates: dict[str, int], episodes: int) -> Finding:
    method = claim.quantity["method"]
    ours, theirs = (round(rates[name] * episodes / 10000) for name in (method, baseline))
    test = compare_rates(ours, theirs, episodes)
    intervals = " and ".join(
        f"{count}/{episodes} [{rate.low:.1f}, {rate.high:.1f}]"
        for count in (ours, theirs)
        for rate in [wilson_rate(count, episodes)]
    )
    result = (
        f"difference {(rates[method] - rates[baseline]) / 100:+.2f} points; {intervals}; "
        f"z = {test.z:.2f}, p = {test.p_normal:.2g}; Fisher's exact p = {test.p_exact:.2g}"
    )
    gained = test.z > 0 and test.p_exact < LEVEL
    meaning = "more than chance, as published and unpaired"
    if not gained:
        meaning = (
            f"a difference of this size is within chance at {episodes} episodes (5% level, exact test); the episodes "
            "themselves, paired by task, could show more"
        )
        if test.p_normal < LEVEL:
            meaning = "borderline: below 5% by the normal approximation, above it by the exact test"
    return Finding(
        f"gain-{claim.id}-{baseline}",
        f"{claim.statement}: against {baseline}",
        claim.place,
        f"two rates of {episodes} episodes each: intervals (Wilson, 95%), pooled z test, Fisher's exact test",
        result,
        meaning,
        AGREES if gained else NOT_SHOWN,
    )


def _scores(paper: Paper) -> Finding:
    return Finding(
        "gain-scores",
        "gains of WebShop's average score",
        "tables 2 and 4, figures 3 and 4",
        "is a spread published?",
        "no deviation, interval or per-seed value",
        "cannot be tested from the paper; a rerun must keep the score of every episode",
        AGREES if paper.statements.get("score-spread") == "published" else NOTE,
    )


def _detectable(paper: Paper, episodes: int) -> Finding:
    seeds = int(paper.number("seeds"))
    sizes = sorted({episodes, 3 * episodes, 3 * 500})
    gain = paper.number("gain-unseen-sft-then-rl")
    differences = {size: detectable_difference(size) for size in sizes}
    result = ", ".join(f"{points:.1f} points with {size} episodes" for size, points in differences.items())
    enough = differences[episodes] <= gain
    meaning = f"the largest stated gain over SFT-then-RL is {gain:.2f} points"
    meaning += "" if enough else f"; with {seeds} independent runs a method it would be {differences[3 * episodes]:.1f}"
    check = f"smallest difference that two groups show with 80% power at the 5% level, rates near {TYPICAL_RATE:.0%}"
    claim = "the evaluation can tell the methods apart"
    return Finding("power", claim, "tables 1 and 2", check, result, meaning, AGREES if enough else NOTE)
