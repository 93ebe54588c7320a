"""Differences, orders and numbers that stand in two places."""

from __future__ import annotations

from prism.stages.audit.findings import AGREES, DISAGREES, NOTE, Finding
from prism.stages.audit.paper import Paper, ShopRow

HYBRIDS = ("random", "hpt", "sft-then-rl")
FIRST, SECOND = 0, 1


def audit_ordering(paper: Paper) -> list[Finding]:
    """Stated gains, "outperforms all", Table 4 against Tables 1 and 2, score against success rate, warm starts."""
    return [
        *_stated_gains(paper),
        _outperforms(paper),
        _outperforms_sequential(paper),
        _repeated_numbers(paper),
        _score_above_success(paper),
        _score_of_failures(paper),
        _warm_starts(paper),
    ]


def alfworld_rates(paper: Paper, split: str) -> dict[str, int]:
    """Overall success rates of one half of Table 1, hundredths of a percent, by method."""
    return {row.method: row.overall for row in paper.rows(split)}


def shop_rows(paper: Paper, position: int) -> dict[str, ShopRow]:
    """Rows of Table 2 of the first (0) or second (1) backbone, by method."""
    backbones = list(dict.fromkeys(row.backbone for row in paper.webshop))
    return {row.method: row for row in paper.webshop if row.backbone == backbones[position]}


def _stated_gains(paper: Paper) -> list[Finding]:
    seen, unseen = alfworld_rates(paper, "seen"), alfworld_rates(paper, "unseen")
    second = shop_rows(paper, SECOND)
    magnitude = {row.method: row for row in paper.magnitude}
    gains = {
        "gain-seen-sft-then-rl": seen["prism-gini"] - seen["sft-then-rl"],
        "gain-unseen-sft-then-rl": unseen["prism-gini"] - unseen["sft-then-rl"],
        "gain-llama-sft-then-rl": second["prism-gini"].success - second["sft-then-rl"].success,
        "gain-webshop-magnitude": magnitude["prism-gini"].score - magnitude["magnitude-l2"].score,
    }
    findings = []
    for name, gain in gains.items():
        stated = paper.statements[name]
        decimals = len(stated.partition(".")[2])
        # half a unit of the last printed digit
        agrees = abs(gain / 100 - float(stated)) <= 0.5 * 10**-decimals + 1e-9
        result = f"stated {stated}, tables {gain / 100:.2f}"
        meaning = "the text quotes its tables" if agrees else "the text and the tables give different differences"
        place, verdict = paper.places[name], AGREES if agrees else DISAGREES
        findings.append(
            Finding(name, "stated gain", place, "difference of the table's values", result, meaning, verdict)
        )
    return findings


def _outperforms(paper: Paper) -> Finding:
    """Table 1's caption: PRISM, whichever metric, above every hybrid baseline."""
    exceptions, comparisons = [], 0
    for split in ("seen", "unseen"):
        rates = alfworld_rates(paper, split)
        for method in _prism_methods(rates):
            for baseline in filter(rates.__contains__, HYBRIDS):
                comparisons += 1
                if rates[method] <= rates[baseline]:
                    exceptions.append(
                        f"{split}: {method} {rates[method] / 100:.2f}, {baseline} {rates[baseline] / 100:.2f}"
                    )
    return _order_finding(
        "order-alfworld",
        "PRISM is above all hybrid baselines",
        "caption of table 1",
        "each of the metrics against each hybrid baseline, both splits",
        exceptions,
        comparisons,
    )


def _outperforms_sequential(paper: Paper) -> Finding:
    """Table 2's caption: PRISM consistently above SFT-then-RL."""
    exceptions, comparisons = [], 0
    for position in (FIRST, SECOND):
        rows = shop_rows(paper, position)
        baseline = rows["sft-then-rl"]
        for method in _prism_methods(rows):
            for name in ("success", "score"):
                comparisons += 1
                ours, theirs = getattr(rows[method], name), getattr(baseline, name)
                if ours <= theirs:
                    label = f"{baseline.backbone}, {name}"
                    exceptions.append(f"{label}: {method} {ours / 100:.2f}, sft-then-rl {theirs / 100:.2f}")
    return _order_finding(
        "order-webshop",
        "PRISM is consistently above SFT-then-RL",
        "caption of table 2",
        "each of the metrics against SFT-then-RL, both backbones, both measures",
        exceptions,
        comparisons,
    )


