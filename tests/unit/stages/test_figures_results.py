"""Figures of evaluations and runs: inverse ablation, ratio sweep, training curves, forest plot, schedule."""

import json
import os

import pytest

from prism.core.errors import BadInput
from prism.core.run_times import RunTime, read_run
from prism.stages.figures.evaluations import EvaluationFolder, estimate
from prism.stages.figures.forest import draw_forest
from prism.stages.figures.inverse_ablation import draw_inverse_ablation
from prism.stages.figures.ratio_sweep import draw_ratio_sweep
from prism.stages.figures.schedule import cut_idle_time, draw_schedule
from prism.stages.figures.training_curves import draw_training_curves

PAIRS = ["prism-gini", "inverse-gini", "random"]


def write_evaluation(path, scores):
    """An evaluation whose episodes have these scores; a score of 1 is a success."""
    episodes = [{"task_id": f"t{n}", "success": score == 1, "score": score} for n, score in enumerate(scores)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"episodes": episodes}))
    return path


@pytest.fixture
def evaluations(tmp_path):
    """Two seeds of each method: 50% solved, 75% average score."""
    for method in (*PAIRS, "ratio-10"):
        for seed in (0, 1):
            write_evaluation(tmp_path / f"eval/tiny/{method}/seed{seed}/test.json", [1.0, 0.5] * 4)
    return EvaluationFolder(tmp_path / "eval", "test", (0, 1))


def test_one_seed_has_wilsons_interval(tmp_path):
    path = write_evaluation(tmp_path / "a.json", [1.0] * 5 + [0.0] * 5)
    found = estimate([path], "sr")
    assert found.value == 50
    # 5 of 10: the textbook's Wilson interval
    assert found.low == pytest.approx(23.66, abs=0.01)
    assert found.high == pytest.approx(76.34, abs=0.01)


def test_the_interval_of_scores_narrows_with_tasks_and_vanishes_without_spread(tmp_path):
    few = estimate([write_evaluation(tmp_path / "few.json", [1.0, 0.2] * 5)], "score")
    many = estimate([write_evaluation(tmp_path / "many.json", [1.0, 0.2] * 80)], "score")
    assert few.value == many.value == pytest.approx(60)
    # standard error of 160 tasks with deviation 0.4: 3.2 percent points
    assert many.high - many.low == pytest.approx(2 * 1.96 * 100 * 0.4 / 160**0.5, rel=0.1)
    assert few.high - few.low > 3 * (many.high - many.low)
    flat = estimate([write_evaluation(tmp_path / "flat.json", [0.3] * 5)], "score")
    assert flat.error == pytest.approx((0, 0))


def test_seeds_that_differ_widen_the_interval(tmp_path):
    seeds = [write_evaluation(tmp_path / f"{n}.json", [float(n)] * 10) for n in (0, 1)]
    # two seeds, 0 and 100%: nearly nothing is known
    assert estimate(seeds, "sr").low < 1
    assert estimate(seeds, "sr").high > 99


def test_seeds_on_different_tasks_are_refused(tmp_path):
    files = [write_evaluation(tmp_path / f"{n}.json", [1.0] * (n + 2)) for n in (0, 1)]
    with pytest.raises(BadInput, match="other tasks"):
        estimate(files, "sr")


def test_the_inverse_ablation_is_drawn(evaluations, tmp_path):
    out = tmp_path / "f.svg", tmp_path / "f.png"
    draw_inverse_ablation(evaluations, ["tiny"], PAIRS, "smoke", *out)
    text = out[0].read_text()
    for expected in ("Gini", "inverse", "random", "average score", "success rate", "SMOKE SCALE", "8 tasks, 2"):
        assert expected in text
    with pytest.raises(BadInput, match="'inverse-gini' is missing"):
        draw_inverse_ablation(evaluations, ["tiny"], ["prism-gini", "random"], "smoke", *out)


