"""Task-wise rates against the overall rate: which numbers of tasks a type allow both.

A row of Table 1 holds six rates k_t / n_t and one overall rate K / n. If the row was evaluated on n episodes, whole
numbers n_t with sum n and k_t with sum K must exist. Rows that were evaluated on the same tasks share the n_t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prism.core.paper_tables import TABLE1_PANELS, TASK_TYPES
from prism.stages.audit.findings import AGREES, DISAGREES, NOTE, Finding, names
from prism.stages.audit.grid import Sample, samples_of, successes_of
from prism.stages.audit.paper import Paper, Row

MOST_SHOWN = 4
# (tasks so far, successes so far of every row) -> number of ways, and the first of them
States = dict[tuple[int, ...], tuple[int, list[tuple[int, ...]]]]


@dataclass(frozen=True)
class Fit:
    """Panels that a set of rows can share.

    Attributes:
        count: number of panels.
        panels: the first of them, at most `MOST_SHOWN`: tasks by type.
    """

    count: int
    panels: tuple[Mapping[str, int], ...]

    @property
    def panel(self) -> Mapping[str, int]:
        """The first panel; the only one where `count` is 1."""
        return self.panels[0]


def common_panel(rows: Sequence[Row], sample: Sample) -> Fit | None:
    """The panels on which all rows fit, or None where there is none.

    Dynamic programming over the task types; a state is (tasks so far, successes so far of every row).
    """
    target = (sample.tasks, *(successes_of(row.overall, sample.episodes) for row in rows))
    if None in target:
        return None
    options = {task: _options(rows, task, sample) for task in rows[0].tasks}
    # the types with the fewest options first: there are fewer states to extend later
    order = sorted(options, key=lambda task: len(options[task]))
    states: States = {(0,) * len(target): (1, [()])}
    for task in order:
        states = _extend(states, options[task], target)
    if target not in states:
        return None
    count, panels = states[target]
    by_task = [dict(zip(order, panel, strict=True)) for panel in panels]
    return Fit(count, tuple({task: panel[task] for task in options} for panel in by_task))


def reachable_successes(row: Row, sample: Sample) -> list[int]:
    """Total successes that a row's task-wise rates allow, over all panels of the sample's size."""
    largest = (sample.tasks, sample.episodes)
    states: States = {(0, 0): (1, [()])}
    for task in row.tasks:
        states = _extend(states, _options([row], task, sample), largest)
    return sorted(successes for tasks, successes in states if tasks == sample.tasks)


def _options(rows: Sequence[Row], task: str, sample: Sample) -> list[tuple[int, ...]]:
    """Numbers of tasks of one type that every row allows, ascending, each with the rows' successes."""
    options = []
    for tasks in range(1, sample.tasks + 1):
        successes = [successes_of(row.tasks[task], tasks * sample.runs) for row in rows]
        if None not in successes:
            options.append((tasks, *successes))
    return options


def _extend(states: States, options: list[tuple[int, ...]], target: tuple[int, ...]) -> States:
    """One task type more; totals beyond the target are dropped."""
    extended: States = {}
    for state, (count, panels) in states.items():
        for option in options:
            if state[0] + option[0] > target[0]:
                break
            total = tuple([value + more for value, more in zip(state, option, strict=True)])
            if any(value > limit for value, limit in zip(total, target, strict=True)):
                continue
            before, shown = extended.get(total, (0, []))
            if room := MOST_SHOWN - len(shown):
                shown = shown + [(*panel, option[0]) for panel in panels[:room]]
            extended[total] = (before + count, shown)
    return extended


class PanelSearch:
    """Which rows can share a panel; every set of rows is tried once."""

    def __init__(self, rows: Sequence[Row], sample: Sample) -> None:
        self.rows, self.sample = rows, sample
        self._fits: dict[frozenset[int], Fit | None] = {}

    def fit(self, group: frozenset[int]) -> Fit | None:
        """Panels of a group of rows, given by their positions."""
        if group not in self._fits:
            self._fits[group] = common_panel([self.rows[index] for index in sorted(group)], self.sample)
        return self._fits[group]

    def fewest_panels(self) -> tuple[list[Row], list[tuple[list[Row], Fit]]]:
        """Rows that fit no panel, and the others in as few groups as possible, each group with its panels.

        Of several groupings of the same size, the one that keeps early rows together comes first.
        """
        everyone = frozenset(range(len(self.rows)))
        if whole := self.fit(everyone):
            return [], [(list(self.rows), whole)]
        alone = [index for index in sorted(everyone) if self.fit(frozenset({index})) is None]
        best: list[tuple[frozenset[int], ...]] = []
        self._assign(sorted(everyone - set(alone)), (), best)
        groups = [([self.rows[index] for index in sorted(group)], self.fit(group)) for group in best[0]]
        return [self.rows[index] for index in alone], groups

    def _assign(self, waiting: list[int], groups: tuple[frozenset[int], ...], best: list) -> None:
        if best and len(groups) >= len(best[0]):
            return
        if not waiting:
            best[:] = [groups]
            return
        row, *rest = waiting
        for position, group in enumerate(groups):
            # two rows at a time first: most groups fail there, and pairs are asked for again and again
            if all(self.fit(frozenset({row, other})) for other in group) and self.fit(group | {row}):
                self._assign(rest, (*groups[:position], group | {row}, *groups[position + 1 :]), best)
        self._assign(rest, (*groups, frozenset({row})), best)


