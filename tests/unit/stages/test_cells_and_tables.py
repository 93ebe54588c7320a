"""Cells and tables: every number is recomputed here from the episodes by other means."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from scipy.stats import norm

from prism.core.errors import BadInput
from prism.core.files import sha256_file, write_json
from prism.core.paper_tables import TABLE1_COLUMNS, TABLE3_COLUMNS, TABLES
from prism.core.recipes import build_recipe
from prism.core.run_times import duration
from prism.core.statistics import wilson_rate
from prism.stages.cells import CellRecipe, write_evaluation_cells
from prism.stages.tables import TableFiles, build_table
from prism.stages.tables.comparisons import build_tests, write_tests
from prism.stages.timings import RunFiles, TimingFiles, rl_seconds, write_timing_cells
from prism.tools.show import print_table

PAPER = {
    "table1": "split,method,sft,rl,pick,look,clean,heat,cool,pick2,all\n"
    "seen,sft,100,-,78.57,78.57,42.86,16.67,26.92,28.57,45.31\n",
    "table2": "backbone,method,sft,rl,sr,score\nQwen3-8B,sft,100,-,42.97,73.87\n",
    "table3": "benchmark,method,sft,rl,probe_seconds,sft_seconds,rl_seconds,total_seconds,speedup\n"
    "webshop,grpo,-,100,-,-,21180,21180,1.00\nwebshop,prism-gini,50,50,108,480,11400,11940,1.76\n",
    "table4": "method,webshop_score,alfworld_sr\nmagnitude-l2,79.75,90.63\nprism-gini,85.15,95.31\n",
}
PANEL = "ab" * 32


def files_of(folder: Path) -> TableFiles:
    """Where a table is written."""
    return TableFiles(*(folder / f"t.{ending}" for ending in ("csv", "md", "tex")))


def evaluation(path, seed, episodes, benchmark="alfworld", panel=PANEL):
    """Write an evaluation; `episodes` are (task type, score), a task is solved at score 1."""
    records = [
        {"task_id": f"t{index}", "task_type": kind, "success": score == 1, "score": float(score)}
        for index, (kind, score) in enumerate(episodes)
    ]
    run = {"benchmark": benchmark, "panel": "p", "panel_sha256": panel, "seed": seed, "recipe": {"top_p": 1.0}}
    write_json(path, {**run, "episodes": records})
    return path


def cell_recipe(table, method="sft", columns=(), settings=None, stands_for="Qwen3-8B", **row):
    values = {
        "table": table,
        "row": {**row, "method": method},
        "backbone": "tiny-qwen3",
        "stands_for": stands_for,
        "method": {"sft": "all", "rl": "", "algorithm": ""},
        "sft": "100",
        "rl": "-",
        "scale": "demo",
        "columns": list(columns),
        "settings": settings or {},
    }
    return build_recipe(CellRecipe, values, "--row")


def paper_file(folder, table):
    path = folder / f"{table}.csv"
    path.write_text("# source\n" + PAPER[table])
    return path


@pytest.fixture
def row(tmp_path):
    """Two seeds of one method of Table 1 on a panel without look tasks."""
    runs = [
        evaluation(tmp_path / "s0.json", 0, [("pick", 1), ("pick", 0), ("heat", 0)]),
        evaluation(tmp_path / "s1.json", 1, [("pick", 1), ("pick", 1), ("heat", 0)]),
    ]
    write_evaluation_cells(cell_recipe("table1", split="seen"), runs, paper_file(tmp_path, "table1"), tmp_path / "c")
    return tmp_path


def in_order(folder, table):
    return [folder / f"{column}.json" for column in TABLES[table].columns]


def read_cells(folder, table):
    return {path.stem: json.loads(path.read_text()) for path in in_order(folder, table)}


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


def test_cells_of_table_1(row):
    cells = read_cells(row / "c", "table1")
    assert cells["pick"]["value"] == 75.0
    assert cells["pick"]["seeds"]["0"]["value"] == 50.0
    assert cells["pick"]["seeds"]["0"]["interval"]["method"] == "Wilson score"
    assert cells["heat"]["value"] == 0.0
    assert cells["heat"]["interval"]["method"].startswith("Wilson score on the tasks")
    assert cells["look"]["value"] is None
    assert cells["all"]["value"] == pytest.approx(50.0)
    assert cells["all"]["interval"]["method"] == "Wilson score, random effects of seeds and tasks"
    assert (cells["all"]["episodes"], cells["all"]["tasks"]) == (6, 3)
    assert cells["all"]["paper"]["value"] == 45.31
    assert cells["all"]["difference"] == pytest.approx(4.69)
    assert [source["sha256"] for source in cells["all"]["evaluations"]] == [
        sha256_file(row / "s0.json"),
        sha256_file(row / "s1.json"),
    ]


def test_table_2_counts_full_scores_and_averages_scores(tmp_path):
    episodes = [("home", 1), ("home", 0.5), ("toys", 0.25), ("toys", 0)]
    runs = [evaluation(tmp_path / "s0.json", 0, episodes, "webshop")]
    recipe = cell_recipe("table2", backbone="tiny-qwen3")
    write_evaluation_cells(recipe, runs, paper_file(tmp_path, "table2"), tmp_path / "c")
    cells = read_cells(tmp_path / "c", "table2")
    assert cells["sr"]["value"] == 25.0
    assert cells["score"]["value"] == pytest.approx(43.75)
    assert cells["score"]["interval"]["method"] == "bootstrap over tasks"
    assert [cell["paper"]["value"] for cell in cells.values()] == [42.97, 73.87]


def test_the_paper_has_no_value_for_another_backbone(tmp_path):
    runs = [evaluation(tmp_path / "s0.json", 0, [("pick", 1)])]
    recipe = cell_recipe("table1", split="seen", stands_for="Llama-3.1-8B-Instruct")
    write_evaluation_cells(recipe, runs, paper_file(tmp_path, "table1"), tmp_path / "c")
    cell = read_cells(tmp_path / "c", "table1")["all"]
    assert cell["paper"]["value"] is None
    assert cell["difference"] is None


def test_table_1(row):
    build_table("table1", in_order(row / "c", "table1"), None, "demo", files_of(row))
    first = (row / "t.csv").read_text().splitlines()[0]
    assert first.startswith("# Table 1, ALFWorld")
    assert "DEMO SCALE" in first
    table = pd.read_csv(row / "t.csv", comment="#", dtype={"rl": str})
    contract = "split,method,sft,rl,pick,look,clean,heat,cool,pick2,all,all_low,all_high,episodes,seeds,paper_all"
    assert list(table.columns)[:16] == contract.split(",")
    assert table.loc[0, ["split", "method", "sft", "rl"]].tolist() == ["seen", "sft", 100, "-"]
    assert table.loc[0, ["pick", "heat", "all"]].tolist() == [75.0, 0.0, 50.0]
    assert table.loc[0, ["episodes", "seeds"]].tolist() == [6, 2]
    assert "DEMO SCALE" in (row / "t.md").read_text()


def two_methods(folder, table="table2", n=40, **row):
    """A good method and the reference on the same tasks: cells of both rows, in the order of the table."""
    outcomes = np.random.default_rng(0).random(n)
    paths = []
    for method, scores in (("sft-then-rl", outcomes < 0.3), ("prism-gini", outcomes < 0.8)):
        run = evaluation(folder / f"{method}.json", 0, [("home", int(score)) for score in scores], "webshop")
        recipe = cell_recipe(table, method, backbone="tiny-qwen3")
        write_evaluation_cells(recipe, [run], paper_file(folder, table), folder / method)
        paths += in_order(folder / method, table)
    return paths


def test_table_2_with_its_tests(tmp_path):
    cells = two_methods(tmp_path)
    write_tests("table2", cells, "demo", tmp_path / "tests.csv")
    tests = pd.read_csv(tmp_path / "tests.csv", comment="#")
    rate = tests[tests["column"] == "sr"].iloc[0]
    outcomes = np.random.default_rng(0).random(40)
    better = int(((outcomes >= 0.3) & (outcomes < 0.8)).sum())
    assert (rate["method"], rate["reference"], rate["better"], rate["worse"]) == (
        "prism-gini",
        "sft-then-rl",
        better,
        0,
    )
    assert rate["p"] == pytest.approx(2 * 0.5**better, rel=1e-3)
    assert rate["significant"] == "yes"
    build_table("table2", cells, tmp_path / "tests.csv", "demo", files_of(tmp_path))
    table = pd.read_csv(tmp_path / "t.csv", comment="#")
    contract = "backbone,method,sft,rl,sr,sr_low,sr_high,score,score_low,score_high,episodes,seeds,paper_sr,paper_score"
    assert list(table.columns)[:14] == contract.split(",")
    markdown, latex = (tmp_path / "t.md").read_text(), (tmp_path / "t.tex").read_text()
    # both ends of an interval are shown: it is not symmetric about the rate
    value, low, high = (f"{table.loc[1, column]:.1f}" for column in ("sr", "sr_low", "sr_high"))
    assert f"**{value}**† [{low}, {high}]" in markdown
    assert rf"\textbf{{{value}}}$^{{\dagger}}$ [{low}, {high}]" in latex
    assert not any(sign in text for sign in ("±", r"\pm", "+-") for text in (markdown, latex))
    assert len(re.findall(r"\\toprule|\\bottomrule", latex)) == 2
    assert "DEMO SCALE" in latex.splitlines()[0]
    # every row of the tabular has as many cells as it has columns
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", latex)[1]
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {len(columns)}


def test_the_frame_of_the_tests_does_not_depend_on_the_order_of_columns(tmp_path):
    """Holm over the methods of one column and reference; a method is not compared with itself."""
    frame = build_tests("table2", two_methods(tmp_path), "demo")
    assert frame.groupby(["backbone", "column", "reference"]).size().tolist() == [1, 1]
    assert not (frame["method"] == frame["reference"]).any()
    assert (frame["p"] == frame["p_holm"]).all()  # families of one


def test_a_changed_evaluation_is_noticed(tmp_path):
    cells = two_methods(tmp_path)
    evaluation(tmp_path / "prism-gini.json", 0, [("home", 1)] * 40, "webshop")
    with pytest.raises(BadInput, match="not the evaluation that its cell was made from"):
        write_tests("table2", cells, "demo", tmp_path / "tests.csv")


def test_methods_on_different_panels_are_not_compared(tmp_path):
    cells = two_methods(tmp_path)
    for path in cells[:2]:
        write_json(path, {**json.loads(path.read_text()), "panel_sha256": "cd" * 32})
    with pytest.raises(BadInput, match="another panel"):
        write_tests("table2", cells, "demo", tmp_path / "tests.csv")


def benchmark_file(path, seconds):
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\t1.0\n")
    return str(path)


@pytest.fixture
def timing_cells(tmp_path):
    """GRPO, PRISM and HPT with two shards of probe or rollouts and two seeds; probe and SFT with their loops' times."""
    for seed in (0, 1):
        (tmp_path / f"run{seed}").mkdir()
        write_json(tmp_path / f"run{seed}/run.json", {"steps": 8})
        (tmp_path / f"run{seed}/metrics.csv").write_text("step,seconds_step\n1,10\n2,20\n")
        write_json(tmp_path / f"sft{seed}/sft.json", {"loop_seconds": 14.0})
    paper = paper_file(tmp_path, "table3")
    settings = {"steps_rule": "epochs (0.77)", "hardware": "CPU, 1 thread of torch"}
    runs = {}
    for seed in (0, 1):
        run = str(tmp_path / f"run{seed}")
        grpo = benchmark_file(tmp_path / f"grpo{seed}.tsv", 1000 + 100 * seed)
        sft = benchmark_file(tmp_path / f"sft{seed}.tsv", 20)
        rl = benchmark_file(tmp_path / f"rl{seed}.tsv", 400 + 100 * seed)
        initial = str(tmp_path / f"sft{seed}")
        whole = {"checkpoint": run, "baseline": grpo, "baseline_checkpoint": run}
        runs[str(seed)] = RunFiles(sft=sft, rl=rl, initial=initial, **whole), RunFiles(rl=grpo, **whole)
    hybrid, alone = ({seed: pair[part] for seed, pair in runs.items()} for part in (0, 1))
    probe = tuple(benchmark_file(tmp_path / f"probe{shard}.tsv", 5 + shard) for shard in (0, 1))
    for shard in (0, 1):
        write_json(tmp_path / f"probe{shard}.loop.json", {"loop_seconds": 1.5 - shard})
    # made before loops were timed
    rollouts = tuple(benchmark_file(tmp_path / f"rollouts{shard}.tsv", 200 + shard) for shard in (0, 1))
    for method, files in (
        ("prism-gini", TimingFiles(probe, (), hybrid)),
        ("grpo", TimingFiles((), (), alone)),
        ("hpt", TimingFiles((), rollouts, hybrid)),
    ):
        recipe = cell_recipe("table3", method, benchmark="webshop", settings=settings)
        write_timing_cells(recipe, files, paper, tmp_path / method)
    return tmp_path


