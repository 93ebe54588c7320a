"""Figure 5's chance level and appendix G's invariance, by calculation and simulation."""

from __future__ import annotations

import numpy as np

from prism.core.concentration import SHAPE_METRICS
from prism.core.consensus import measure_consensus
from prism.stages.audit.findings import AGREES, DISAGREES, NOT_SHOWN, NOTE, Finding
from prism.stages.audit.paper import Paper

# sorted norms of an invented trajectory; every second one is scaled, as a larger kind of matrix would scale its norms
EXAMPLE = np.arange(1.0, 15.0)
FACTOR = 3.0


# norms without any signal: independent, log-normal, with these standard deviations of the logarithm
NOISE = (0.3, 0.6, 1.0)
NOISE_TRAJECTORIES = 2000


def audit_theory(paper: Paper) -> list[Finding]:
    """Chance level of the consensus, consensus of noise, and which scalings leave the metrics alone."""
    return [_chance_level(paper), _consensus_of_noise(paper), _invariance(paper)]


def _chance_level(paper: Paper) -> Finding:
    """Three independent halves share 1/8 of the corpus: 1/4 of a half, 1/7 of their union."""
    of_corpus = 100 * 0.5**3
    of_half = of_corpus / 0.5
    of_union = of_corpus / (1 - 0.5**3)
    low, high = paper.number("consensus-chance-low"), paper.number("consensus-chance-high")
    stated = paper.number("consensus")
    result = (
        f"independent halves share {of_corpus:.1f}% of the corpus = {of_half:.1f}% of a half = {of_union:.1f}% of "
        f"their union; stated: {stated:g}% against {low:g} to {high:g}%"
    )
    one_base = low == high and round(low, 1) in (round(of_half, 1), round(of_union, 1))
    meaning = "chance level and share can have one denominator"
    if not one_base:
        meaning = (
            f"the range mixes denominators: {low:g}% is a share of the corpus, {high:g}% one of a half; the stated "
            "share can be one of a half or of the union, and exceeds all of them"
        )
    return Finding(
        "consensus-chance",
        f"independent splits would share {low:g} to {high:g} percent",
        "figure 5",
        "share common to three independent halves",
        result,
        meaning,
        AGREES if one_base else NOTE,
    )


def _consensus_of_noise(paper: Paper) -> Finding:
    """What the three metrics agree on when the norms hold no signal: they are functions of one vector."""
    generator, matrices = np.random.default_rng(0), int(paper.outside["matrices"])
    shares = []
    for sd in NOISE:
        norms = generator.lognormal(0, sd, (NOISE_TRAJECTORIES, matrices))
        noise = measure_consensus(norms, permutations=0)
        shares.append((noise.of_half, noise.of_union))
    stated = paper.number("consensus")
    exceeds = stated > max(half for half, _ in shares)
    shown = ", ".join(f"{half:.0f}% of a half ({union:.0f}% of the union)" for half, union in shares)
    meaning = "more than norms without any signal share"
    if not exceeds:
        meaning = (
            "independent splits are the wrong null: Gini, kurtosis and CV are functions of one vector and agree as "
            "much on noise; a consensus is evidence only beside the same norms permuted over the trajectories"
        )
    return Finding(
        "consensus-noise",
        f"{stated:g} percent in all three halves shows a stable signal",
        "appendix D, figure 5",
        f"the same share for {NOISE_TRAJECTORIES} trajectories of {matrices} independent log-normal norms, standard "
        f"deviation of the logarithm {', '.join(f'{sd:g}' for sd in NOISE)}",
        f"{shown}; stated: {stated:g}%",
        meaning,
        AGREES if exceeds else NOT_SHOWN,
    )


def _invariance(paper: Paper) -> Finding:
    factors = np.full(len(EXAMPLE), FACTOR)
    if paper.statements["scale-invariance"] == "subset":
        factors[::2] = 1
    before, after = (
        {name: float(metric(norms[None, :])[0]) for name, metric in SHAPE_METRICS.items()}
        for norms in (EXAMPLE, EXAMPLE * factors)
    )
    holds = np.isclose(before["gini"], after["gini"], rtol=0, atol=1e-6)
    shown = ", ".join(f"{name} {before[name]:.3f} to {after[name]:.3f}" for name in before)
    which = "all" if factors.min() > 1 else "every second one"
    meaning = (
        "only a common factor cancels; whether the rankings survive is a question of measurement, which appendix G "
        "answers with rho > 0.99 and a rerun can repeat"
    )
    return Finding(
        "scale-invariance",
        f"scaling {'all' if which == 'all' else 'a subset'} of the dimensions preserves the Gini coefficient",
        paper.places["scale-invariance"],
        f"norms 1 to {len(EXAMPLE)}, {which} times {FACTOR:g}",
        shown,
        "a common factor cancels" if holds else meaning,
        AGREES if holds else DISAGREES,
    )
