"""Table 3: sums, ratios, the probe's share, and what the times imply."""

from __future__ import annotations

from prism.stages.audit.findings import AGREES, DISAGREES, NOTE, Finding, names
from prism.stages.audit.paper import Paper, TimeRow

# times are printed in minutes: rounded or cut, the true one is less than this away
PRINTED_SECONDS = 60
BASELINE = "grpo"
PRISM = "prism-gini"
# share of a speed-up above which a random split is said to have it too
MOST = 0.5
HYBRID_BASELINES = ("hpt", "sft-then-rl")


def audit_times(paper: Paper) -> list[Finding]:
    """Everything that Table 3 allows to recompute."""
    rows = {(row.benchmark, row.method): row for row in paper.times}
    benchmarks = list(dict.fromkeys(row.benchmark for row in paper.times))
    findings = [_totals(paper), _speedups(paper, rows), _hybrid_times(paper)]
    findings += [_probe_share(paper, rows[benchmark, PRISM]) for benchmark in benchmarks]
    findings += [_random_share(rows, benchmark) for benchmark in benchmarks]
    findings.append(_time_saved(paper, rows))
    findings.append(_rl_budget(paper, rows, benchmarks))
    findings += [_throughput(paper, rows[benchmark, PRISM]) for benchmark in benchmarks]
    return findings


def _totals(paper: Paper) -> Finding:
    off = []
    for row in paper.times:
        parts = row.probe + row.sft + row.rl
        if abs(row.total - parts) >= 2 * PRINTED_SECONDS:
            off.append(f"{_name(row)}: parts {_clock(parts)}, total {_clock(row.total)}")
    result = f"{len(paper.times) - len(off)} of {len(paper.times)} totals are the sum of their phases to the minute"
    result += f"; not: {'; '.join(off)}" if off else ""
    meaning = "totals do not follow from their phases" if off else "the totals are sums"
    check = "probe + SFT + RL against the total; times are printed in minutes"
    return Finding("time-totals", "total times", "table 3", check, result, meaning, DISAGREES if off else AGREES)


def _speedups(paper: Paper, rows: dict[tuple[str, str], TimeRow]) -> Finding:
    shown, impossible, rounded = [], [], True
    for row in paper.times:
        if row.method == BASELINE:
            continue
        base, parts = rows[row.benchmark, BASELINE].total, row.probe + row.sft + row.rl
        low = (base - PRINTED_SECONDS) / (row.total + PRINTED_SECONDS)
        high = (base + PRINTED_SECONDS) / (row.total - PRINTED_SECONDS)
        published = row.speedup / 100
        by_parts, by_total = base / parts, base / row.total
        if published not in (round(by_parts, 2), round(by_total, 2)):
            rounded = False
        shown.append(
            f"{_name(row)}: {by_parts:.3f} by the phases, {by_total:.3f} by the totals, published {published:.2f}"
        )
        if not low - 0.005 <= published <= high + 0.005:
            impossible.append(_name(row))
    check = "time of GRPO / time of the method, once by the sum of the phases, once by the printed total"
    meaning, verdict = "the ratios are those of the printed times", AGREES
    if impossible:
        meaning, verdict = f"not possible with the printed times: {', '.join(impossible)}", DISAGREES
    elif not rounded:
        meaning = "within the precision of the printed minutes; some are cut after the second decimal, not rounded"
        verdict = NOTE
    return Finding("time-speedups", "speed-ups", "table 3", check, "; ".join(shown), meaning, verdict)


def _probe_share(paper: Paper, row: TimeRow) -> Finding:
    share = 100 * row.probe / (row.probe + row.sft + row.rl)
    low, high = paper.number("probe-share-low"), paper.number("probe-share-high")
    agrees = low <= round(share, 1) <= high
    meaning = f"the share is {'below' if share < low else 'above'} the stated range; table 3 does not give it"
    return Finding(
        f"probe-share-{row.benchmark}",
        f"probing takes about {low:g} to {high:g} percent of the wall-clock time, as table 3 reports",
        paper.places["probe-share-low"],
        f"probe / (probe + SFT + RL) of {row.method} on {row.benchmark}",
        f"{_clock(row.probe)} of {_clock(row.total)}: {share:.2f}%",
        "the stated range" if agrees else meaning,
        AGREES if agrees else DISAGREES,
    )


def _random_share(rows: dict[tuple[str, str], TimeRow], benchmark: str) -> Finding:
    """How much of the speed-up a random split of the same size already has."""
    ours, random = rows[benchmark, PRISM].speedup, rows[benchmark, "random"].speedup
    share = (random - 100) / (ours - 100)
    due = share <= MOST
    meaning = "the speed-up comes from training RL on half the data after SFT; the choice of the half adds the rest"
    return Finding(
        f"speedup-random-{benchmark}",
        f"routing makes training {ours / 100:.2f} times as fast",
        "abstract, section 4.4, table 3",
        f"speed-up of a random split of the same size, {benchmark}",
        f"random {random / 100:.2f}x, {PRISM} {ours / 100:.2f}x: {share:.0%} of the gain; {ours / random:.2f}x over it",
        "the choice of the half has most of the gain" if due else meaning,
        AGREES if due else NOTE,
    )


