"""What the paper says against what other works publish, and against itself in another place."""

from __future__ import annotations

from prism.core.paper_tables import PAPER_BACKBONE
from prism.core.statistics import wilson_rate
from prism.stages.audit.findings import AGREES, DISAGREES, NOTE, Finding, names
from prism.stages.audit.grid import Sample, samples_of
from prism.stages.audit.ordering import FIRST, shop_rows
from prism.stages.audit.paper import BENCHMARKS, Paper

GIBIBYTE = 2**30
# share of the RL phase that choosing the data may cost and the comparison still be called one of equal compute
EQUAL_COMPUTE = 0.1


def audit_context(paper: Paper) -> list[Finding]:
    """State of the art, the cited baseline, equal compute, memory, the loss, Figure 4, and difficulty."""
    own = {"alfworld": "table 1, seen", "webshop": "table 2"}
    gigpo = {"alfworld": "gigpo", "webshop": f"{PAPER_BACKBONE} gigpo"}
    samples = samples_of(paper)
    return [
        *(_state_of_the_art(paper, benchmark) for benchmark in BENCHMARKS),
        *(_cited_baseline(paper, name, samples[own[name]], gigpo[name]) for name in BENCHMARKS),
        _equal_compute(paper),
        _memory(paper),
        _loss(paper),
        _figure_4(paper),
        _difficulty(paper),
    ]


def _state_of_the_art(paper: Paper, benchmark: str) -> Finding:
    stated, published = paper.number(f"sota-{benchmark}"), paper.outside[f"baseline-{benchmark}"]
    above = stated >= published
    meaning = "above what the cited baseline publishes, which has another backbone and another panel"
    if not above:
        meaning = "the method that the paper cites as the state of the art publishes more, with a smaller backbone"
    return Finding(
        f"sota-{benchmark}",
        f"a success rate of {stated:g} is a new state of the art on {benchmark}",
        paper.places[f"sota-{benchmark}"],
        "against what the cited GiGPO publishes (outside.csv: Qwen2.5-7B)",
        f"stated {stated:g}, published elsewhere {published:g}",
        meaning,
        AGREES if above else DISAGREES,
    )


def _cited_baseline(paper: Paper, benchmark: str, sample: Sample, row: str) -> Finding:
    """GiGPO's row, whose settings are said to be the original ones, against GiGPO's own publication."""
    rate, published = sample.rates[row], paper.outside[f"baseline-{benchmark}"]
    interval = wilson_rate(round(rate * sample.episodes / 10000), sample.episodes)
    inside = interval.low <= published <= interval.high
    meaning = "the row repeats the publication"
    if not inside:
        meaning = (
            "the row is another result than the publication's, beyond chance: backbone, panel and data differ; a gain "
            "over this row is one over the row, not over the published method"
        )
    return Finding(
        f"baseline-gigpo-{benchmark}",
        "GiGPO's baseline strictly follows the original settings",
        "appendix C, tables 1 and 2",
        f"the row's rate with its interval (Wilson, 95%, {sample.episodes} episodes) against the published one",
        f"{rate / 100:.2f} [{interval.low:.1f}, {interval.high:.1f}], published {published:g}",
        meaning,
        AGREES if inside else NOTE,
    )


def _equal_compute(paper: Paper) -> Finding:
    """Episodes that HPT's pass rates cost, in RL steps."""
    a_step, steps = paper.outside["rl-episodes-a-step"], paper.outside["rl-steps"]
    shown, shares = [], []
    for benchmark in BENCHMARKS:
        episodes = paper.outside["hpt-rollouts"] * paper.outside[f"corpus-{benchmark}"]
        shares.append(episodes / a_step / (steps / 2))
        shown.append(f"{benchmark}: {episodes:g} episodes = {episodes / a_step:.0f} RL steps")
    equal = max(shares) <= EQUAL_COMPUTE
    meaning = "choosing the data costs little beside training on it"
    if not equal:
        meaning = (
            f"counting pass rates costs more episodes than the half's {steps / 2:g} RL steps: equal in data, not in "
            "compute; the paper gives HPT no time and does not say how its pass rates were counted"
        )
    return Finding(
        "iso-compute",
        "Random and HPT are iso-compute baselines",
        "section 3.1",
        f"rollouts a task x public corpus (outside.csv), in RL steps of {a_step:g} episodes; the full run: {steps:g}",
        "; ".join(shown),
        meaning,
        AGREES if equal else NOTE,
    )


