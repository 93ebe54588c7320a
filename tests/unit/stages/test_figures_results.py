"""Figures of evaluations and runs: inverse ablation, ratio sweep, training curves, forest plot, schedule."""

import json
import os

import pytest

from prism.core.errors import BadInput
from prism.core.run_times import RunTime, read_run
from prism.stages.figures import forest, inverse_ablation, ratio_sweep, schedule, training_curves
from prism.stages.figures.evaluations import Evaluations
from prism.stages.figures.schedule import cut_idle_time
from prism.stages.figures.style import FigureFiles

PAIRS = {"gini": ("prism-gini", "inverse-gini")}


def write_evaluation(path, scores, benchmark="webshop", panel="p"):
    """The evaluation of a seed, named in the path, whose episodes have these scores; a score of 1 is a success."""
    episodes = [
        {"task_id": f"t{n}", "task_type": "", "success": score == 1, "score": score} for n, score in enumerate(scores)
    ]
    run = {"benchmark": benchmark, "panel": "test", "panel_sha256": panel, "recipe": {}, "episodes": episodes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**run, "seed": int(path.parent.name.removeprefix("seed"))}))
    return path


def estimate(folder, seeds, measure):
    """The estimate of one method from the scores of each seed."""
    paths = [write_evaluation(folder / f"x/m/seed{seed}/test.json", scores) for seed, scores in enumerate(seeds)]
    return Evaluations(paths).estimate("x", "m", measure)


@pytest.fixture
def evaluations(tmp_path):
    """Two seeds of each method: 50% solved, 75% average score."""
    return [
        write_evaluation(tmp_path / f"eval/tiny/{method}/seed{seed}/test.json", [1.0, 0.5] * 4)
        for method in (*PAIRS["gini"], "random", "ratio-10")
        for seed in (0, 1)
    ]


@pytest.fixture
def out(tmp_path):
    return FigureFiles(tmp_path / "f.svg", tmp_path / "f.png", "smoke")


def test_one_seed_has_wilsons_interval(tmp_path):
    found = estimate(tmp_path, [[1.0] * 5 + [0.0] * 5], "sr")
    assert found.value == 50
    # 5 of 10: the textbook's Wilson interval
    assert found.low == pytest.approx(23.66, abs=0.01)
    assert found.high == pytest.approx(76.34, abs=0.01)


def test_success_is_the_measure_of_the_tables(tmp_path):
    """WebShop's success is a score of exactly 1, ALFWorld's what the game says."""
    for benchmark, expected in (("webshop", 0), ("alfworld", 50)):
        path = write_evaluation(tmp_path / "x/m/seed0/test.json", [1.0, 0.0], benchmark)
        path.write_text(path.read_text().replace('"score": 1.0', '"score": 0.99'))
        assert Evaluations([path]).estimate("x", "m", "sr").value == expected


def test_the_interval_of_scores_narrows_with_tasks_and_vanishes_without_spread(tmp_path):
    few = estimate(tmp_path, [[1.0, 0.2] * 5], "score")
    many = estimate(tmp_path, [[1.0, 0.2] * 80], "score")
    assert few.value == many.value == pytest.approx(60)
    # standard error of 160 tasks with deviation 0.4: 3.2 percent points
    assert many.high - many.low == pytest.approx(2 * 1.96 * 100 * 0.4 / 160**0.5, rel=0.1)
    assert few.high - few.low > 3 * (many.high - many.low)
    assert estimate(tmp_path, [[0.3] * 5], "score").errors == pytest.approx((0, 0))


def test_seeds_that_differ_widen_the_interval(tmp_path):
    # two seeds, 0 and 100%: nearly nothing is known
    found = estimate(tmp_path, [[0.0] * 10, [1.0] * 10], "sr")
    assert found.low < 1
    assert found.high > 99


def test_seeds_on_different_panels_are_refused(tmp_path):
    with pytest.raises(BadInput, match="another panel"):
        estimate(tmp_path, [[1.0] * 2, [1.0] * 3], "sr")
    paths = [write_evaluation(tmp_path / f"y/m/seed{n}/test.json", [1.0], panel=f"panel {n}") for n in (0, 1)]
    with pytest.raises(BadInput, match="another panel"):
        Evaluations(paths).estimate("y", "m", "sr")
    with pytest.raises(BadInput, match="none of y/other"):
        Evaluations(paths).estimate("y", "other", "sr")