def values_of(cells, key="value"):
    return {column: cell[key] for column, cell in cells.items()}


def test_cells_of_table_3(timing_cells):
    cells = read_cells(timing_cells / "prism-gini", "table3")
    assert values_of(cells) == {
        "probe": 6.0,  # shards run side by side
        "rollouts": None,
        "sft": 20.0,
        "rl": 450.0,
        "total": 476.0,
        "speedup": pytest.approx((1000 / 426 + 1100 / 526) / 2),
    }
    assert cells["total"]["paper"]["value"] == 11940
    assert cells["rl"]["training_steps"] == 8
    # Student's interval of 400 and 500: 450 ± 12.706 * 50
    assert cells["rl"]["interval"]["high"] == pytest.approx(450 + 12.706 * 50, abs=0.1)
    assert len(cells["total"]["timings"]) == 8
    alone = read_cells(timing_cells / "grpo", "table3")
    assert alone["probe"]["value"] is None
    assert alone["speedup"]["value"] == 1.0


def test_loops_are_timed_beside_the_jobs(timing_cells):
    """A probe's job of 6 seconds may pass over the data for 1.5; RL's loop is its two steps."""
    loops = values_of(read_cells(timing_cells / "prism-gini", "table3"), "loop")
    assert loops == {"probe": 1.5, "rollouts": None, "sft": 14.0, "rl": 30.0, "total": 45.5, "speedup": 30 / 45.5}