def test_the_ratio_sweep_is_drawn_and_repeats_byte_for_byte(evaluations, tmp_path):
    for name in ("one", "two"):
        out = tmp_path / f"{name}.svg", tmp_path / f"{name}.png"
        draw_ratio_sweep(evaluations, "tiny", ["prism-gini", "ratio-10"], [50, 10], "paper", *out)
    text = (tmp_path / "one.svg").read_text()
    assert "share of the corpus that goes to RL" in text
    assert "paper scale" in text
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    with pytest.raises(BadInput, match="1 shares for 2 methods"):
        draw_ratio_sweep(evaluations, "tiny", ["prism-gini", "ratio-10"], [50], "paper", *out)


def test_training_curves_read_columns_by_name_and_tolerate_absent_ones(tmp_path):
    for seed in (0, 1):
        run = tmp_path / f"run{seed}"
        run.mkdir()
        # another order of columns, no entropy, and a column that nobody knows
        (run / "metrics.csv").write_text(f"new,success_rate,step,reward_mean\n1,0.{seed},1,2\n1,0.5,2,3\n")
    out = tmp_path / "f.svg", tmp_path / "f.png"
    draw_training_curves([tmp_path / "run0", tmp_path / "run1"], ["grpo", "grpo"], "demo", *out)
    text = out[0].read_text()
    assert text.count("not recorded") == 4  # length, invalid share, KL, entropy
    assert text.count(">grpo<") == 1  # one line for both seeds
    assert "from the lowest to the highest seed" in text
    (tmp_path / "run1/metrics.csv").write_text("success_rate\n0\n")
    with pytest.raises(BadInput, match="'step' is missing"):
        draw_training_curves([tmp_path / "run1"], ["grpo"], "demo", *out)


def test_the_forest_has_a_panel_a_block_and_rate(tmp_path):
    (tmp_path / "table1.csv").write_text(
        "# note\nsplit,method,all,all_low,all_high,paper_all\n"
        "seen,base,1,0,2,9\nunseen,base,1,0,2,\nunseen,mine#2,1,0,2,\n"
    )
    (tmp_path / "table2.csv").write_text(
        "backbone,method,sr,sr_low,sr_high,score,score_low,score_high\nx,base,1,0,2,3,2,4\ny,base,1,0,2,3,2,4\n"
    )
    out = tmp_path / "f.svg", tmp_path / "f.png"
    draw_forest([tmp_path / "table1.csv", tmp_path / "table2.csv"], "demo", *out)
    text = out[0].read_text()
    assert text.count(">success rate, %<") == 4
    assert text.count(">average score, %<") == 2
    assert "Table 1, unseen" in text
    assert ">mine#2<" in text
    (tmp_path / "table1.csv").write_text("method,all\nbase,1\n")
    with pytest.raises(BadInput, match="no rate with an interval"):
        draw_forest([tmp_path / "table1.csv"], "demo", *out)


def test_a_job_ends_when_its_benchmark_was_written(tmp_path):
    path = tmp_path / "sft/a.tsv"
    path.parent.mkdir()
    path.write_text("s\th:m:s\tmax_pss\n40.0\t0:00:40\t-\n")
    os.utime(path, (1000, 1000))
    (job,) = read_run(tmp_path)
    assert (job.rule, job.start, job.end, job.seconds) == ("sft", 960, 1000, 40)
    out = tmp_path / "f.svg", tmp_path / "f.png"
    draw_schedule(tmp_path, "demo", *out)
    assert "1 job, 40s" in out[0].read_text()
    path.unlink()
    with pytest.raises(BadInput, match="no benchmark file"):
        draw_schedule(tmp_path, "demo", *out)


def test_idle_time_is_cut_out():
    jobs = [RunTime("a", 160, 60), RunTime("b", 130, 10), RunTime("c", 1010, 10)]
    shown, cuts = cut_idle_time(jobs)
    # 15 seconds are left of the idle stretch
    assert [(job.start, job.end) for job in shown] == [(0, 60), (20, 30), (75, 85)]
    assert cuts == [67.5]