def _order_finding(name: str, claim: str, place: str, check: str, exceptions: list[str], comparisons: int) -> Finding:
    result = f"{comparisons - len(exceptions)} of {comparisons} comparisons are above"
    meaning = "the order holds in the published numbers"
    if exceptions:
        result += f"; not: {'; '.join(exceptions)}"
        meaning = "the claim holds for Gini; not for every metric"
        if any("prism-gini" in exception for exception in exceptions):
            meaning = "the claim does not hold in the published numbers"
    return Finding(name, claim, place, check, result, meaning, DISAGREES if exceptions else AGREES)


def _repeated_numbers(paper: Paper) -> Finding:
    row = next(row for row in paper.magnitude if row.method == "prism-gini")
    first, seen = shop_rows(paper, FIRST)["prism-gini"], alfworld_rates(paper, "seen")["prism-gini"]
    agrees = row.score == first.score and row.success == seen
    result = f"table 4: {row.score / 100:.2f}, {row.success / 100:.2f}; "
    result += f"tables 2 and 1: {first.score / 100:.2f}, {seen / 100:.2f}"
    meaning = "table 4 repeats the first backbone on WebShop and the seen split" if agrees else "they differ"
    verdict = AGREES if agrees else DISAGREES
    return Finding("table-4", "the Gini row of table 4", "table 4", "against tables 1 and 2", result, meaning, verdict)


def _score_above_success(paper: Paper) -> Finding:
    """A success is a score of 1 and every score is at least 0, so the mean score cannot be below the success rate."""
    below = [f"{row.backbone} {row.method}" for row in paper.webshop if row.score < row.success]
    result = f"{len(paper.webshop) - len(below)} of {len(paper.webshop)} rows have a score of at least the success rate"
    result += f"; not: {', '.join(below)}" if below else ""
    meaning = "impossible rows" if below else "possible; a score has no grid, so nothing more can be said of it"
    check = "average score against success rate"
    return Finding(
        "score-success", "WebShop's scores", "table 2", check, result, meaning, DISAGREES if below else AGREES
    )


def _score_of_failures(paper: Paper) -> Finding:
    """A success scores 1, so that the mean score of the failures follows from score and success rate."""
    means = {
        f"{row.backbone} {row.method}": 100 * (row.score - row.success) / (10000 - row.success)
        for row in paper.webshop
        if row.success < 10000
    }
    # a score is printed to a hundredth of a percent
    nothing = [name for name, mean in means.items() if mean < 0.01]
    low, high = min(means.values()), max(means.values())
    result = f"mean score of a failed episode, percent: {low:.1f} to {high:.1f}"
    meaning = "failed episodes score something, as WebShop's partial rewards do"
    if nothing:
        others = {name: mean for name, mean in means.items() if name not in nothing and name.endswith(" base")}
        result += f"; 0 for {', '.join(nothing)}"
        result += "".join(f"; {name}: {mean:.1f}" for name, mean in others.items())
        meaning = (
            "every failed episode of this row bought nothing, or a wrong product at no reward at all: an unparsed "
            "format does that, a model that shops badly hardly"
        )
    check = "(score - success rate) / (1 - success rate)"
    return Finding("score-failures", "WebShop's scores", "table 2", check, result, meaning, NOTE if nothing else AGREES)


def _warm_starts(paper: Paper) -> Finding:
    cold = [row.method for row in paper.rows("seen") if row.rl != "-" and row.sft == "-"]
    warm = [row.method for row in paper.rows("seen") if row.rl != "-" and row.sft != "-"]
    result = f"RL without SFT before it: {', '.join(cold) or 'none'}; with: {', '.join(warm)}"
    check = "which rows with RL have an SFT phase"
    claim = "routing is above GRPO and GiGPO"
    if not cold:
        return Finding("warm-start", claim, "section 3.2", check, result, "all rows start alike", AGREES)
    meaning = (
        f"a difference to {', '.join(cold)} is the sum of an SFT start, half the RL data and the routing; the random "
        "split has the first two, so only the difference to it is due to the routing"
    )
    return Finding("warm-start", claim, "section 3.2", check, result, meaning, NOTE)


def _prism_methods(rows: dict) -> list[str]:
    return [method for method in rows if method.startswith("prism-")]
