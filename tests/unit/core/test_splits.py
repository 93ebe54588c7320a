"""Quantile routing: eq. 2-3, ties, counts."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prism.core.csv_files import read_table, write_table
from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.core.methods import build_methods
from prism.core.results import Results
from prism.core.splits import read_split, split_by_quantile
from prism.core.trajectories import Step, Trajectory, write_trajectories
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


def test_a_random_split_follows_from_its_seed_and_the_ids(tmp_path, scores):
    """From the corpus or from any score table, in any order of its rows; other seeds have no part in it."""
    write_table(tmp_path / "turned.csv", [], ["id", "l2"], [[name, 1.0] for name in "dcba"])
    step = Step("seen", ("go",), "thought", "go")
    corpus = [Trajectory(name, "alfworld", "game", "task", "pick", "expert", True, (step,)) for name in "badc"]
    write_trajectories(tmp_path / "corpus.jsonl", corpus)
    expected = dict(zip("abcd", np.random.default_rng(3).random(4).tolist(), strict=True))
    for number, source in enumerate((scores, tmp_path / "turned.csv", tmp_path / "corpus.jsonl")):
        make_split(source, "random-seed3", 50, tmp_path / f"{number}.csv")
        table = read_table(tmp_path / f"{number}.csv")
        assert dict(zip(table.column("id"), table.numbers("score"), strict=True)) == expected
        assert table.column("regime").count("rl") == 2


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


def test_a_random_split_within_length_takes_half_of_every_length(tmp_path):
    """Long and short trajectories alike, in a share that a plain random split only meets on average."""
    lengths = {f"t{number:03d}": float(number // 20) for number in range(200)}
    write_table(tmp_path / "scores.csv", [], ["id", "length"], lengths.items())
    for seed in (0, 1):
        make_split(tmp_path / "scores.csv", f"random_in_length-seed{seed}", 50, tmp_path / f"{seed}.csv")
        regimes = read_split(tmp_path / f"{seed}.csv")
        routed = [lengths[name] for name, regime in regimes.items() if regime == "rl"]
        assert [routed.count(length) for length in sorted(set(lengths.values()))] == [10] * 10
    assert read_split(tmp_path / "0.csv") != read_split(tmp_path / "1.csv")
    make_split(tmp_path / "scores.csv", "random_in_length-seed0", 30, tmp_path / "30.csv")
    routed = [lengths[name] for name, regime in read_split(tmp_path / "30.csv").items() if regime == "rl"]
    assert [routed.count(length) for length in sorted(set(lengths.values()))] == [6] * 10


def test_a_corpus_alone_has_no_lengths(tmp_path):
    step = Step("seen", ("go",), "thought", "go")
    corpus = [Trajectory(name, "alfworld", "game", "task", "pick", "expert", True, (step,)) for name in "ab"]
    write_trajectories(tmp_path / "corpus.jsonl", corpus)
    with pytest.raises(BadInput, match="give the score table"):
        make_split(tmp_path / "corpus.jsonl", "random_in_length-seed0", 50, tmp_path / "split.csv")


def test_a_split_by_a_variant_of_the_probe_is_that_of_its_scores(tmp_path, scores):
    results = Results("results")
    assert str(results.source_of_score("gini@steps", "alfworld", "a")) == "results/scores_variants/steps/alfworld/a.csv"
    make_split(scores, "gini@steps", 50, tmp_path / "variant.csv")
    make_split(scores, "gini", 50, tmp_path / "own.csv")
    assert (tmp_path / "variant.csv").read_bytes() == (tmp_path / "own.csv").read_bytes()


def labelled(path, count, of):
    write_json(path, {"detours": {f"t{number}": number < count for number in range(of)}})
    return path


@pytest.mark.parametrize("count", [48, 50, 53])
def test_the_oracle_routes_exactly_the_detours_to_rl(tmp_path, count):
    """No quantile: with more than half of them detours a median would send none."""
    make_split(labelled(tmp_path / "trajectories.json", count, 100), "detour", 50, tmp_path / "split.csv")
    regimes = read_split(tmp_path / "split.csv")
    assert {name for name, regime in regimes.items() if regime == "rl"} == {f"t{number}" for number in range(count)}
    assert len(regimes) == 100
    assert read_table(tmp_path / "split.csv").head[3:5] == [f"sft: {100 - count}", f"rl: {count}"]


def test_labels_that_no_oracle_can_route_by(tmp_path):
    manifest = tmp_path / "trajectories.json"
    for value, problem in (
        ({"trajectories": 2}, "no labels: the corpus was made without detours"),
        ({"detours": {"a": 1}}, "does not say true or false"),
        ({"detours": {}}, "does not say true or false"),
    ):
        write_json(manifest, value)
        with pytest.raises(BadInput, match=problem):
            make_split(manifest, "detour", 50, tmp_path / "split.csv")
    with pytest.raises(BadInput, match=r"20% of the trajectories have the label, not 50%.*-low80 and -high20"):
        make_split(labelled(manifest, 2, 10), "detour", 50, tmp_path / "split.csv")


def test_no_other_split_reads_the_labels(root):
    """The manifest is the oracle's source alone; a changed label changes the input of no other split."""
    methods = build_methods(yaml.safe_load((root / "config/config.yaml").read_text())["methods"])
    results = Results("results")
    labels = results.corpus_manifest("alfworld")
    readers = {
        name
        for name, method in methods.items()
        for score in method.at_seed(0).scores
        if results.source_of_score(score, "alfworld", "tiny-qwen3") == labels
    }
    assert readers == {"oracle"}
    assert len(methods) > 20