def test_the_rollouts_that_hpt_routes_by_are_a_phase(timing_cells):
    cells = read_cells(timing_cells / "hpt", "table3")
    assert values_of(cells) == {
        "probe": None, "rollouts": 201.0, "sft": 20.0, "rl": 450.0, "total": 671.0,
        "speedup": pytest.approx((1000 / 621 + 1100 / 721) / 2),
    }  # fmt: skip
    assert cells["rollouts"]["paper"]["value"] is None
    # a total with an unknown part is unknown
    loops = values_of(cells, "loop")
    assert (loops["rollouts"], loops["sft"], loops["total"], loops["speedup"]) == (None, 14.0, None, None)


def test_table_3(timing_cells):
    methods = ("grpo", "prism-gini", "hpt")
    cells = [path for method in methods for path in in_order(timing_cells / method, "table3")]
    out = [timing_cells / f"t.{suffix}" for suffix in ("csv", "md", "tex")]
    build_table("table3", cells, None, "demo", TableFiles(*out))
    text = out[0].read_text()
    assert "CPU, 1 thread of torch" in text
    assert "epochs (0.77)" in text
    table = pd.read_csv(out[0], comment="#").set_index("method")
    assert table["total_time"].tolist() == ["17m 30s", "7m 56s", "11m 11s"]
    assert table["paper_speedup"].tolist()[:2] == [1.0, 1.76]
    assert pd.isna(table.loc["grpo", "probe_seconds"])
    assert table.loc["prism-gini", ["probe_seconds", "probe_loop_seconds"]].tolist() == [6.0, 1.5]
    assert table["speedup_loop"].tolist()[:2] == [1.0, 0.66]
    assert table.loc["hpt", "rollouts_seconds"] == 201
    assert "paper_rollouts_seconds" not in table