def test_the_inverse_ablation_is_drawn(evaluations, out):
    inverse_ablation.draw(evaluations, ["tiny"], PAIRS, "random", out)
    text = out.svg.read_text()
    for expected in ("Gini", "inverse", "random", "average score", "success rate", "SMOKE SCALE", "8 tasks, 2"):
        assert expected in text


def test_the_ratio_sweep_is_drawn_and_repeats_byte_for_byte(evaluations, tmp_path):
    for name in ("one", "two"):
        out = FigureFiles(tmp_path / f"{name}.svg", tmp_path / f"{name}.png", "paper")
        ratio_sweep.draw(evaluations, ["tiny"], {"prism-gini": 50, "ratio-10": 10}, out)
    text = (tmp_path / "one.svg").read_text()
    assert "share of the corpus that goes to RL" in text
    assert "paper scale" in text
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_training_curves_read_columns_by_name_and_tolerate_absent_ones(tmp_path, out):
    for seed in (0, 1):
        run = tmp_path / f"run{seed}"
        run.mkdir()
        # another order of columns, no entropy, and a column that nobody knows
        (run / "metrics.csv").write_text(f"new,success_rate,step,reward_mean\n1,0.{seed},1,2\n1,0.5,2,3\n")
    training_curves.draw([tmp_path / "run0", tmp_path / "run1"], ["grpo", "grpo"], out)
    text = out.svg.read_text()
    assert text.count("not recorded") == 4  # length, invalid share, KL, entropy
    assert text.count(">grpo<") == 1  # one line for both seeds
    assert "from the lowest to the highest seed" in text
    (tmp_path / "run1/metrics.csv").write_text("success_rate\n0\n")
    with pytest.raises(BadInput, match="'step' is missing"):
        training_curves.draw([tmp_path / "run1"], ["grpo"], out)


def test_the_forest_has_a_panel_a_block_and_rate(tmp_path, out):
    (tmp_path / "table1.csv").write_text(
        "# note\nsplit,method,all,all_low,all_high,paper_all\n"
        "seen,base,1,0,2,9\nunseen,base,1,0,2,\nunseen,mine#2,1,0,2,\n"
    )
    (tmp_path / "table2.csv").write_text(
        "backbone,method,sr,sr_low,sr_high,score,score_low,score_high\nx,base,1,0,2,3,2,4\ny,base,1,0,2,3,2,4\n"
    )
    forest.draw([tmp_path / "table1.csv", tmp_path / "table2.csv"], out)
    text = out.svg.read_text()
    assert text.count(">success rate, %<") == 4
    assert text.count(">average score, %<") == 2
    assert "Table 1, unseen" in text
    assert ">mine#2<" in text
    (tmp_path / "table1.csv").write_text("method,all\nbase,1\n")
    with pytest.raises(BadInput, match="no rate with an interval"):
        forest.draw([tmp_path / "table1.csv"], out)


def test_a_job_ends_when_its_benchmark_was_written(tmp_path, out):
    path = tmp_path / "sft/a.tsv"
    path.parent.mkdir()
    path.write_text("s\th:m:s\tmax_pss\n40.0\t0:00:40\t-\n")
    os.utime(path, (1000, 1000))
    (job,) = read_run(tmp_path)
    assert (job.rule, job.start, job.end, job.seconds) == ("sft", 960, 1000, 40)
    schedule.draw([tmp_path], out)
    assert "1 job, 40s" in out.svg.read_text()
    path.unlink()
    with pytest.raises(BadInput, match="no benchmark file"):
        schedule.draw([tmp_path], out)


def test_idle_time_is_cut_out():
    jobs = [RunTime("a", 160, 60), RunTime("b", 130, 10), RunTime("c", 1010, 10)]
    shown, cuts = cut_idle_time(jobs)
    # 15 seconds are left of the idle stretch
    assert [(job.start, job.end) for job in shown] == [(0, 60), (20, 30), (75, 85)]
    assert cuts == [67.5]
