"""The audit's checks on tables that are not ours: grids, panels, blocks that stand twice, and pairs of methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from scipy.stats import binom, fisher_exact

from prism.core.comparisons import ALPHA, holm
from prism.core.csv_files import write_table
from prism.stages.audit.findings import AGREES, DISAGREES, NOT_SHOWN, NOTE, Finding, names
from prism.stages.audit.grid import LARGEST_SIZE, Sample, successes_of
from prism.stages.audit.panels import PanelSearch, one_panel, row_without_fit
from prism.stages.audit.paper import Row
from prism.stages.audit.rates import OVERALL, RateTable, read_rates

COLUMNS = ("table", "id", "verdict", "claim", "check", "result", "meaning")
# fewer equal rates can be chance
LEAST_BLOCK = 3


def audit_tables(paths: Sequence[str | Path], out_csv: str | Path | None = None) -> list[Finding]:
    """Check tables of success rates, each alone and against each other.

    Args:
        paths: CSV files with the columns method, group, rate and, where it is known, n. The group ``all``, or
            ``split/all``, is the rate over the others, or over those of the same split.
        out_csv: one finding a line.

    Raises:
        BadInput: a file is not such a table.
    """
    tables = [read_rates(path) for path in paths]
    findings = [finding for table in tables for finding in (*_grids(table), *_panels(table), *_pairs(table))]
    findings += _blocks(tables)
    if out_csv is not None:
        rows = [[finding.place, *(getattr(finding, name) for name in COLUMNS[1:])] for finding in findings]
        write_table(out_csv, ["Audit of published success rates; docs/audit.md explains the checks"], COLUMNS, rows)
    return findings


def _grids(table: RateTable) -> Iterator[Finding]:
    for group in table.groups:
        yield _stated_grid(table, group) if table.stated_episodes(group) else _inferred_grid(table, group)


def _stated_grid(table: RateTable, group: str) -> Finding:
    """Rates against the number of episodes that the table states."""
    rates, whole, off = table.rates(group), table.whole, []
    for method, episodes in table.stated_episodes(group).items():
        rate = rates[method]
        if successes_of(rate, episodes, whole) is None:
            nearest = round(rate * episodes / whole)
            value = f"{100 * nearest / episodes:.{table.decimals}f}"
            cut = " (cut, not rounded)" if whole * nearest // episodes == rate else ""
            off.append(f"{method} {table.texts[group, method]}, nearest {nearest}/{episodes} = {value}{cut}")
    checked = len(table.stated_episodes(group))
    return Finding(
        f"grid-{group}",
        f"{group}: rates are of the stated numbers of episodes",
        table.name,
        "is there a whole number of successes that prints as the rate?",
        f"{checked - len(off)} of {checked} rates" + (f"; not: {'; '.join(off)}" if off else ""),
        "slips, another number of episodes, or means over several runs" if off else "they can be",
        DISAGREES if off else AGREES,
    )


def _inferred_grid(table: RateTable, group: str) -> Finding:
    """The sample size that explains the most rates, if it does so better than chance lets one of many sizes do."""
    rates = table.rates(group)
    size, chance = _inferred(table, group)
    hits = _hits(rates, size, table.whole)
    off = [table.texts[group, name] for name, rate in rates.items() if successes_of(rate, size, table.whole) is None]
    result = f"best: {hits} of {len(rates)} rates are k/{size}; probability by chance, over all sizes: {chance:.2g}"
    meaning = "rates and digits are too few to tell a sample size"
    if chance < ALPHA:
        meaning = f"a rate rests on {size} episodes in all"
        meaning += f"; {names(off)} is of another number, or a slip" if off else ""
    return Finding(
        f"grid-{group}",
        f"{group}: number of episodes behind a rate (not stated)",
        table.name,
        f"sample size up to {LARGEST_SIZE} whose grid holds the most rates beyond chance",
        result,
        meaning,
        NOTE,
    )


def _hits(rates: dict[str, int], episodes: int, whole: int) -> int:
    return sum(successes_of(rate, episodes, whole) is not None for rate in rates.values())


def _inferred(table: RateTable, group: str) -> tuple[int, float]:
    """The sample size whose grid holds the most rates beyond chance, and the probability that chance gives one as good.

    A rate printed in steps of 1/whole lies on the grid of n episodes with probability (n + 1) / (whole + 1); the
    probability is multiplied by the number of sizes tried (Bonferroni).
    """
    rates = table.rates(group)

    def chance(size: int) -> float:
        share = min(1.0, (size + 1) / (table.whole + 1))
        return float(binom.sf(_hits(rates, size, table.whole) - 1, len(rates), share))

    best = min(range(2, LARGEST_SIZE + 1), key=chance)
    return best, min(1.0, (LARGEST_SIZE - 1) * chance(best))


def _episodes(table: RateTable, group: str) -> dict[str, int]:
    """Episodes of every method of a group: stated, or of a sample size that stands out."""
    stated = table.stated_episodes(group)
    if stated:
        return stated
    size, chance = _inferred(table, group)
    if chance >= ALPHA:
        return {}
    rates = table.rates(group)
    return {name: size for name in rates if successes_of(rates[name], size, table.whole) is not None}


def _panels(table: RateTable) -> Iterator[Finding]:
    """Rates by type of task against the rate over all: two decimals are needed for it to say anything."""
    for overall in (group for group in table.groups if group.rpartition("/")[2] == OVERALL):
        prefix = overall[: -len(OVERALL)]
        parts = [group for group in table.groups if group != overall and group.rpartition("/")[0] == prefix[:-1]]
        sizes = set(_episodes(table, overall).values())
        if table.decimals != 2 or len(parts) < 2 or len(sizes) != 1:
            continue
        rates = {group: table.rates(group) for group in (overall, *parts)}
        methods = [name for name in rates[overall] if all(name in rates[part] for part in parts)]
        rows = [
            Row(
                prefix[:-1] or table.name,
                name,
                "",
                "",
                {part: rates[part][name] for part in parts},
                rates[overall][name],
            )
            for name in methods
        ]
        sample = Sample(overall, {name: rates[overall][name] for name in methods}, sizes.pop(), 1)
        alone, groups = PanelSearch(rows, sample).fewest_panels()
        yield from (row_without_fit(row, sample, table.name) for row in alone)
        yield one_panel(prefix[:-1] or OVERALL, groups, sample, table.name)


def _pairs(table: RateTable) -> Iterator[Finding]:
    """Every pair of methods of a group as two unpaired samples: the best against the others."""
    for group in table.groups:
        episodes = _episodes(table, group)
        rates = {name: rate for name, rate in table.rates(group).items() if name in episodes}
        if len(rates) < 2:
            continue
        counts = {name: round(rate * episodes[name] / table.whole) for name, rate in rates.items()}
        pairs = list(combinations(counts, 2))
        p_values = holm([_fisher(*((counts[name], episodes[name]) for name in pair)) for pair in pairs])
        best = max(rates, key=rates.__getitem__)
        tied = [
            f"{pair[pair[0] == best]} (p = {p:.2g})"
            for pair, p in zip(pairs, p_values, strict=True)
            if best in pair and p >= ALPHA
        ]
        different = sum(p < ALPHA for p in p_values)
        yield Finding(
            f"pairs-{group}",
            f"{group}: {best} is the best",
            table.name,
            "Fisher's exact test of every pair, unpaired, Holm over the pairs",
            f"{different} of {len(pairs)} pairs differ; not told apart from {best}: {names(tied)}",
            "chance explains the difference to these as well" if tied else "it is, as published and unpaired",
            NOT_SHOWN if tied else AGREES,
        )


def _fisher(first: tuple[int, int], second: tuple[int, int]) -> float:
    return float(fisher_exact([[wins, episodes - wins] for wins, episodes in (first, second)]).pvalue)


def _blocks(tables: Sequence[RateTable]) -> list[Finding]:
    """Methods with the same rates in all groups that two tables, or two rows of one, have in common."""
    rows = [
        (table.name, method, {group: text for (group, name), text in table.texts.items() if name == method})
        for table in tables
        for method in dict.fromkeys(name for _, name in table.texts)
    ]
    findings = []
    for (first, method, ours), (second, other, theirs) in combinations(rows, 2):
        shared = [group for group in ours if group in theirs]
        if len(shared) >= LEAST_BLOCK and all(ours[group] == theirs[group] for group in shared):
            findings.append(
                Finding(
                    f"block-{first}-{method}-{second}-{other}",
                    f"{method} ({first}) and {other} ({second}) are runs of their own",
                    first if first == second else f"{first}, {second}",
                    f"rows with equal rates in every group that they share, at least {LEAST_BLOCK}",
                    f"{len(shared)} of {len(shared)} rates are equal: {', '.join(ours[group] for group in shared)}",
                    "the row was taken over, or both were scored on one run",
                    NOTE,
                )
            )
    return findings
