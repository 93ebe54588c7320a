"""Each claim of the paper beside what a run says: estimate, interval, and a verdict from one fixed rule.

The rule (docs/audit.md): an estimate is above its threshold where its whole 95% interval is, below where none of it is,
unclear otherwise. A claim holds where all of its estimates do, fails where one fails, and is unclear otherwise. Only a
run at the paper's scale can support or not support a claim about the paper's models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

from prism.core.comparisons import compare
from prism.core.csvfiles import Table, read_table, write_table
from prism.core.errors import BadInput
from prism.core.evaluations import read_seeds, value_matrix
from prism.core.files import write_text
from prism.core.progress import say
from prism.core.statistics import CONFIDENCE
from prism.core.tablenames import Measure
from prism.stages.audit.paper import Claim, read_claims
from prism.stages.tables import scale_note

PAPER_SCALE = "paper"
SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive at this scale"
NOT_BUILT = "not built in this run"
HOLDS, FAILS, UNCLEAR = "holds", "fails", "unclear"
BACKBONES = {"first": 0, "second": 1}
METRICS = ("gini", "kurtosis", "cv")
# A single timing has no interval: nearer than this to the threshold, it decides nothing.
TIMING_TOLERANCE = 0.05
RESAMPLES = 1000
COLUMNS = (
    "claim",
    "statement",
    "place",
    "comparison",
    "estimate",
    "low",
    "high",
    "unit",
    "threshold",
    "paper",
    "in_this_run",
    "verdict",
)
WHAT_THE_SCALE_SHOWS = {
    PAPER_SCALE: "This run is at the paper's scale: its verdicts are about the paper's models and benchmarks.",
    "other": "This run has tiny backbones, generated tasks and few steps. It can show that every number is computed as "
    "described and which way a comparison points for these backbones. It cannot show whether a claim holds for 8B "
    "models, so that no verdict here is more than inconclusive, whatever the interval.",
}


@dataclass(frozen=True)
class ComparisonRecipe:
    """What the run is.

    Attributes:
        scale: ``paper`` or a smaller one.
        targets: tables and figures that the run builds.
        backbones: backbones of each of them, in the paper's order.
    """

    scale: str
    targets: tuple[str, ...]
    backbones: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Run:
    """The files of a run that claims are about.

    Attributes:
        evaluations: ``.../eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json``.
        times: Table 3 of the run, if it was built.
        scores: score tables, ``.../{benchmark}/{backbone}.csv``.
        sensitivity: appendix G of the run, if it was built.
    """

    recipe: ComparisonRecipe
    evaluations: Mapping[tuple[str, str, str, str], list[Path]]
    times: Path | None
    scores: Mapping[tuple[str, str], Path]
    sensitivity: Path | None

    def backbone(self, claim: Claim) -> str:
        """The run's backbone in the place of the paper's first or second one; empty where the run has no second."""
        names = self.recipe.backbones.get(claim.quantity["table"], ())
        position = BACKBONES[claim.quantity.get("backbone", "first")]
        return names[position] if position < len(names) else ""


@dataclass(frozen=True)
class Estimate:
    """One comparison of a claim.

    Attributes:
        label: what is compared.
        value, low, high: estimate and 95% interval, in `unit`.
        published: the paper's value, or None.
    """

    label: str
    value: float
    low: float
    high: float
    unit: str
    published: float | None = None


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

    def verdict(self, scale: str) -> str:
        """What the run says of the paper's claim."""
        if self.in_this_run == NOT_BUILT:
            return NOT_BUILT
        if scale != PAPER_SCALE or self.in_this_run == UNCLEAR:
            return INCONCLUSIVE
        return SUPPORTED if self.in_this_run == HOLDS else NOT_SUPPORTED


def compare_with_paper(
    paper: str | Path,
    evaluations: Sequence[Path],
    recipe: ComparisonRecipe,
    out_csv: str | Path,
    out_md: str | Path,
    times: Path | None = None,
    scores: Sequence[Path] = (),
    sensitivity: Path | None = None,
) -> list[Outcome]:
    """Write every claim with this run's estimate and verdict.

    Args:
        paper: folder of the published numbers; its ``claims.yaml`` is read.

    Raises:
        BadInput: a file cannot be read, or two methods of a comparison were evaluated on different panels.
    """
    run = Run(
        recipe, _by_cell(evaluations), times, {(path.parent.name, path.stem): path for path in scores}, sensitivity
    )
    claims = read_claims(Path(paper) / "claims.yaml")
    outcomes = [assess(claim, run) for claim in claims]
    head = [f"Claims of arXiv 2601.07224 beside this run. {scale_note(recipe.scale)}", _what_it_shows(recipe.scale)]
    write_table(out_csv, head, COLUMNS, [line for outcome in outcomes for line in _lines(outcome, recipe.scale)])
    write_text(out_md, _as_markdown(outcomes, recipe.scale))
    built = [outcome for outcome in outcomes if outcome.estimates]
    say(f"comparison: {len(built)} of {len(outcomes)} claims have estimates in this run")
    return outcomes


