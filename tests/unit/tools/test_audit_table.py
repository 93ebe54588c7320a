"""The audit of anybody's table: worked examples of published numbers, and tables whose answer is known."""

import math
from itertools import combinations

import pandas as pd
import pytest

from prism.tools.audit_table import audit_tables

OTHERS = "resources/paper/others"


def by_id(findings):
    return {finding.id: finding for finding in findings}


def on_grid(text, episodes):
    """By formatting every rate that can be, halves rounded up and down."""
    digits = len(text.partition(".")[2])
    shown = set()
    for wins in range(episodes + 1):
        exact = 100 * wins / episodes
        shown |= {f"{exact + tiny:.{digits}f}" for tiny in (-1e-9, 0, 1e-9)}
    return text in shown


def test_sdar_rates_are_of_128_episodes_but_one(root):
    findings = by_id(audit_tables([root / OTHERS / "sdar.csv"]))
    table = pd.read_csv(root / OTHERS / "sdar.csv", comment="#", dtype=str)
    off = [text for text in table["rate"] if not on_grid(text, 128)]
    assert off == ["72.6"]
    assert "9 of 9 rates are k/128" in findings["grid-ALFWorld"].result
    assert findings["grid-ALFWorld"].meaning == "a rate rests on 128 episodes in all"
    assert "8 of 9 rates are k/128" in findings["grid-WebShop"].result
    assert "72.6 is of another number, or a slip" in findings["grid-WebShop"].meaning


def test_agent_r1_rates_are_not_of_single_passes_over_the_whole_splits(root):
    findings = by_id(audit_tables([root / OTHERS / "agent-r1.csv"]))
    table = pd.read_csv(root / OTHERS / "agent-r1.csv", comment="#", dtype=str)
    for split, rows in table.groupby("group"):
        finding = findings[f"grid-{split}"]
        fitting = [text for text, count in zip(rows["rate"], rows["n"], strict=True) if on_grid(text, int(count))]
        assert finding.result.startswith(f"{len(fitting)} of 5 rates")
        assert finding.verdict == "disagrees"
    # 107/140 = 76.428..., which rounds to 76.43
    assert "PPO 76.42, nearest 107/140 = 76.43 (cut, not rounded)" in findings["grid-seen"].result
    assert findings["pairs-seen"].verdict == "not shown"


def test_pairs_are_fishers_tests_with_holms_correction(tmp_path):
    wins = {"a": 100, "b": 90, "c": 60}
    lines = [f"{name},g,{100 * count / 128:.2f},128" for name, count in wins.items()]
    path = write(tmp_path / "t.csv", lines)
    finding = by_id(audit_tables([path]))["pairs-g"]
    p_values = sorted(fisher(wins[one], wins[other]) for one, other in combinations(wins, 2))
    adjusted = [min(1, (3 - rank) * p) for rank, p in enumerate(p_values)]
    assert finding.result == f"2 of 3 pairs differ; not told apart from a: b (p = {max(adjusted):.2g})"
    assert finding.verdict == "not shown"
    clear = write(tmp_path / "u.csv", ["a,g,90.00,100", "b,g,50.00,100"])
    assert by_id(audit_tables([clear]))["pairs-g"].verdict == "agrees"


def fisher(first, second, episodes=128):
    total = first + second
    span = range(max(0, total - episodes), min(episodes, total) + 1)
    ways = {k: math.comb(episodes, k) * math.comb(episodes, total - k) for k in span}
    return sum(way for way in ways.values() if way <= ways[first]) / sum(ways.values())


def write(path, lines, head="method,group,rate,n"):
    path.write_text("\n".join(["# a table", head, *lines]) + "\n")
    return path


def test_the_panels_of_this_paper_are_found_from_its_table_alone(root, tmp_path):
    """No sample size, no names of tasks: the grid gives 128 and the search the only panel of the unseen split."""
    table = pd.read_csv(root / "resources/paper/v1/table1.csv", comment="#", dtype=str)
    unseen = table[table["split"] == "unseen"].set_index("method")
    tasks = list(unseen.columns[3:])
    lines = [f"{method},unseen/{task},{unseen.loc[method, task]}" for task in tasks for method in unseen.index]
    findings = by_id(audit_tables([write(tmp_path / "prism.csv", lines, "method,group,rate")]))
    assert "10 of 10 rates are k/128" in findings["grid-unseen/all"].result
    assert findings["panel-unseen"].verdict == "agrees"
    assert findings["panel-unseen"].result == "all rows: 20/15/39/24/10/20 (the only fit)"
    slipped = [line.replace("74.36", "74.63") for line in lines]
    findings = by_id(audit_tables([write(tmp_path / "slip.csv", slipped, "method,group,rate")]))
    assert findings["panel-unseen-random"].verdict == "disagrees"


def test_a_row_that_two_tables_share_is_found(tmp_path):
    rows = [f"GRPO,g{index},{rate}" for index, rate in enumerate(("46.1", "75.0", "81.2", "67.3"))]
    first = write(tmp_path / "first.csv", [*rows, "ours,g0,50.0", "ours,g1,76.6", "ours,g2,82.0"], "method,group,rate")
    second = write(tmp_path / "second.csv", [row.replace("GRPO", "baseline") for row in rows[:3]], "method,group,rate")
    findings = audit_tables([first, second], tmp_path / "out.csv")
    blocks = [finding for finding in findings if finding.id.startswith("block-")]
    assert [finding.id for finding in blocks] == ["block-first-GRPO-second-baseline"]
    assert blocks[0].result == "3 of 3 rates are equal: 46.1, 75.0, 81.2"
    written = pd.read_csv(tmp_path / "out.csv", comment="#")
    assert list(written["id"]) == [finding.id for finding in findings]


def test_few_coarse_rates_tell_no_sample_size(tmp_path):
    path = write(tmp_path / "t.csv", ["a,g,50", "b,g,61", "c,g,73"], "method,group,rate")
    findings = by_id(audit_tables([path]))
    assert findings["grid-g"].meaning == "rates and digits are too few to tell a sample size"
    assert "pairs-g" not in findings


@pytest.mark.slow
def test_random_tables_are_rarely_given_a_sample_size(tmp_path):
    """Rates of no grid at all: the chance that a size is named is at most the 5% that it is said to be."""
    import numpy as np

    generator, named = np.random.default_rng(0), 0
    for index in range(60):
        lines = [f"m{row},g,{rate:.2f}" for row, rate in enumerate(generator.uniform(0, 100, 10))]
        finding = audit_tables([write(tmp_path / f"{index}.csv", lines, "method,group,rate")])[0]
        named += finding.meaning.startswith("a rate rests")
    assert named / 60 <= 0.1
