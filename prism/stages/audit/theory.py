"""Figure 5's chance level and appendix G's invariance, by calculation."""

from __future__ import annotations

import numpy as np

from prism.core.concentration import SHAPE_METRICS
from prism.stages.audit.findings import AGREES, DISAGREES, Finding
from prism.stages.audit.paper import Paper

# sorted norms of an invented trajectory; every second one is scaled, as a larger kind of matrix would scale its norms
EXAMPLE = np.arange(1.0, 15.0)
FACTOR = 3.0


def audit_theory(paper: Paper) -> list[Finding]:
    """Chance level of the consensus, and which scalings leave the metrics alone."""
    return [_chance_level(paper), _invariance(paper)]


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
    # no more than half of the corpus can lie in a half, so a larger share is one of a half
    one_base = low == high == (of_half if stated > 50 else of_corpus)
    meaning = "chance level and share have one denominator"
    if not one_base:
        meaning = (
            f"the range mixes two denominators; {stated:g}% can only be a share of a half, for which chance is "
            f"{of_half:.0f}%. Three functions of one vector are not independent either, so agreement above chance is "
            "expected whatever they measure"
        )
    return Finding(
        "consensus-chance",
        "the metrics agree on more trajectories than chance would give",
        "appendix D, figure 5",
        "share common to three independent halves",
        result,
        meaning,
        AGREES if one_base else DISAGREES,
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