def assess(claim: Claim, run: Run) -> Outcome:
    """Estimate what a claim is about."""
    if claim.quantity["table"] not in run.recipe.targets:
        return Outcome(claim, (), ())
    estimates, missing = _ESTIMATORS[claim.quantity["kind"]](claim, run)
    return Outcome(claim, tuple(estimates), tuple(missing))


def _gains(claim: Claim, run: Run) -> tuple[list[Estimate], list[str]]:
    """Paired differences on the same tasks and seeds, in points."""
    quantity, backbone = claim.quantity, run.backbone(claim)
    webshop_success = quantity["benchmark"] == "webshop" and quantity["metric"] == "success"
    measure = Measure("full_score" if webshop_success else quantity["metric"])

    def values(method: str):
        paths = run.evaluations.get((quantity["benchmark"], backbone, method, quantity["panel"]))
        return read_seeds(paths) if paths else None

    ours = values(quantity["method"])
    if ours is None:
        return [], [quantity["method"]]
    estimates, missing = [], []
    for index, baseline in enumerate(quantity["against"]):
        theirs = values(baseline)
        if theirs is None:
            missing.append(baseline)
            continue
        if (ours[0].panel_sha256, len(ours)) != (theirs[0].panel_sha256, len(theirs)):
            raise BadInput(theirs[0].path, "is not on the panel and seeds of the method", "rebuild the evaluations")
        difference = compare(value_matrix(ours, measure), value_matrix(theirs, measure))
        label = f"{quantity['method']} - {baseline}, {len(ours)} seed(s) x {len(ours[0].task_ids)} tasks"
        bounds = [100 * number for number in (difference.difference, difference.low, difference.high)]
        estimates.append(Estimate(label, *bounds, "points", _published(claim, index)))
    return estimates, missing


def _speedups(claim: Claim, run: Run) -> tuple[list[Estimate], list[str]]:
    times = _times(run, claim)
    method, estimates, missing = claim.quantity["method"], [], []
    for index, baseline in enumerate(claim.quantity["against"]):
        if method in times and baseline in times:
            ratio = times[baseline]["total"] / times[method]["total"]
            estimates.append(_timing(f"{baseline} / {method}", ratio, "times", _published(claim, index)))
        else:
            missing.append(baseline if method in times else method)
    return estimates, missing


def _shares(claim: Claim, run: Run) -> tuple[list[Estimate], list[str]]:
    times = _times(run, claim)
    method = claim.quantity["method"]
    if method not in times:
        return [], [method]
    share = 100 * times[method]["probe"] / times[method]["total"]
    return [_timing(f"probe / total of {method}", share, "percent", _published(claim, 0))], []


def _timing(label: str, value: float, unit: str, published: float | None) -> Estimate:
    return Estimate(label, value, value * (1 - TIMING_TOLERANCE), value * (1 + TIMING_TOLERANCE), unit, published)


def _times(run: Run, claim: Claim) -> dict[str, dict[str, float]]:
    """Seconds of the phases on the claim's benchmark, by method; 0 for a phase that a method does not have."""
    if run.times is None:
        return {}
    table = read_table(run.times)
    columns = {phase: _phase_column(table, phase) for phase in ("probe", "total")}
    times: dict[str, dict[str, float]] = {}
    for index, (benchmark, method) in enumerate(zip(table.column("benchmark"), table.column("method"), strict=True)):
        if benchmark != claim.quantity["benchmark"] or method in times:
            continue
        try:
            seconds = {phase: float(column[index] or 0) for phase, column in columns.items() if column[index] != "-"}
        except ValueError as error:
            raise BadInput(run.times, f"a time of {method!r} is not a number", "rebuild the table") from error
        times[method] = {"probe": 0.0, **seconds}
    return {method: phases for method, phases in times.items() if phases.get("total", 0) > 0}


def _phase_column(table: Table, phase: str) -> list[str]:
    return table.column(f"{phase}_seconds" if f"{phase}_seconds" in table.columns else phase)


