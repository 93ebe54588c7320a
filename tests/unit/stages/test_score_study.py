"""The tables about the scores: from norms, scores and corpora whose answers are known."""

import json
from operator import attrgetter

import numpy as np
import pandas as pd
import pytest
from norm_files import NAMES, fake_norms
from study_run import COUNT, PLACE, build_run, shaped, write_consensus, write_probe

from prism.cli.app import main
from prism.core.csv_files import read_frame
from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.core.study_tables import STUDY_TABLES
from prism.stages.consensus import read_consensus
from prism.stages.figures import consensus as figure5
from prism.stages.figures import detection as detection_figure
from prism.stages.figures import halves, routing_sensitivity, score_correlates
from prism.stages.figures.style import FigureFiles
from prism.stages.score_study import behaviours, consensus, contrast, correlates, detection, sensitivity
from prism.stages.score_study.frames import write_study


@pytest.fixture
def run(tmp_path):
    return build_run(tmp_path)


def rows_of(study):
    return pd.DataFrame(study.rows, columns=study.columns)


# what scores are correlated with
FACTORS = STUDY_TABLES["score_correlates"].inputs


def pick(run, *kinds):
    return {kind: run[kind] for kind in kinds}


def test_facts_are_counted(run):
    _, table = read_frame(run["facts"][0], texts=["id"])
    assert table["steps"].unique().tolist() == [3]
    assert table["repeated"].unique().tolist() == [1]
    assert table["searches"].unique().tolist() == [2]
    assert table["recoveries"].tolist() == [0] * (COUNT // 2) + [1] * (COUNT // 2)


def test_what_scores_go_together_with(run):
    study = correlates.study(**pick(run, *FACTORS))
    table = rows_of(study).set_index(["score", "factor", "measure"])
    for metric in ("gini", "cv"):
        assert table.loc[(metric, "L2 norm", "spearman"), "value"] == pytest.approx(1)
        # a task type on each side of the median, and pass rates with it
        assert table.loc[(metric, "task type pick", "rl_share"), "value"] == 100
        assert table.loc[(metric, "task type look", "rl_share"), "value"] == 0
        assert table.loc[(metric, "pass rate", "spearman"), "value"] > 0.8
        assert table.loc[(metric, "task type", "explained"), "value"] > 70
    # every fake sample has the same loss, tokens and rows
    reasons = "\n".join(study.notes)
    for name in ("loss", "response tokens", "steps", "rows"):
        assert f"{PLACE}: {name} is" in reasons


def test_a_factor_that_was_not_counted_is_left_out_and_said_so(run):
    study = correlates.study(**{**pick(run, *FACTORS), "pass_rates": []})
    assert "pass rate" not in set(rows_of(study)["factor"])
    assert f"left out, {PLACE}: pass rate was not counted in this run" in study.notes


def test_the_halves_of_the_corpus(run):
    table = rows_of(behaviours.study(**pick(run, "scores", "facts"))).set_index(["score", "behaviour"])
    found = table.loc[("gini", "error recovery")]
    assert (found["sft_half"], found["rl_half"], found["difference"]) == (0, 100, 100)
    assert ("gini", "length") not in table.index


def test_contrast_within_groups(run):
    table = rows_of(contrast.study(**pick(run, "scores", "pass_rates"))).set_index(["score", "measure"])
    assert table.loc[("gini", "contrast"), ["sft_half", "rl_half"]].tolist() == [0, 1]
    assert table.loc[("gini", "mixed groups"), "rollouts"] == 8
    without = contrast.study(run["scores"], [])
    assert without.rows == []
    assert f"left out, {PLACE}: pass rates were not counted in this run" in without.notes


def labelled(run, detours):
    """A manifest in which these numbers of trajectories are detours."""
    path = run["facts"][0].with_name("trajectories.json")
    write_json(path, {"detours": {f"t-{number:03d}": number in detours for number in range(COUNT)}})
    return [path]


def areas(study):
    """What was measured, by score and measure: value, low, high, detours, trajectories."""
    return {(row[2], row[3]): row[4:] for row in study.rows}


def test_scores_that_find_the_detours(run):
    """The concentrated half are detours: Gini finds all of them, the fake loss and length are the same for all."""
    found = areas(detection.study(run["scores"], labelled(run, range(COUNT // 2, COUNT)), run["pass_rates"]))
    assert found["gini", "auc"][:3] == found["pass_rate", "auc"][:3] == [1.0, 1.0, 1.0]
    assert found["effective_rank", "auc"][:3] == [0.0, 0.0, 0.0]
    assert found["gini", "auc"][3:] == [COUNT // 2, COUNT]
    half = areas(detection.study(run["scores"], labelled(run, range(0, COUNT, 2)), []))
    assert half["cv", "auc"][0] == pytest.approx(0.475)
    assert half["cv", "auc"][1] < 0.4 < 0.55 < half["cv", "auc"][2]
    assert ("pass_rate", "auc") not in half


def test_labels_that_say_nothing_are_refused(run):
    for detours, problem in (((), "the same label"), (range(COUNT), "the same label")):
        with pytest.raises(BadInput, match=problem):
            detection.study(run["scores"], labelled(run, detours), [])
    (path,) = labelled(run, (1,))
    write_json(path, {"detours": {"t-000": True}})
    with pytest.raises(BadInput, match="'t-001' has no label"):
        detection.study(run["scores"], [path], [])


def test_consensus_of_norms_without_a_signal_is_that_of_their_permutations(tmp_path):
    noise = np.random.default_rng(0).lognormal(size=(200, len(NAMES)))
    norms = write_probe(tmp_path, noise)
    (row,) = rows_of(consensus.study([write_consensus(tmp_path, [norms])])).to_dict("records")
    assert row["null_low"] <= row["of_half"] <= row["null_high"]
    assert row["p"] > 0.025
    assert row["of_union"] < row["of_half"]
    assert row["raw_null_low"] < row["raw_null"] < row["raw_null_high"]


def test_routing_held_against_another_way(run, tmp_path):
    """A variant on every second trajectory that turns the order round, and another backbone that keeps it."""
    factors = np.arange(1.0, COUNT + 1)
    turned = tmp_path / f"gradnorms_variants/conversation/{PLACE}/shard-0-of-2.parquet"
    turned.parent.mkdir(parents=True)
    fake_norms(turned, range(0, COUNT, 2), shards=2, values=shaped(factors[::-1]))
    other = write_probe(tmp_path, shaped(factors**2), "gradnorms/alfworld/other")
    changes = {"conversation": {"alfworld": ["layout", "steps", "conversation"]}}
    study = sensitivity.study([*run["norms"], other], [turned], changes)
    table = rows_of(study).set_index(["aspect", "score", "backbone"])
    layout = table.loc[("layout", "gini", "tiny")]
    assert layout["spearman"] == pytest.approx(-1)
    assert (layout["moved_percent"], layout["trajectories"]) == (100, COUNT // 2)
    assert (layout["first"], layout["second"]) == ("steps", "conversation")
    between = table.loc[("backbone", "gini", "tiny")]
    assert (between["second"], between["moved_percent"]) == ("other", 0)
    assert table.loc[("normalisation", "gini", "other"), "spearman"] == pytest.approx(1)
    assert "left out: dtype was not probed in two ways in this run" in study.notes


def test_the_configured_epsilon_is_that_of_every_score(tmp_path):
    """One as large as the norms: no score stays as it was, and the halves become others."""
    noise = np.random.default_rng(0).lognormal(size=(60, len(NAMES)))
    norms = write_probe(tmp_path, noise)
    by_hand = 2 * (np.sort(noise) * np.arange(1, 15)).sum(axis=1) - 15 * noise.sum(axis=1)
    agreement, halves = {}, {}
    for epsilon in (1e-8, 10.0):
        scores = sensitivity.score_shards([norms], epsilon)
        assert scores["gini"].to_numpy() == pytest.approx(by_hand / (14 * noise.sum(axis=1) + epsilon))
        table = rows_of(sensitivity.study([norms], [], {}, epsilon)).set_index(["aspect", "score"])
        agreement[epsilon] = table.loc[("normalisation", "cv"), "spearman"]
        halves[epsilon] = read_consensus(write_consensus(tmp_path, [norms], epsilon=epsilon))
    assert agreement[1e-8] != agreement[10.0]
    assert halves[1e-8].consensus.common != halves[10.0].consensus.common
    for name in ("raw_null", "consensus.null"):
        assert attrgetter(name)(halves[1e-8]).tolist() != attrgetter(name)(halves[10.0]).tolist()


def test_a_file_that_holds_no_consensus_is_refused(tmp_path):
    path = tmp_path / "alfworld/tiny.json"
    path.parent.mkdir()
    path.write_text('{"halves": {}}')
    with pytest.raises(BadInput, match="does not hold the consensus of a probe"):
        consensus.study([path])


def test_probes_without_common_trajectories_are_refused(run, tmp_path):
    other = tmp_path / "gradnorms/alfworld/other/shard-0-of-1.parquet"
    other.parent.mkdir(parents=True)
    fake_norms(other, range(5), name="u-{:03d}")
    with pytest.raises(BadInput, match="0 trajectories in common"):
        sensitivity.study([*run["norms"], other], [], {})


def test_a_corpus_without_a_scored_trajectory_is_refused(run):
    path = run["facts"][0]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(BadInput, match="'t-039' is missing"):
        behaviours.study(**pick(run, "scores", "facts"))


def test_a_table_is_written_whole_with_its_scale_and_reasons(run, tmp_path, monkeypatch):
    files = [f"--{kind.replace('_', '-')}={run[kind][0]}" for kind in ("scores", "pass_rates")]
    out = [tmp_path / "out.csv", tmp_path / "out.md"]
    words = ["prism", "stage", "study-table", "appendix_f", *files, "--scale", "demo"]
    monkeypatch.setattr("sys.argv", [*words, "--out-csv", str(out[0]), "--out-md", str(out[1])])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert all("DEMO SCALE" in path.read_text() for path in out)
    before = [path.read_bytes() for path in out]
    study = contrast.study(**pick(run, "scores", "pass_rates"))
    write_study(study, STUDY_TABLES["appendix_f"].title, "demo", *out)
    assert [path.read_bytes() for path in out] == before


def svg_of(draw, study, folder):
    """The text of a figure that is drawn from a table."""
    write_study(study, "title", "demo", folder / "table.csv", folder / "table.md")
    draw([folder / "table.csv"], FigureFiles(folder / "f.svg", folder / "f.png", "demo"))
    return (folder / "f.svg").read_text()


def test_figures_are_drawn_from_the_tables_and_repeat_byte_for_byte(run, tmp_path):
    text = svg_of(score_correlates.draw, correlates.study(**pick(run, *FACTORS)), tmp_path)
    assert all(name in text for name in ("L2 norm", "pass rate", "Gini, task type", "alfworld"))
    assert text == svg_of(score_correlates.draw, correlates.study(**pick(run, *FACTORS)), tmp_path)
    text = svg_of(halves.draw, behaviours.study(**pick(run, "scores", "facts")), tmp_path)
    assert text.count("in none") == 3
    assert "error recovery" in text
    text = svg_of(routing_sensitivity.draw, sensitivity.study(run["norms"], [], {}), tmp_path)
    assert "tiny, normalisation" in text
    text = svg_of(detection_figure.draw, detection.study(run["scores"], labelled(run, range(5)), []), tmp_path)
    assert all(name in text for name in ("alfworld, tiny", "pairs of equal length", "Kurtosis"))


def test_figure_5_shows_every_probe_it_is_given(tmp_path):
    noise = np.random.default_rng(0).lognormal(size=(60, len(NAMES)))
    places = ["alfworld/one", "alfworld/two"]
    norms = [write_probe(tmp_path, noise, f"gradnorms/{place}") for place in places]
    measured = [write_consensus(tmp_path, [path], place) for path, place in zip(norms, places, strict=True)]
    figure5.draw(measured, FigureFiles(tmp_path / "f.svg", tmp_path / "f.png", "demo"))
    text = (tmp_path / "f.svg").read_text()
    assert all(words in text for words in ("alfworld, one", "alfworld, two", "of a half", "of the union", "permuted"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["appendix_h"], "is no table about the scores"),
        (["consensus"], "--consensus: is missing"),
        (["consensus", "--consensus=a", "--pass-rates=b"], "--pass-rates: does not belong here"),
        (["routing_sensitivity", "--norms=a", "--settings", json.dumps({"change": {}})], "unknown key 'change'"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(tmp_path, monkeypatch, capsys, words, problem):
    out = ["--out-csv", str(tmp_path / "a.csv"), "--out-md", str(tmp_path / "a.md")]
    monkeypatch.setattr("sys.argv", ["prism", "stage", "study-table", *words, "--scale", "demo", *out])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert problem in capsys.readouterr().err