def test_an_rl_run_that_went_on_is_timed_by_its_steps(timing_cells):
    """Snakemake timed the last 2 seconds; the steps took 30 in all."""
    last = benchmark_file(timing_cells / "last.tsv", 2)
    assert rl_seconds(last, timing_cells / "run0") == 30
    assert rl_seconds(timing_cells / "rl0.tsv", timing_cells / "run0") == 400
    (timing_cells / "run0/metrics.csv").unlink()
    with pytest.raises(BadInput, match="no times of the training steps"):
        rl_seconds(last, timing_cells / "run0")


def test_a_missing_benchmark_file_is_one_line(tmp_path):
    missing = TimingFiles((), (), {"0": RunFiles(rl=str(tmp_path / "none.tsv"))})
    with pytest.raises(BadInput, match=r"none\.tsv.*benchmark file is missing"):
        write_timing_cells(
            cell_recipe("table3", "grpo", benchmark="webshop"), missing, paper_file(tmp_path, "table3"), tmp_path
        )


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (12, "12s"), (108, "1m 48s"), (11940, "3h 19m"), (3600, "1h 00m")]
)
def test_durations_as_the_paper_prints_them(seconds, shown):
    assert duration(seconds) == shown


def test_table_4_has_a_cell_a_benchmark(tmp_path):
    paper = paper_file(tmp_path, "table4")
    for benchmark in ("webshop", "alfworld"):
        run = evaluation(tmp_path / f"{benchmark}.json", 0, [("pick", 1), ("pick", 0.5)], benchmark)
        write_evaluation_cells(cell_recipe("table4", "prism-gini", (benchmark,)), [run], paper, tmp_path / "c")
    cells = read_cells(tmp_path / "c", "table4")
    assert (cells["webshop"]["value"], cells["alfworld"]["value"]) == (75.0, 50.0)
    assert (cells["webshop"]["paper"]["value"], cells["alfworld"]["paper"]["value"]) == (85.15, 95.31)
    out = [tmp_path / f"t.{suffix}" for suffix in ("csv", "md", "tex")]
    build_table("table4", in_order(tmp_path / "c", "table4"), None, "demo", TableFiles(*out))
    assert pd.read_csv(out[0], comment="#").loc[0, ["webshop_score", "alfworld_sr"]].tolist() == [75.0, 50.0]
    build_table("table4", [tmp_path / "c/alfworld.json"], None, "demo", TableFiles(*out))
    assert "webshop_score" not in pd.read_csv(out[0], comment="#")