def _consensus(claim: Claim, run: Run) -> tuple[list[Estimate], list[str]]:
    """Share of a half that the metrics have in common; interval by a bootstrap over trajectories."""
    key = (claim.quantity["benchmark"], run.backbone(claim))
    if key not in run.scores:
        return [], [f"scores of {'/'.join(key)}"]
    table = read_table(run.scores[key])
    scores = np.array([table.numbers(metric) for metric in METRICS])
    generator = np.random.default_rng(0)
    draws = [scores[:, generator.integers(0, scores.shape[1], scores.shape[1])] for _ in range(RESAMPLES)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile([common_share(draw) for draw in draws], [tail, 100 - tail])
    label = f"Gini, kurtosis and CV, {scores.shape[1]} trajectories of {'/'.join(key)}"
    share = common_share(scores)
    return [Estimate(label, share, float(low), float(high), "percent", _published(claim, 0))], []


def common_share(scores: np.ndarray) -> float:
    """Trajectories above the median of every metric, in percent of the largest such half.

    Args:
        scores: shape (metrics, trajectories).
    """
    halves = scores > np.median(scores, axis=1, keepdims=True)
    largest = halves.sum(axis=1).max()
    return 100 * float(halves.all(axis=0).sum() / largest) if largest else 0.0


def _correlations(claim: Claim, run: Run) -> tuple[list[Estimate], list[str]]:
    """Rank correlations; intervals by Fisher's transformation with the error of Bonett and Wright (2000)."""
    if run.sensitivity is None:
        return [], ["appendix G"]
    table = read_table(run.sensitivity)
    names = zip(*(table.column(name) for name in ("benchmark", "backbone", "metric")), strict=True)
    numbers = zip(table.numbers("spearman"), table.numbers("trajectories"), strict=True)
    estimates = []
    for name, (rho, count) in zip(names, numbers, strict=True):
        low, high = spearman_interval(rho, int(count))
        estimates.append(Estimate(" ".join(name), rho, low, high, "rho", _published(claim, 0)))
    return estimates, []


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


def _by_cell(paths: Sequence[Path]) -> dict[tuple[str, str, str, str], list[Path]]:
    """Evaluation files by (benchmark, backbone, method, panel), which their path names."""
    by_cell: dict[tuple[str, str, str, str], list[Path]] = {}
    for path in map(Path, paths):
        if len(path.parts) < 5:
            raise BadInput(path, "is not .../{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json", "check the path")
        benchmark, backbone, method = path.parts[-5:-2]
        by_cell.setdefault((benchmark, backbone, method, path.stem), []).append(path)
    return by_cell


def _lines(outcome: Outcome, scale: str) -> list[list]:
    claim = outcome.claim
    sign = "<" if claim.below else ">"
    shared = [claim.id, claim.statement, claim.place]
    verdict = outcome.verdict(scale)
    lines = []
    for estimate in outcome.estimates:
        numbers = [f"{number:.2f}" for number in (estimate.value, estimate.low, estimate.high)]
        published = "" if estimate.published is None else f"{estimate.published:g}"
        shown = [estimate.label, *numbers, estimate.unit, f"{sign} {claim.threshold:g}", published]
        lines.append([*shared, *shown, outcome.position(estimate), verdict])
    for label in outcome.missing:
        lines.append([*shared, label, "", "", "", "", f"{sign} {claim.threshold:g}", "", NOT_BUILT, verdict])
    return lines or [[*shared, "", "", "", "", "", f"{sign} {claim.threshold:g}", "", NOT_BUILT, NOT_BUILT]]


def _what_it_shows(scale: str) -> str:
    return WHAT_THE_SCALE_SHOWS[PAPER_SCALE if scale == PAPER_SCALE else "other"]


def _as_markdown(outcomes: Sequence[Outcome], scale: str) -> str:
    lines = ["# The paper's claims beside this run", "", f"**{scale_note(scale)}.**", "", _what_it_shows(scale), ""]
    lines += [
        "Estimates are differences of two methods on the same tasks and seeds with their 95% interval, unless another "
        "unit is given. docs/audit.md has the rule behind the verdicts.",
        "",
        "| claim | this run: estimate [95%] | needed | paper | in this run | verdict |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    for outcome in outcomes:
        claim = outcome.claim
        shown = [_estimate_text(estimate) for estimate in outcome.estimates]
        shown += [f"{label}: {NOT_BUILT}" for label in outcome.missing]
        needed = f"{'<' if claim.below else '>'} {claim.threshold:g}"
        published = ", ".join(f"{number:g}" for number in claim.published) or "figure only"
        cells = [
            f"{claim.statement} ({claim.place})",
            "<br>".join(shown) or "-",
            needed,
            published,
            outcome.in_this_run,
            f"**{outcome.verdict(scale)}**",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _estimate_text(estimate: Estimate) -> str:
    digits = 3 if estimate.unit == "rho" else 1
    numbers = [f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high)]
    return f"{estimate.label}: {numbers[0]} [{numbers[1]}, {numbers[2]}] {estimate.unit}"


_ESTIMATORS: dict[str, Callable[[Claim, Run], tuple[list[Estimate], list[str]]]] = {
    "gain": _gains,
    "speedup": _speedups,
    "share": _shares,
    "consensus": _consensus,
    "spearman": _correlations,
}
