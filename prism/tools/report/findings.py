"""What a probe's scores go together with, in numbers and in plain sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from prism.core.associations import upper_side

SCORES = {"gini": "Gini", "kurtosis": "kurtosis", "cv": "CV"}
FACTORS = {"length": "length", "loss": "loss", "l2": "L2"}
# what each factor is called within a sentence
NAMES = {"length": "length (response tokens)", "loss": "loss", "l2": "the size of the gradient (L2)"}
# above it, a score says little that the factor does not
MOSTLY = 0.9
FEWEST = 4
# by score and factor
Correlations = dict[tuple[str, str], float | None]


def correlations(table: pd.DataFrame) -> Correlations:
    """Spearman's correlation of each score with each factor; None where either is the same for all, or they are few.

    Args:
        table: a row a trajectory, with the columns of `SCORES` and `FACTORS`.
    """
    found = {}
    for score in SCORES:
        for factor in FACTORS:
            columns = table[score].to_numpy(), table[factor].to_numpy()
            known = len(table) >= FEWEST and all(np.ptp(values) > 0 for values in columns)
            found[score, factor] = float(spearmanr(*columns).statistic) if known else None
    return found


def findings(table: pd.DataFrame, correlated: Correlations) -> list[str]:
    """A sentence for each score that mostly ranks like a factor, else one that says that none does.

    Args:
        table: as `correlations` takes it.
        correlated: what that gives.
    """
    if len(table) < FEWEST:
        return [f"Fewer than {FEWEST} trajectories: nothing can be said of ranks."]
    found = {pair: rho for pair, rho in correlated.items() if rho is not None}
    same = [
        f"{FACTORS[name].capitalize()} is the same for all trajectories."
        for name in FACTORS
        if _is_constant(table[name])
    ]
    if not found:
        return same
    mostly = [_mostly(table, pair, rho) for pair, rho in found.items() if abs(rho) > MOSTLY]
    if mostly:
        return [*mostly, *same]
    (score, factor), rho = max(found.items(), key=lambda item: abs(item[1]))
    closest = f"the closest are {SCORES[score]} and {FACTORS[factor]} (rho {rho:.2f})"
    return [f"No score mostly ranks like length, loss or L2: {closest}.", *same]


def _is_constant(column: pd.Series) -> bool:
    return bool(np.ptp(column.to_numpy()) == 0)


def _mostly(table: pd.DataFrame, pair: tuple[str, str], rho: float) -> str:
    score, factor = pair
    like = "like" if rho > 0 else "opposite to"
    sign = 1 if rho > 0 else -1
    same = upper_side(table[score].to_numpy()) == upper_side(sign * table[factor].to_numpy())
    turned = "" if rho > 0 else ", turned round,"
    return (
        f"{SCORES[score]} mostly ranks {like} {NAMES[factor]} (rho {rho:.2f}): halves by it and halves by "
        f"{FACTORS[factor]}{turned} agree on {100 * same.mean():.0f}% of the trajectories."
    )
