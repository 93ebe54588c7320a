"""Two probes side by side: how far they agree, who changes sides, and what the files say that differs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from norm_files import NAMES, fake_norms
from scipy.stats import spearmanr
from typer.testing import CliRunner

from prism.cli import app
from prism.core.concentration import cv, gini
from prism.core.csv_files import read_table
from prism.core.errors import BadInput
from prism.stages.compare_probes import compare_probes, describe, write_comparison, write_sides

COUNT = 40
PROMPT = "PromptFormat(style='compact', history='actions:4', context_length=512), layout={}, loss_on=response"


def norms_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, size=(COUNT, len(NAMES)))


FIRST = norms_of(0)
SECOND = FIRST * np.exp(0.2 * np.random.default_rng(1).standard_normal(FIRST.shape))


@pytest.fixture
def probes(tmp_path):
    """The first in two shards, the second in one, of one trajectory less."""
    facts = {"prompt_format": PROMPT.format("steps")}
    first = [
        fake_norms(tmp_path / f"a{shard}.parquet", range(shard, COUNT, 2), shard, 2, values=FIRST, **facts)
        for shard in range(2)
    ]
    others = {"prompt_format": PROMPT.format("conversation"), "dtype": "bfloat16", "prompt_sha256": "other"}
    second = fake_norms(
        tmp_path / "b.parquet", range(1, COUNT), values=SECOND, model="tuned", model_sha256="f" * 64, **others
    )
    return [*first, second]


def test_rank_correlation_and_share_are_those_of_the_common_trajectories(probes):
    found = compare_probes(probes)
    assert found.counts == (COUNT, COUNT - 1, COUNT - 1)
    before, after = gini(FIRST[1:]), gini(SECOND[1:])
    row = found.agreement.set_index("score").loc["gini"]
    assert row["spearman"] == pytest.approx(spearmanr(before, after).statistic)
    moved = (before > np.median(before)) != (after > np.median(after))
    assert row["rerouted_percent"] == pytest.approx(100 * moved.mean())
    assert row["spearman_low"] < row["spearman"] < row["spearman_high"] < 1
    assert 0 < row["rerouted_low"] <= row["rerouted_percent"] <= row["rerouted_high"] < 50
    # equal for every trajectory: no rank
    assert found.constant == ("length", "loss")


def test_what_differs_is_said_setting_by_setting(probes, tmp_path):
    differences = {what: (one, other) for what, one, other in compare_probes(probes).differences}
    assert differences["layout"] == ("steps", "conversation")
    assert differences["dtype"] == ("float32", "bfloat16")
    assert differences["weights"] == ("m (14 matrices, 544 weights, sha256 a)",
                                      "tuned (14 matrices, 544 weights, sha256 ffffffffffff)")  # fmt: skip
    assert set(differences) == {"layout", "dtype", "weights", "prompt_sha256"}
    same = compare_probes([*probes[:2], *probes[:2]])
    assert same.differences == ()
    assert "the files name no difference" in describe(same)
    assert set(same.agreement["spearman"]) == {1.0}
    assert set(same.agreement["rerouted_percent"]) == {0.0}


def test_another_backbone_may_have_other_matrices(probes, tmp_path):
    import pyarrow.parquet as pq

    small = pq.read_table(probes[2]).drop_columns(["layers.1.o_proj", "layers.1.q_proj"])
    counts = str([16 if "q_proj" in name or "o_proj" in name else 48 for name in NAMES[:7] + NAMES[8:10] + NAMES[11:]])
    metadata = {**small.schema.metadata, b"parameter_counts": counts.encode()}
    pq.write_table(small.replace_schema_metadata(metadata), tmp_path / "c.parquet")
    found = compare_probes([*probes[:2], tmp_path / "c.parquet"])
    what, first, second = found.differences[0]
    assert what == "backbone"
    assert (first[:15], second[:19]) == ("m (14 matrices,", "tuned (12 matrices,")
    assert len(found.agreement) == 8


def test_who_changes_sides(probes, tmp_path):
    found = compare_probes(probes)
    write_sides(found, "gini", tmp_path / "sides.csv")
    table = read_table(tmp_path / "sides.csv")
    before, after = gini(FIRST[1:]), gini(SECOND[1:])
    rows = dict(zip(table.column("id"), table.rows, strict=True))
    assert len(rows) == COUNT - 1
    for number in range(1, COUNT):
        sides = ["rl" if one[number - 1] > np.median(one) else "sft" for one in (before, after)]
        row = dict(zip(table.columns, rows[f"t-{number:03d}"], strict=True))
        assert [row["side_first"], row["side_second"]] == sides
        assert row["moved"] == ("yes" if sides[0] != sides[1] else "no")
        assert float(row["first"]) == pytest.approx(before[number - 1])
    moved = table.column("moved")
    assert moved == sorted(moved, reverse=True)
    ranks = zip(table.numbers("rank_first"), table.numbers("rank_second"), strict=True)
    distances = [abs(after - before) for before, after in ranks]
    changed = moved.count("yes")
    assert distances[:changed] == sorted(distances[:changed], reverse=True)
    assert f"{changed} of {COUNT - 1} change sides" in table.head[1]
    with pytest.raises(BadInput, match="'length' cannot be compared; use gini, kurtosis"):
        write_sides(found, "length", tmp_path / "sides.csv")


def test_the_table_says_what_was_printed(probes, tmp_path):
    out, sides = tmp_path / "c.csv", tmp_path / "s.csv"
    command = ["compare", *map(str, probes), "--out", str(out), "--trajectories", str(sides), "--by", "cv"]
    shown = CliRunner().invoke(app, command, catch_exceptions=False)
    assert shown.exit_code == 0
    found = compare_probes(probes)
    write_comparison(found, tmp_path / "again.csv")
    assert out.read_text() == (tmp_path / "again.csv").read_text()
    assert "# differs: layout: steps -> conversation" in out.read_text()
    assert "layout: steps -> conversation" in shown.output
    gini_row = next(line for line in shown.output.splitlines() if line.startswith("gini "))
    table = read_table(out)
    assert f"{table.numbers('rerouted_percent')[0]:.1f}" in gini_row
    assert read_table(sides).head[0].startswith("cv in two probes")


@pytest.mark.parametrize("words", [["compare"], ["stage", "compare-probes", "--scale", "demo"]])
def test_the_given_epsilon_is_that_of_the_compared_scores(probes, tmp_path, words):
    out = tmp_path / "c.csv"
    command = [*words, *map(str, probes), "--recipe", '{"epsilon": 20}', "--out", str(out)]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    rho = dict(zip(read_table(out).column("score"), read_table(out).numbers("spearman"), strict=True))
    for epsilon, is_told in ((20, True), (1e-8, False)):
        by_hand = spearmanr(cv(FIRST[1:], epsilon), cv(SECOND[1:], epsilon)).statistic
        assert (rho["cv"] == pytest.approx(by_hand, abs=1e-4)) == is_told


def test_chats_may_be_rendered_otherwise(tmp_path):
    forms = [{"date": "2026-01-01", "template": "x" * 500}, {"date": "2026-01-02", "template": "y" * 400}]
    files = [
        fake_norms(tmp_path / f"{number}.parquet", range(5), values=FIRST, chats=json.dumps(form))
        for number, form in enumerate(forms)
    ]
    assert compare_probes(files).differences == (
        ("chat date", "2026-01-01", "2026-01-02"),
        ("chat template", f"{'x' * 60}... (500 letters)", f"{'y' * 60}... (400 letters)"),
    )


def test_the_workflow_s_table_says_the_scale_and_where_the_trajectories_are(probes, tmp_path):
    out, sides = tmp_path / "reprobe.csv", tmp_path / "reprobe_trajectories.csv"
    command = ["stage", "compare-probes", *probes, "--recipe={}", "--scale", "demo", "--out", out]
    done = CliRunner().invoke(app, [str(word) for word in command], catch_exceptions=False)
    assert done.exit_code == 0
    assert "DEMO SCALE" in read_table(out).head[0]
    assert "reprobe_trajectories.csv" in read_table(out).head[0]
    assert read_table(sides).head[0].startswith("gini in two probes, a trajectory a row. DEMO SCALE")


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ([2], r"b.parquet: is one probe alone; name a second one"),
        ([0, 1], r"a0.parquet: is one probe alone; name a second one"),
        ([2, 0], r"a0.parquet: has shards \[0\] of 2"),
        ([0, 2, 1], r"differs from .*a0.parquet in model_sha256"),
    ],
)
def test_what_is_no_pair_of_probes_is_refused(probes, chosen, problem):
    with pytest.raises(BadInput, match=problem):
        compare_probes([probes[index] for index in chosen])


def test_other_trajectories_are_refused(probes, tmp_path):
    other = fake_norms(tmp_path / "c.parquet", range(COUNT), values=FIRST, name="other-{:03d}")
    with pytest.raises(BadInput, match="have 0 trajectories in common; probe at least 4 in both"):
        compare_probes([probes[2], other])
