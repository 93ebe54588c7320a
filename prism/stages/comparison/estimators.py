"""What a run says about each kind of quantity that a claim is about: estimates with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.stats import norm

from prism.core.csv_files import Table, read_table
from prism.core.errors import BadInput
from prism.core.evaluations import read_seeds, value_matrix
from prism.core.paper_tables import Measure, success_of
from prism.core.statistics import CONFIDENCE, difference_interval
from prism.stages.audit.paper import Claim
from prism.stages.comparison.outcomes import Estimate, Outcome
from prism.stages.comparison.studies import model_sizes, of_largest_size, size_in_words, study_estimates
from prism.stages.consensus import read_consensus

BACKBONES = {"first": 0, "second": 1}
# A single timing has no interval: nearer than this to the threshold, it decides nothing.
TIMING_TOLERANCE = 0.05
Found = tuple[list[Estimate], list[str]]


@dataclass(frozen=True)
class ComparisonRecipe:
    """What the run is.

    Attributes:
        scale: ``paper`` or a smaller one.
        targets: tables and figures that the run builds.
        backbones: backbones of each of them, in the paper's order.
        decided: whether the run has as many seeds as its protocol reads verdicts from; None without a protocol.
    """

    scale: str
    targets: tuple[str, ...]
    backbones: dict[str, tuple[str, ...]]
    decided: bool | None = None


@dataclass(frozen=True)
class Values:
    """A method's values on a panel.

    Attributes:
        matrix: shape (seeds, tasks), in [0, 1].
        panel: hash of the panel.
        files: where they were read.
    """

    matrix: np.ndarray
    panel: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Run:
    """The files of a run that claims are about.

    Attributes:
        evaluations: by (benchmark, backbone, method, panel).
        tables: tables of the run that claims are about, by name: Table 3, appendix G, those about the scores.
        norms: gradient norms, all shards, by (benchmark, backbone); the sizes of the backbones are read from them.
        consensus: of the probes, a file by (benchmark, backbone).
    """

    recipe: ComparisonRecipe
    evaluations: Mapping[tuple[str, str, str, str], list[Path]]
    tables: Mapping[str, Path]
    norms: Mapping[tuple[str, str], list[Path]]
    consensus: Mapping[tuple[str, str], list[Path]]

    @property
    def times(self) -> Path | None:
        """Table 3, if it was built."""
        return self.tables.get("table3")

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Weights of the probed matrices, by backbone."""
        return model_sizes(self.norms)

    def backbone(self, claim: Claim) -> str:
        """The run's backbone in the place of the paper's first or second one; empty where the run has no second."""
        names = self.recipe.backbones.get(claim.quantity["table"], ())
        position = BACKBONES[claim.quantity.get("backbone", "first")]
        return names[position] if position < len(names) else ""

    def values(self, claim: Claim, method: str) -> Values | None:
        """A method's values on the claim's panel; None where the run has no such evaluation."""
        quantity = claim.quantity
        paths = self.evaluations.get((quantity["benchmark"], self.backbone(claim), method, quantity["panel"]))
        if not paths:
            return None
        seeds = read_seeds(paths)
        matrix = value_matrix(seeds, claim_measure(claim))
        return Values(matrix, seeds[0].panel_sha256, tuple(seed.path for seed in seeds))


def claim_measure(claim: Claim) -> Measure:
    """What a gain is measured in."""
    metric = claim.quantity["metric"]
    return success_of(claim.quantity["benchmark"]) if metric == "success" else Measure(metric)


def assess(claim: Claim, run: Run) -> Outcome:
    """Estimate what a claim is about."""
    if claim.quantity["table"] not in run.recipe.targets:
        return Outcome(claim, (), ())
    estimates, missing = _ESTIMATORS[claim.quantity["kind"]](claim, run)
    return Outcome(claim, tuple(estimates), tuple(missing))


def _gains(claim: Claim, run: Run) -> Found:
    """Paired differences on the same tasks and seeds, in points."""
    method = claim.quantity["method"]
    ours = run.values(claim, method)
    if ours is None:
        return [], [method]
    estimates, missing = [], []
    for index, baseline in enumerate(claim.quantity["against"]):
        theirs = run.values(claim, baseline)
        if theirs is None:
            missing.append(baseline)
            continue
        if (ours.panel, ours.matrix.shape) != (theirs.panel, theirs.matrix.shape):
            raise BadInput(theirs.files[0], "is not on the panel and seeds of the method", "rebuild the evaluations")
        differences = ours.matrix - theirs.matrix
        bounds = [100 * number for number in (float(differences.mean()), *difference_interval(differences))]
        seeds, tasks = differences.shape
        label = f"{method} - {baseline}, {seeds} seed(s) x {tasks} tasks"
        files = ours.files + theirs.files
        estimates.append(Estimate(label, *bounds, "points", _published(claim, index), files))
    return estimates, missing


@dataclass(frozen=True)
class Times:
    """A method's times in seconds.

    Attributes:
        half: half of the total's 95% interval over the seeds; None for a single timing.
    """

    probe: float
    total: float
    half: float | None

    @property
    def tolerance(self) -> float:
        """Share by which the total may be off."""
        return TIMING_TOLERANCE if self.half is None else self.half / self.total


