"""Quantile routing: eq. 2-3, ties, counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.core.csvfiles import read_table, write_table
from prism.core.errors import BadInput
from prism.core.splits import read_split, split_by_quantile
from prism.stages.splits import make_split


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60), st.integers(1, 99))
def test_split_is_the_quantile_rule(scores, percent):
    split = split_by_quantile(scores, percent)
    threshold = np.quantile(scores, 1 - percent / 100)
    assert split.threshold == threshold
    assert split.regimes == tuple("rl" if score > threshold else "sft" for score in scores)
    assert split.count("sft") + split.count("rl") == len(scores)
    assert split.ties == sum(score == threshold for score in scores)


def test_fifty_percent_is_the_median():
    split = split_by_quantile([4.0, 1.0, 3.0, 2.0], 50)
    assert split.threshold == 2.5
    assert split.regimes == ("rl", "sft", "rl", "sft")


def test_ties_go_to_sft():
    split = split_by_quantile([1.0, 2.0, 2.0, 2.0, 3.0], 50)
    assert (split.count("sft"), split.count("rl"), split.ties) == (4, 1, 3)


@pytest.mark.parametrize("percent", [0, 100, -5, 120])
def test_shares_that_leave_a_side_empty_are_refused(percent):
    with pytest.raises(BadInput, match="share"):
        split_by_quantile([1.0, 2.0], percent)


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [["a", 0.3, 0.0], ["b", 0.1, 1.0], ["c", 0.2, 0.5], ["d", 0.4, 0.5]]
    write_table(path, ["made up"], ["id", "gini", "pass_rate"], rows)
    return path


def test_split_file(tmp_path, scores):
    make_split(scores, "gini", 25, tmp_path / "split.csv")
    text = (tmp_path / "split.csv").read_text()
    assert text == (
        "# score: gini\n# rl_percent: 25\n# threshold: 0.325\n# sft: 3\n# rl: 1\n# ties_at_threshold: 0\n"
        "id,score,regime\na,0.3,sft\nb,0.1,sft\nc,0.2,sft\nd,0.4,rl\n"
    ).replace("0.325", repr(float(np.quantile([0.3, 0.1, 0.2, 0.4], 0.75))))
    assert read_split(tmp_path / "split.csv") == {"a": "sft", "b": "sft", "c": "sft", "d": "rl"}


def test_lowest_pass_rates_go_to_sft(tmp_path, scores):
    make_split(scores, "pass_rate", 50, tmp_path / "split.csv")
    table = read_table(tmp_path / "split.csv")
    assert table.column("regime") == ["sft", "rl", "sft", "sft"]
    assert table.note("ties_at_threshold") == "2"


def test_unknown_score_suggests_the_nearest(tmp_path, scores):
    with pytest.raises(BadInput, match="did you mean 'gini'"):
        make_split(scores, "ginni", 50, tmp_path / "split.csv")
    assert not (tmp_path / "split.csv").exists()


def test_scores_that_are_no_numbers(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("id,gini\na,nan\nb,1\n")
    with pytest.raises(BadInput, match="trajectory 'a' is NaN"):
        make_split(path, "gini", 50, tmp_path / "split.csv")
    path.write_text("id,gini\na,high\n")
    with pytest.raises(BadInput, match="'a' is 'high'"):
        make_split(path, "gini", 50, tmp_path / "split.csv")
    path.write_text("id,gini\na\n")
    with pytest.raises(BadInput, match=r"scores\.csv:2"):
        make_split(path, "gini", 50, tmp_path / "split.csv")


def test_broken_split_files(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("id,score,regime\na,1,sft\na,1,rl\n")
    with pytest.raises(BadInput, match="twice"):
        read_split(path)
    path.write_text("id,score,regime\na,1,both\n")
    with pytest.raises(BadInput, match="both"):
        read_split(path)
