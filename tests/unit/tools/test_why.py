"""Snakemake's reasons in words."""

from __future__ import annotations

import pytest

from prism.tools.snakemake_plan import Job
from prism.tools.why import causes_of, changed_settings, describe, explain

PARAMS = "Params have changed since last execution: Union of exclusive params before and now across all output:"
BEFORE, NOW = '{"epsilon":1e-08,"n":[0]}', '{"epsilon":1e-06,"n":[0]}'
FOLLOWS = "Input files updated by another job"
EVALUATION, PANEL = "results/demo/eval/a.json", "results/demo/panels/unseen.json"
REASONS = {
    "scores: alfworld under tiny-llama": f"{PARAMS} before: {BEFORE!r} now: {NOW!r}",
    "panel unseen: a fixed list of tasks": "Updated input files: prism/stages/panels.py",
    "split: 50% to RL by gini": "Input files updated by another job: results/demo/scores/alfworld/tiny-qwen3.csv",
    "evaluate: sft on unseen, seed 0": f"Missing output files: {EVALUATION}; {FOLLOWS}: {PANEL}",
}
JOBS = [
    Job(number, "rule", {}, (), (), None, 0, 1, "python -m prism x", message, reason)
    for number, (message, reason) in enumerate(REASONS.items())
]
# a rule that only gathers files
GATHERS = Job(9, "all", {}, (), (), None, 0, 1, "", "all", "Input files updated by another job: a")


def test_jobs_are_grouped_by_what_makes_them_run():
    explanation = explain([*JOBS, GATHERS])
    assert explanation.causes == {
        "epsilon: 1e-08 -> 1e-06": ["scores: alfworld under tiny-llama"],
        "changed: prism/stages/panels.py": ["panel unseen: a fixed list of tasks"],
        "not there yet, or deleted: results/demo/eval/a.json": ["evaluate: sft on unseen, seed 0"],
    }
    assert explanation.followers == ["split: 50% to RL by gini"]


def test_the_description_counts_every_job_once():
    lines = describe(explain([*JOBS, GATHERS]))
    assert lines[-1] == "4 jobs in all; nothing was run"
    assert "because of those  (1 job)" in lines
    assert describe(explain([])) == ["nothing to do: everything is up to date"]


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ('before: \'{"a":{"b":1},"c":2}\' now: \'{"a":{"b":3},"c":2}\'', ["a.b: 1 -> 3"]),
        ('before: \'{"a":1}\' now: \'{"a":1,"b":2}\'', ["b: none -> 2"]),
        ("before: 3 now: 4", ["setting [3] -> [4]"]),
        ("before: <nothing exclusive> now: 4", ["setting none -> [4]"]),
        ("before: 3, '{\"a\":1}' now: 4, '{\"a\":2}'", ["a: 1 -> 2"]),
        ("before: 'code of splits: 0a' now: 'code of splits: 1b'", ["changed: the code of splits"]),
        (
            """before: 'code of scores: 0a', '{"a":1}' now: 'code of scores: 1b', '{"a":2}'""",
            ["changed: the code of scores", "a: 1 -> 2"],
        ),
        ("something else", []),
    ],
)
def test_changed_settings_are_named(detail, expected):
    assert changed_settings(detail) == expected


def test_a_reason_that_is_not_known_is_kept_as_it_is():
    assert causes_of("Forced execution") == ["Forced execution"]