def _speedups(claim: Claim, run: Run) -> Found:
    """Ratios of training times; errors of the two times add in squares."""
    times = _times(run, claim)
    method, estimates, missing = claim.quantity["method"], [], []
    for index, baseline in enumerate(claim.quantity["against"]):
        if not {method, baseline} <= set(times):
            missing.append(baseline if method in times else method)
            continue
        ours, theirs = times[method], times[baseline]
        measured = ours.half is not None and theirs.half is not None
        share = math.hypot(ours.tolerance, theirs.tolerance) if measured else TIMING_TOLERANCE
        ratio, label = theirs.total / ours.total, f"{baseline} / {method}"
        estimates.append(_within(label, ratio, share, "times", _published(claim, index), run))
    return estimates, missing


def _shares(claim: Claim, run: Run) -> Found:
    times = _times(run, claim)
    method = claim.quantity["method"]
    if method not in times:
        return [], [method]
    found = times[method]
    label, share = f"probe / total of {method}", 100 * found.probe / found.total
    return [_within(label, share, found.tolerance, "percent", _published(claim, 0), run)], []


def _within(label: str, value: float, share: float, unit: str, published: float | None, run: Run) -> Estimate:
    return Estimate(label, value, value * (1 - share), value * (1 + share), unit, published, (run.times,))


def _times(run: Run, claim: Claim) -> dict[str, Times]:
    """Times on the claim's benchmark, by method; 0 for a probe that a method does not have."""
    if run.times is None:
        return {}
    table = read_table(run.times)
    times: dict[str, Times] = {}
    for index, (benchmark, method) in enumerate(zip(table.column("benchmark"), table.column("method"), strict=True)):
        if benchmark == claim.quantity["benchmark"] and method not in times:
            total = _seconds(table, "total_seconds", index)
            if total:
                high = _seconds(table, "total_high", index) if "total_high" in table.columns else 0.0
                half = high - total if high else None
                times[method] = Times(_seconds(table, "probe_seconds", index), total, half)
    return times


def _seconds(table: Table, column: str, index: int) -> float:
    """A time of a row; 0 where there is none."""
    text = table.column(column)[index]
    try:
        return float(text) if text not in ("", "-") else 0.0
    except ValueError as error:
        raise BadInput(table.path, f"{column} is {text!r}, not a number", "rebuild the table") from error


def _consensus(claim: Claim, run: Run) -> Found:
    """Share of a half that the metrics have in common, above what the same norms give when they are permuted."""
    benchmark = claim.quantity["benchmark"]
    probed = [backbone for name, backbone in run.consensus if name == benchmark]
    if not probed:
        return [], [f"consensus of the metrics on {benchmark}"]
    # the first of the largest ones
    key = benchmark, max(probed, key=run.sizes.__getitem__)
    (path,) = run.consensus[key]
    measured = read_consensus(path)
    consensus = measured.consensus
    label = (
        f"Gini, kurtosis and CV share {consensus.of_half:.1f}% of a half ({consensus.of_union:.1f}% of the union) of "
        f"{measured.trajectories} trajectories of {benchmark}, {size_in_words(key[1], run.sizes)}, minus the "
        "permuted norms' share; "
        f"p = {consensus.p:.2g}"
    )
    return [Estimate(label, *consensus.above_null, "points of a half", _published(claim, 0), (path,))], []


def _correlations(claim: Claim, run: Run) -> Found:
    """Rank correlations; intervals by Fisher's transformation with the error of Bonett and Wright (2000)."""
    path = run.tables.get("appendix_g")
    if path is None:
        return [], ["appendix G"]
    table = read_table(path)
    largest = of_largest_size(table.column("backbone"), run.sizes)
    names = zip(*(table.column(name) for name in ("benchmark", "backbone", "metric")), strict=True)
    numbers = zip(table.numbers("spearman"), table.numbers("trajectories"), strict=True)
    estimates = []
    for name, (rho, count) in zip(names, numbers, strict=True):
        if name[1] not in largest:
            continue
        interval = spearman_interval(rho, int(count))
        estimates.append(Estimate(" ".join(name), rho, *interval, "rho", _published(claim, 0), (path,)))
    return estimates, []


def _study(claim: Claim, run: Run) -> Found:
    """Rows of a table about the scores."""
    path = run.tables.get(claim.quantity["table"])
    if path is None:
        return [], [claim.quantity["table"]]
    found = study_estimates(claim, path, run.sizes)
    return found, [] if found else [", ".join(map(str, claim.quantity["rows"].values()))]


def spearman_interval(rho: float, count: int) -> tuple[float, float]:
    """95% interval of a rank correlation of `count` pairs; all of [-1, 1] below four pairs."""
    if count < 4:
        return -1.0, 1.0
    if abs(rho) >= 1:
        return rho, rho
    half = norm.isf((1 - CONFIDENCE) / 2) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _published(claim: Claim, index: int) -> float | None:
    return claim.published[index] if index < len(claim.published) else None


_ESTIMATORS: dict[str, Callable[[Claim, Run], Found]] = {
    "gain": _gains,
    "speedup": _speedups,
    "share": _shares,
    "consensus": _consensus,
    "spearman": _correlations,
    "study": _study,
}