def audit_panels(paper: Paper) -> list[Finding]:
    """Both halves of Table 1: one panel for all rows? one that exists?"""
    samples = samples_of(paper)
    findings = []
    for split in TABLE1_PANELS:
        rows, sample = paper.rows(split), samples[f"table 1, {split}"]
        alone, groups = PanelSearch(rows, sample).fewest_panels()
        findings += [row_without_fit(row, sample, f"table 1, {split}") for row in alone]
        findings.append(one_panel(split, groups, sample, f"table 1, {split}"))
        findings.append(_existing_games(split, groups, paper.games[split]))
        if len(groups) > 1:
            findings.append(_same_mix(split, rows, groups))
    return findings


def row_without_fit(row: Row, sample: Sample, place: str) -> Finding:
    """A row that no panel of the sample's size gives."""
    needed = successes_of(row.overall, sample.episodes)
    possible = reachable_successes(row, sample)
    total = sample.episodes
    # verl-agent's WebShop script evaluates twice 128 episodes
    twice = replace(sample, episodes=2 * total)
    larger = common_panel([row], twice)
    result = f"All needs {needed}/{total}; the task-wise rates allow {names([str(k) for k in possible])}"
    meaning = "no panel of this size gives this row: at least one of its numbers is of another evaluation, or a slip"
    if larger:
        result += f"; {twice.episodes} episodes allow {larger.count} panels"
        meaning = (
            f"at least one number is a slip, or the row is of {twice.episodes} episodes where others are of {total}"
        )
    return Finding(
        f"panel-{row.split}-{row.method}",
        f"{row.method}: task-wise rates and All are of one evaluation of {total} episodes, as the other rows are",
        place,
        f"search for whole numbers of tasks a type that add up to {sample.tasks} and give every printed rate",
        result,
        meaning,
        DISAGREES,
    )


def one_panel(split: str, groups: list[tuple[list[Row], Fit]], sample: Sample, place: str) -> Finding:
    """Whether all rows can be of one panel."""
    parts = []
    for rows, fit in groups:
        label = "all rows" if len(groups) == 1 else names([row.method for row in rows])
        panels = " or ".join(map(_composition, fit.panels))
        more = "the only fit" if fit.count == 1 else f"{fit.count} fits"
        parts.append(f"{label}: {panels} ({more})")
    meaning = "the methods were compared on one set of task types"
    verdict = AGREES
    if len(groups) > 1:
        verdict = DISAGREES
        meaning = (
            f"at least {len(groups)} different panels: rows of different panels differ by the mix of easy and hard "
            "task types as well as by the method"
        )
    return Finding(
        f"panel-{split}",
        "the rows of a split are comparable",
        place,
        f"fewest panels of {sample.tasks} tasks on which every row's rates are whole numbers of successes",
        "; ".join(parts),
        meaning,
        verdict,
    )


def _existing_games(split: str, groups: list[tuple[list[Row], Fit]], games: Mapping[str, int]) -> Finding:
    panels = [fit.panel for _, fit in groups if fit.count == 1] or [groups[0][1].panel]
    excess = {task: most for task in TASK_TYPES if (most := max(panel[task] for panel in panels)) > games.get(task, 0)}
    check = f"tasks a type against the {sum(games.values())} games of the split"
    if not excess:
        result = "no type has more tasks than games exist"
        return Finding(
            f"games-{split}",
            "tasks are the split's own",
            f"table 1, {split}",
            check,
            result,
            "drawn without repeats",
            AGREES,
        )
    result = ", ".join(f"{most} {task} tasks, {games[task]} games" for task, most in excess.items())
    return Finding(
        f"games-{split}",
        "tasks are the split's own",
        f"table 1, {split}",
        check,
        result,
        "tasks were drawn with repeats, so the episodes of a panel are fewer distinct tasks than episodes",
        NOTE,
    )


def _same_mix(split: str, rows: Sequence[Row], groups: list[tuple[list[Row], Fit]]) -> Finding:
    """Every method on the mix of task types that the paper's own method was evaluated on."""
    panel = next(fit.panel for members, fit in groups if any(row.method == "prism-gini" for row in members))
    total = sum(panel.values())
    shown = []
    for row in rows:
        mixed = sum(panel[task] * row.tasks[task] for task in TASK_TYPES) / total / 100
        shown.append(f"{row.method} {mixed:.1f} (published {row.overall / 100:.2f})")
    return Finding(
        f"mix-{split}",
        "differences between the rows' overall rates",
        f"table 1, {split}",
        f"task-wise rates weighted by the panel of prism-gini ({_composition(panel)})",
        ", ".join(shown),
        "how much of each difference is left when the mix of task types is the same",
        NOTE,
    )


def _composition(panel: Mapping[str, int]) -> str:
    return "/".join(map(str, panel.values()))
