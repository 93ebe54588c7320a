"""Schedule of the run: when each job ran, from Snakemake's benchmark files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prism.core.run_times import RunTime, duration, read_run
from prism.stages.figures.style import GREY, LABEL_SIZE, PAGE, SERIES, FigureFiles, finish, new_figure

ROW_INCHES = 0.17
# a stretch without any job, as between two calls of the workflow, is cut down to the smaller of the two
IDLE_SECONDS, CUT_SECONDS = 60.0, 15.0


def draw(times: Sequence[Path], out: FigureFiles) -> None:
    """Draw a row a rule, in the order in which they began, and a bar a job; idle stretches are cut out and marked.

    Args:
        times: the folder of Snakemake's benchmark files, a single one.

    Raises:
        BadInput: the folder holds no benchmark file.
    """
    (folder,) = times
    jobs = read_run(folder)
    shown, cuts = cut_idle_time(jobs)
    rules = list(dict.fromkeys(job.rule for job in shown))
    unit, seconds = ("minutes", 60.0) if shown_end(shown) < 3 * 3600 else ("hours", 3600.0)
    figure, axes = new_figure(PAGE, 0.6 + ROW_INCHES * len(rules))
    panel = axes[0, 0]
    for row, rule in enumerate(rules):
        own = [job for job in shown if job.rule == rule]
        bars = [(job.start / seconds, job.seconds / seconds) for job in own]
        panel.broken_barh(
            bars, (row - 0.38, 0.76), facecolor=SERIES[row % len(SERIES)], alpha=0.75, edgecolor="white", linewidth=0.3
        )
        total = sum(job.seconds for job in own)
        text = f"{len(own)} job{'s' if len(own) > 1 else ''}, {duration(total)}"
        panel.text(1.01, row, text, transform=panel.get_yaxis_transform(), va="center", fontsize=LABEL_SIZE - 1)
    for cut in cuts:
        panel.axvline(cut / seconds, color=GREY, linestyle=":", linewidth=0.8)
    panel.set_yticks(range(len(rules)), rules)
    panel.set_ylim(len(rules) - 0.4, -0.6)
    panel.set_xlim(0, shown_end(shown) / seconds)
    panel.set_xlabel(unit)
    panel.grid(axis="x", color="0.92", linewidth=0.5)
    panel.set_axisbelow(True)
    note = "A bar is a job: it ends when its benchmark file was written and is as long as that file says."
    if cuts:
        note += f" Dotted: {len(cuts)} stretch(es) of more than {IDLE_SECONDS:.0f} s without a job, cut out."
    finish(figure, [note], out)


def cut_idle_time(jobs: list[RunTime]) -> tuple[list[RunTime], list[float]]:
    """Jobs, sorted by start, on a clock that starts at 0 and skips idle stretches; and where it skipped."""
    shown, cuts = [], []
    skipped = busy_until = jobs[0].start
    for job in jobs:
        idle = job.start - busy_until
        if idle > IDLE_SECONDS:
            skipped += idle - CUT_SECONDS
            cuts.append(job.start - skipped - CUT_SECONDS / 2)
        busy_until = max(busy_until, job.end)
        shown.append(replace(job, end=job.end - skipped))
    return shown, cuts


def shown_end(jobs: list[RunTime]) -> float:
    """When the last job ended."""
    return max(job.end for job in jobs)