def _memory(paper: Paper) -> Finding:
    published = "probe-memory" in paper.statements
    weights = 2 * paper.outside["parameters"] / GIBIBYTE
    plain, checkpointed = paper.outside["probe-memory"], paper.outside["probe-memory-checkpointed"]
    meaning = (
        "near a forward pass with gradient checkpointing, which the paper does not mention, and several times as much "
        "without; what a run measures is in its table memory, which a claim of claims.yaml is about"
    )
    return Finding(
        "probe-memory",
        "probing needs nearly the memory of a forward pass",
        "section 2.2",
        "is a number published? weights in bfloat16 against what this project's prober took (outside.csv)",
        f"{'published' if published else 'no number'}; weights {weights:.1f} GiB; probe {checkpointed:g} GiB with "
        f"gradient checkpointing, {plain:g} GiB without",
        "published" if published else meaning,
        AGREES if published else NOTE,
    )


def _loss(paper: Paper) -> Finding:
    equation, appendix = paper.statements["loss-tokens-equation"], paper.statements["loss-tokens-appendix"]
    same = equation == appendix
    meaning = "one loss"
    if not same:
        meaning = (
            "two losses, and two rankings: on 200 trajectories of the demo the two route about a third differently; "
            "this project takes the response tokens"
        )
    return Finding(
        "loss-tokens",
        "the probed loss",
        "section 2.2 and eq. 1; appendix A",
        "tokens that the loss is averaged over, in both places",
        f"equation 1: {equation} tokens; appendix A: {appendix} tokens",
        meaning,
        AGREES if same else DISAGREES,
    )


def _difficulty(paper: Paper) -> Finding:
    """Section 4.2 asks whether the score proxies difficulty, and answers with the result of another routing."""
    published = "score-correlations" in paper.statements
    rows = names([row.method for row in paper.magnitude])
    meaning = (
        "two routings that end differently can still rank trajectories alike; correlations of the score with loss, "
        "length, size and pass rate would answer: a run's table score_correlates has them, and a claim of claims.yaml "
        "is about the one with size"
    )
    return Finding(
        "proxy-difficulty",
        "the score is no proxy of difficulty",
        "section 4.2, table 4",
        "is a correlation of the score with a measure of difficulty published?",
        f"{'published' if published else 'none'}; table 4 compares {rows}",
        "published" if published else meaning,
        AGREES if published else NOTE,
    )


def _figure_4(paper: Paper) -> Finding:
    """The 50% point of Figure 4 is Table 2's CV row; the figure has no numbers."""
    row = shop_rows(paper, FIRST)["prism-cv"]
    expected = f"{row.score / 100:.2f}"
    printed = paper.statements.get("figure4-50-score")
    result = (
        f"table 2, CV: score {expected}, success {row.success / 100:.2f}; figure 4: {printed or 'no printed number'}"
    )
    meaning, verdict = "the figure and the table have one value", AGREES
    if printed is None:
        verdict = NOTE
        meaning = (
            "neither this point nor the inverted U can be checked from the paper; the row's success rate is the one "
            "that no number of successes gives (grid-rates)"
        )
    elif printed != expected:
        meaning, verdict = "one method and two values", DISAGREES
    check = "the point at 50% is the CV row of table 2"
    claim = "performance over the RL share is an inverted U that peaks at 50%"
    return Finding("figure-4", claim, "section 4.3, figure 4", check, result, meaning, verdict)
