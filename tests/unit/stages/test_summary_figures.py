"""The summary of seconds by rule, and the figures of one corpus: case study, consensus, distributions."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from norm_files import fake_norms
from study_run import write_consensus

from prism.core.errors import BadInput
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.gradients.norm_files import MODULES, read_shards
from prism.gradients.profiles import ProfileGrid
from prism.stages.figures import case_study, consensus, score_distributions
from prism.stages.figures.scores_file import typical_trajectories
from prism.stages.figures.style import FigureFiles
from prism.stages.summary import summarise_benchmarks


def benchmark_file(path, seconds, memory="10.0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmax_pss\n{seconds}\t0:00:01\t20.0\t{memory}\n")


def test_seconds_are_summed_by_rule(tmp_path):
    benchmark_file(tmp_path / "sft/a.tsv", 10, "100.0")
    benchmark_file(tmp_path / "sft/deep/b.tsv", 30, "50.0")
    benchmark_file(tmp_path / "split/c.tsv", 1, "-")  # too short to be sampled
    summarise_benchmarks(tmp_path, tmp_path / "summary.csv")
    table = pd.read_csv(tmp_path / "summary.csv").set_index("rule")
    assert list(table.index) == ["sft", "split"]
    assert table.loc["sft", ["jobs", "seconds", "longest_seconds", "peak_mib"]].tolist() == [2, 40, 30, 100]
    assert np.isnan(table.loc["split", "peak_mib"])


@pytest.mark.parametrize("content", [None, "nonsense\n"])
def test_what_is_not_a_benchmark_is_refused(tmp_path, content):
    if content:
        (tmp_path / "sft").mkdir()
        (tmp_path / "sft/a.tsv").write_text(content)
    with pytest.raises(BadInput):
        summarise_benchmarks(tmp_path, tmp_path / "summary.csv")


@pytest.fixture
def results(tmp_path):
    """Four trajectories; by every metric, c and d are the upper half."""
    scores = pd.DataFrame(
        {"id": list("abcd"), "gini": [0.1, 0.2, 0.3, 0.4], "kurtosis": [1, 2, 3, 4], "cv": [0, 1, 2, 3]}
    )
    (tmp_path / "scores.csv").write_text("# head\n" + scores.to_csv(index=False))
    names = [f"layers.{layer}.{module}" for layer in range(2) for module in MODULES]
    norms = {name: [float(index + row) + 1 for row in range(4)] for index, name in enumerate(names)}
    pq.write_table(pa.table({"id": list("abcd"), **norms}), tmp_path / "norms.parquet")
    long = tuple(Step("room", ("look",), "think", f"pay $1 and $2, {number}") for number in range(20))
    corpus = [
        Trajectory(name, "alfworld", "g", "find it", "pick", "x", True, long if name == "d" else long[:1])
        for name in "abcd"
    ]
    write_trajectories(tmp_path / "t.jsonl", corpus)
    return tmp_path


def test_the_profile_has_modules_as_rows_and_layers_as_columns():
    names = [f"layers.{layer}.{module}" for layer in range(3) for module in MODULES]
    matrix = ProfileGrid.of(names).fill(np.arange(21.0))
    assert matrix.shape == (7, 3)
    assert matrix[0].tolist() == [0, 7, 14]  # q_proj of the three layers


def test_the_case_study_is_drawn(results):
    out = FigureFiles(results / "f.svg", results / "f.png", "demo")
    case_study.draw([results / "norms.parquet"], [results / "scores.csv"], [results / "t.jsonl"], out)
    text = out.svg.read_text()
    assert "Gini 0.200" in text
    assert "Gini 0.400" in text
    assert "14. pay $1 and $2, 13" in text  # a price is not a formula
    assert "15. pay" not in text
    assert "20 steps in all" in text
    assert "DEMO SCALE" in text
    assert out.png.stat().st_size > 10_000


@pytest.mark.parametrize("name", ["d#1", "#d", "4", "NA"])
def test_any_id_is_drawn(results, name):
    """The file of scores is CSV with notes in front; nothing in an id is a note, a number or a missing value."""
    for path in (results / "scores.csv", results / "t.jsonl"):
        path.write_text(path.read_text().replace("\nd,", f"\n{name},").replace('"id": "d"', f'"id": "{name}"'))
    table = pq.read_table(results / "norms.parquet")
    norms = table.set_column(0, "id", pa.array([*"abc", name]))
    pq.write_table(norms, results / "norms.parquet")
    out = FigureFiles(results / "f.svg", results / "f.png", "demo")
    case_study.draw([results / "norms.parquet"], [results / "scores.csv"], [results / "t.jsonl"], out)
    assert "Gini 0.400" in out.svg.read_text()
    assert typical_trajectories(results / "scores.csv") == ("b", name)


def test_a_trajectory_that_the_corpus_lacks_is_named(results):
    lines = (results / "t.jsonl").read_text().splitlines()
    (results / "t.jsonl").write_text("\n".join(lines[:-1]))
    out = FigureFiles(results / "f.svg", results / "f.png", "demo")
    with pytest.raises(BadInput, match="'d' of the score table is missing"):
        case_study.draw([results / "norms.parquet"], [results / "scores.csv"], [results / "t.jsonl"], out)


def test_the_cases_are_the_middles_of_the_halves_by_gini_and_ties_go_by_id(results):
    (results / "scores.csv").write_text("id,gini,kurtosis,cv\nb,1,1,1\na,1,1,1\nd,2,1,1\nc,2,1,1\n")
    assert typical_trajectories(results / "scores.csv") == ("b", "d")
    lines = [f"t{number},{number},1,1" for number in range(11)]
    (results / "scores.csv").write_text("\n".join(["id,gini,kurtosis,cv", *lines]))
    assert typical_trajectories(results / "scores.csv") == ("t3", "t8")


def test_without_an_rl_half_there_is_no_case(results):
    (results / "scores.csv").write_text("id,gini,kurtosis,cv\nb,1,1,1\na,1,1,1\n")
    with pytest.raises(BadInput, match="there is no RL half"):
        typical_trajectories(results / "scores.csv")


def test_the_consensus_is_drawn_and_repeats_byte_for_byte(tmp_path):
    generator = np.random.default_rng(0)
    # one factor moves all matrices of a trajectory: its profile is flat or steep
    steepness, profile = generator.uniform(0, 1.5, (200, 1)), generator.normal(0, 1, (1, 14))
    signal = np.exp(steepness * profile + generator.normal(0, 0.1, (200, 14)))
    norms = [
        fake_norms(tmp_path / f"{shard}.parquet", range(shard, 200, 2), shard, 2, values=signal) for shard in (0, 1)
    ]
    measured = write_consensus(tmp_path, norms)
    for name in ("one", "two"):
        out = FigureFiles(tmp_path / f"{name}.svg", tmp_path / f"{name}.png", "demo")
        consensus.draw([measured], out)
    text = (tmp_path / "one.svg").read_text()
    assert "of 100: " in text
    assert "p = 0.002" in text  # the smallest that 499 permutations can give
    assert "25%" not in text
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_norms_that_are_not_finite_or_of_other_matrices_are_refused(tmp_path):
    with pytest.raises(BadInput, match="t-001"):
        read_shards([fake_norms(tmp_path / "a.parquet", [0, 1], broken=(1, np.nan))])
    (tmp_path / "b.parquet").write_text("no parquet")
    with pytest.raises(BadInput, match="not a parquet file"):
        read_shards([tmp_path / "b.parquet"])


def test_the_distributions_show_the_median_of_every_metric(results):
    scores = [results / "scores.csv"] * 2
    out = FigureFiles(results / "d.svg", results / "d.png", "demo")
    score_distributions.draw(scores, ["first", "second"], out)
    text = out.svg.read_text()
    assert text.count("median 0.25") == 2
    assert text.count("median 1.5") == 2
    assert "second" in text
    with pytest.raises(BadInput, match="2 score tables for 1 backbones"):
        score_distributions.draw(scores, ["first"], out)


def test_a_title_is_never_a_formula(tmp_path):
    norms = fake_norms(tmp_path / "n.parquet", range(8))
    measured = write_consensus(tmp_path, [norms], "alfworld/$x_{$ a$b$c")
    consensus.draw([measured], FigureFiles(tmp_path / "a.svg", tmp_path / "a.png", "demo"))
    assert "$x_{$ a$b$c" in (tmp_path / "a.svg").read_text()
