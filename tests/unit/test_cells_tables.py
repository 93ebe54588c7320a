"""Cells and Table 1: every number is recomputed here from the episodes by other means."""

import json

import pandas as pd
import pytest
from scipy.stats import norm

from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.core.statistics import wilson_rate
from prism.core.tablenames import TABLE1_COLUMNS
from prism.stages.cells import CellContext, write_table1_row
from prism.stages.tables import build_table1, print_table

PAPER = (
    "split,method,sft,rl,pick,look,clean,heat,cool,pick2,all\n"
    "seen,sft,100,-,78.57,78.57,42.86,16.67,26.92,28.57,45.31\n"
)


def evaluation(path, seed, outcomes, panel="p"):
    episodes = [{"task_type": kind, "success": success} for kind, success in outcomes]
    write_json(path, {"seed": seed, "panel": "seen", "panel_sha256": panel, "episodes": episodes})
    return path


@pytest.fixture
def row(tmp_path):
    """Two seeds of one method on a panel without look tasks."""
    (tmp_path / "paper.csv").write_text("# source\n" + PAPER)
    runs = [
        evaluation(tmp_path / "s0.json", 0, [("pick", True), ("pick", False), ("heat", False)]),
        evaluation(tmp_path / "s1.json", 1, [("pick", True), ("pick", True), ("heat", False)]),
    ]
    context = CellContext("seen", "sft", "tiny", "100", "-", "demo")
    write_table1_row(context, runs, tmp_path / "paper.csv", tmp_path / "cells")
    return tmp_path


def wilson_by_formula(successes, n):
    z = norm.ppf(0.975)
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return 100 * (middle - half), 100 * (middle + half)


@pytest.mark.parametrize(("successes", "n"), [(0, 48), (16, 48), (48, 48), (122, 128)])
def test_wilson_interval(successes, n):
    rate = wilson_rate(successes, n)
    low, high = wilson_by_formula(successes, n)
    assert rate.value == pytest.approx(100 * successes / n)
    assert rate.low == pytest.approx(low, abs=1e-9)
    assert rate.high == pytest.approx(high, abs=1e-9)


def test_the_papers_interval():
    """The Wilson interval of 122 of 128 is 90.2 to 97.8."""
    rate = wilson_rate(122, 128)
    assert (round(rate.low, 1), round(rate.high, 1)) == (90.2, 97.8)


def test_cells(row):
    cells = {column: json.loads((row / "cells" / f"{column}.json").read_text()) for column in TABLE1_COLUMNS}
    assert cells["pick"]["value"] == 75.0
    assert cells["pick"]["seeds"]["0"]["value"] == 50.0
    assert cells["heat"]["value"] == 0.0
    assert cells["look"]["value"] is None
    assert cells["all"]["value"] == 50.0
    assert cells["all"]["episodes"] == 6
    assert cells["all"]["paper"]["value"] == 45.31
    assert len(cells["all"]["evaluations"]) == 2


def test_table(row):
    files = list((row / "cells").glob("*.json"))
    build_table1(files, ["sft"], "demo", row / "t.csv", row / "t.md")
    first = (row / "t.csv").read_text().splitlines()[0]
    assert first.startswith("#")
    assert "DEMO SCALE" in first
    table = pd.read_csv(row / "t.csv", comment="#", dtype={"rl": str})
    low, high = wilson_by_formula(3, 6)
    assert table.loc[0, ["split", "method", "sft", "rl"]].tolist() == ["seen", "sft", 100, "-"]
    assert table.loc[0, ["pick", "heat", "all"]].tolist() == [75.0, 0.0, 50.0]
    assert table.loc[0, ["all_low", "all_high"]].tolist() == pytest.approx([low, high], abs=0.01)
    assert table.loc[0, ["episodes", "seeds"]].tolist() == [6, 2]
    assert "DEMO SCALE" in (row / "t.md").read_text()


def test_a_cell_of_another_scale_is_refused(row):
    files = list((row / "cells").glob("*.json"))
    with pytest.raises(BadInput, match="made at scale 'demo'"):
        build_table1(files, ["sft"], "paper", row / "t.csv", row / "t.md")


def test_a_missing_cell_is_named(row):
    files = [path for path in (row / "cells").glob("*.json") if path.stem != "heat"]
    with pytest.raises(BadInput, match="'heat' is missing"):
        build_table1(files, ["sft"], "demo", row / "t.csv", row / "t.md")


def test_seeds_on_different_panels_are_refused(tmp_path):
    (tmp_path / "paper.csv").write_text(PAPER)
    runs = [evaluation(tmp_path / f"{seed}.json", seed, [("pick", True)], panel=str(seed)) for seed in (0, 1)]
    with pytest.raises(BadInput, match="another panel"):
        write_table1_row(
            CellContext("seen", "sft", "t", "100", "-", "demo"), runs, tmp_path / "paper.csv", tmp_path / "c"
        )
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("content", ["{}", '{"panel_sha256": "x", "seed": 0, "episodes": []}', "[1]", "nonsense"])
def test_what_is_not_an_evaluation_is_refused(tmp_path, content):
    (tmp_path / "paper.csv").write_text(PAPER)
    (tmp_path / "e.json").write_text(content)
    context = CellContext("seen", "sft", "t", "100", "-", "demo")
    with pytest.raises(BadInput, match=r"e\.json"):
        write_table1_row(context, [tmp_path / "e.json"], tmp_path / "paper.csv", tmp_path / "c")


def test_the_papers_table_is_what_was_published(root):
    """Every overall rate of Table 1 is a multiple of 1/128, as published; row counts are ten per split."""
    table = pd.read_csv(root / "resources/paper/table1.csv", comment="#")
    assert table.groupby("split").size().to_dict() == {"seen": 10, "unseen": 10}
    k = table["all"] * 1.28
    assert ((k - k.round()).abs() < 0.01).all()


def test_a_table_is_printed(row, capsys):
    build_table1(list((row / "cells").glob("*.json")), ["sft"], "demo", row / "t.csv", row / "t.md")
    print_table(row / "t.csv")
    shown = capsys.readouterr().out
    assert "DEMO SCALE" in shown
    assert "seen, 6 episodes, 2 seeds" in shown
    assert "75.0" in shown
    with pytest.raises(BadInput, match="snakemake first"):
        print_table(row / "none.csv")