def test_a_cell_of_another_scale_is_refused(row):
    with pytest.raises(BadInput, match="made at scale 'demo'"):
        build_table("table1", in_order(row / "c", "table1"), None, "paper", files_of(row))


def test_a_missing_cell_is_named(row):
    files = [path for path in in_order(row / "c", "table1") if path.stem != "heat"]
    with pytest.raises(BadInput, match="'heat' is missing"):
        build_table("table1", files, None, "demo", files_of(row))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"panel": "cd" * 32}, "another panel"), ({"seed": 0}, "second evaluation of seed 0")],
)
def test_seeds_that_cannot_be_pooled_are_refused(tmp_path, change, message):
    runs = [
        evaluation(tmp_path / "0.json", 0, [("pick", 1)]),
        evaluation(tmp_path / "1.json", **{"seed": 1, **change}, episodes=[("pick", 1)]),
    ]
    with pytest.raises(BadInput, match=message):
        write_evaluation_cells(
            cell_recipe("table1", split="seen"), runs, paper_file(tmp_path, "table1"), tmp_path / "c"
        )
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "content",
    ["{}", '{"panel_sha256": "x", "seed": 0, "episodes": []}', "[1]", "nonsense"],
)
def test_what_is_not_an_evaluation_is_refused(tmp_path, content):
    (tmp_path / "e.json").write_text(content)
    with pytest.raises(BadInput, match=r"e\.json"):
        write_evaluation_cells(
            cell_recipe("table1", split="seen"), [tmp_path / "e.json"], paper_file(tmp_path, "table1"), tmp_path / "c"
        )