def _time_saved(paper: Paper, rows: dict[tuple[str, str], TimeRow]) -> Finding:
    base = rows["webshop", BASELINE].total
    saved = {row.method: 100 * (1 - row.total / base) for row in paper.times if _is_prism(row, "webshop")}
    stated = paper.number("webshop-time-saved")
    best = max(saved.values())
    agrees = abs(best - stated) <= 5
    result = ", ".join(f"{method} {share:.1f}%" for method, share in saved.items())
    meaning = "holds for the fastest metric; the text's main method is Gini" if agrees else "no metric saves that much"
    claim = f"wall-clock time on WebShop is reduced by nearly {stated:g} percent"
    place = paper.places["webshop-time-saved"]
    verdict = AGREES if agrees else DISAGREES
    return Finding("time-saved", claim, place, "1 - total / GRPO's total", result, meaning, verdict)


def _rl_budget(paper: Paper, rows: dict[tuple[str, str], TimeRow], benchmarks: list[str]) -> Finding:
    shares = {benchmark: 100 * rows[benchmark, PRISM].rl / rows[benchmark, BASELINE].rl for benchmark in benchmarks}
    stated = paper.number("rl-budget")
    near = all(abs(share - stated) <= 5 for share in shares.values())
    result = ", ".join(f"{benchmark} {share:.1f}%" for benchmark, share in shares.items())
    meaning = "half the data is half the RL time"
    if not near:
        meaning = (
            "half the data is not half the RL time: episodes after SFT are shorter or longer than GRPO's. SFT-then-RL, "
            "which the claim is about, has no time in the paper"
        )
    claim = f"RL takes {stated:g} percent of the budget"
    place, check = paper.places["rl-budget"], "RL time / GRPO's RL time"
    return Finding("rl-budget", claim, place, check, result, meaning, AGREES if near else NOTE)


def _hybrid_times(paper: Paper) -> Finding:
    """Which of the hybrid methods that PRISM is said to outperform at less cost have a time at all."""
    missing = [
        method
        for method in HYBRID_BASELINES
        if {row.benchmark for row in paper.times if row.method == method} < {row.benchmark for row in paper.times}
    ]
    timed = sorted({row.method for row in paper.times if row.sft and not row.method.startswith("prism-")})
    meaning = "the hybrid baselines were timed"
    if missing:
        meaning = (
            f"the stated speed-up is against {BASELINE}, which is no hybrid method; against {names(missing)} none can "
            "be computed"
        )
    return Finding(
        "speedup-hybrids",
        f"hybrid methods are outperformed at a cost reduced by up to {paper.number('speedup'):g} times",
        "abstract, table 3",
        "methods of table 3 that have both an SFT and an RL phase, PRISM's own left out",
        f"timed: {names(timed)}; without a time: {names(missing)}",
        meaning,
        NOTE if missing else AGREES,
    )


def _throughput(paper: Paper, row: TimeRow) -> Finding:
    """Arithmetic speed of the probe in each layout that the text allows, 6 FLOP a weight and token."""
    padded, gpus = paper.number(f"probe-tokens-{row.benchmark}"), paper.number("probe-gpus")
    corpus, peak = paper.outside[f"corpus-{row.benchmark}"], paper.outside["peak-flops"]
    layouts = {
        f"one sequence, padded to {padded:g} tokens": padded,
        "one sequence of": paper.outside[f"tokens-sequence-{row.benchmark}"],
        "a prompt a step, in all": paper.outside[f"tokens-steps-{row.benchmark}"],
    }
    shown, shares = [], []
    for layout, tokens in layouts.items():
        work = 6 * paper.outside["layer-parameters"] * tokens
        needed = corpus * work / row.probe / gpus
        allowed = paper.outside["good-utilisation"] * peak * gpus * row.probe / work
        label = layout if tokens == padded else f"{layout} {tokens:g} tokens"
        shown.append(f"{label}: {needed / 1e12:.0f} TFLOP/s, or {allowed:.0f} trajectories")
        shares.append(needed / peak)
    plausible = max(shares) <= paper.outside["good-utilisation"]
    result = (
        f"{corpus:g} trajectories in {row.probe} s need on each of {gpus:g} GPUs (peak {peak / 1e12:.0f}), or what "
        f"{paper.outside['good-utilisation']:.0%} of the peak allows: {'; '.join(shown)}"
    )
    meaning = "the time is long enough for the public corpus in every layout"
    if not plausible:
        fits = "none of them" if min(shares) > 1 else "one unpadded sequence a trajectory"
        meaning = (
            f"the time is too short for a prompt a step; {fits} fits below the peak. Layout and size of the corpus, "
            "which the paper does not state, decide what was probed"
        )
    return Finding(
        f"probe-throughput-{row.benchmark}",
        f"probing takes {_clock(row.probe)} with sequences of {padded:g} tokens",
        "appendix C, table 3",
        "FLOP of forward and backward pass for the public expert corpus, by layout (assumed: outside.csv)",
        result,
        meaning,
        AGREES if plausible else NOTE,
    )


def _is_prism(row: TimeRow, benchmark: str) -> bool:
    return row.benchmark == benchmark and row.method.startswith("prism-")


def _name(row: TimeRow) -> str:
    return f"{row.benchmark} {row.method}"


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return (f"{hours}h " if hours else "") + f"{minutes}m" + (f" {seconds}s" if seconds else "")