@pytest.mark.parametrize(("field", "value"), [("score", 1.5), ("success", "yes"), ("task_id", "t1")])
def test_a_broken_episode_is_refused(tmp_path, field, value):
    path = evaluation(tmp_path / "e.json", 0, [("pick", 1), ("pick", 0)])
    run = json.loads(path.read_text())
    run["episodes"][0][field] = value
    write_json(path, run)
    with pytest.raises(BadInput, match=r"e\.json"):
        write_evaluation_cells(
            cell_recipe("table1", split="seen"), [path], paper_file(tmp_path, "table1"), tmp_path / "c"
        )


@pytest.mark.parametrize("table", ["table1", "table2", "table3", "table4"])
def test_the_papers_values_can_be_placed(root, table):
    """The file of every table has the columns that its cells look for, and config keys as names."""
    frame = pd.read_csv(root / f"resources/paper/v1/{table}.csv", comment="#")
    layout = TABLES[table]
    assert set(layout.row) | set(filter(None, layout.columns.values())) <= set(frame.columns)
    assert not frame.duplicated(list(layout.row)).any()


def test_the_papers_table_is_what_was_published(root):
    """Every overall rate of Table 1 is a multiple of 1/128, as published; row counts are ten per split."""
    table = pd.read_csv(root / "resources/paper/v1/table1.csv", comment="#")
    assert table.groupby("split").size().to_dict() == {"seen": 10, "unseen": 10}
    k = table["all"] * 1.28
    assert ((k - k.round()).abs() < 0.01).all()


def test_a_table_is_printed(row, capsys):
    build_table("table1", in_order(row / "c", "table1"), None, "demo", files_of(row))
    print_table(row / "t.csv")
    shown = capsys.readouterr().out
    assert "DEMO SCALE" in shown
    assert "seen, 6 episodes, 2 seeds" in shown
    assert "75.0" in shown
    with pytest.raises(BadInput, match="snakemake first"):
        print_table(row / "none.csv")


@pytest.fixture(scope="module")
def schema(root):
    schema = json.loads((root / "resources/schemas/cell.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_cells_follow_the_schema(row, timing_cells, schema):
    cells = [*(row / "c").glob("*.json"), *(timing_cells / "grpo").glob("*.json")]
    assert len(cells) == len(TABLE1_COLUMNS) + len(TABLE3_COLUMNS)
    for path in cells:
        schema.validate(json.loads(path.read_text()))
    broken = {**json.loads(cells[0].read_text()), "evaluations": []}
    assert list(schema.iter_errors(broken))


@pytest.mark.demo
def test_every_cell_of_the_demo_is_recomputed(root, schema, monkeypatch):
    """All cells of the finished demo against their evaluation files, by pandas alone."""
    monkeypatch.chdir(root)
    cells = sorted((root / "results/demo/cells").glob("table[124]/**/*.json"))
    if not cells:
        pytest.skip("results/demo is not built: run `make demo` first")
    for path in cells:
        cell = json.loads(path.read_text())
        schema.validate(cell)
        frames = []
        for source in cell["evaluations"]:
            assert sha256_file(source["path"]) == source["sha256"], path
            run = json.loads((root / source["path"]).read_text())
            frames.append(pd.DataFrame(run["episodes"]).assign(seed=run["seed"]))
        episodes = pd.concat(frames)
        if cell["table"] == "table1" and cell["column"] != "all":
            episodes = episodes[episodes["task_type"] == cell["column"]]
        outcome = episodes["success"].astype(float)
        if cell["unit"].startswith("average score"):
            outcome = episodes["score"]
        if cell["value"] is None:
            assert episodes.empty, path
            continue
        assert cell["value"] == pytest.approx(100 * outcome.mean(), abs=1e-9), path
        assert cell["episodes"] == len(episodes), path
        by_seed = 100 * outcome.groupby(episodes["seed"]).mean()
        assert {seed: values["value"] for seed, values in cell["seeds"].items()} == pytest.approx(
            {str(seed): value for seed, value in by_seed.items()}
        ), path
        assert cell["interval"]["low"] <= cell["value"] <= cell["interval"]["high"], path
