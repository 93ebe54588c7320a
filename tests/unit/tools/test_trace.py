"""The ancestry of a cell, on a small results folder that is moved and tampered with."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from prism.cli import app
from prism.core.errors import BadInput, PrismError
from prism.core.files import sha256_file, write_json, write_text
from prism.core.model_folder import sha256_model
from prism.tools.trace import print_trace, trace_cell

CELL = "cells/table1/seen/prism-gini/all.json"
PANEL = "ab" * 32


def model(folder, weights):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    return sha256_model(folder)


@pytest.fixture
def results(tmp_path):
    """Backbone, data, norms, scores, split, SFT, RL, evaluation and cell of one method and seed."""
    root = tmp_path / "results/demo"
    write_text(root / "data/alfworld/trajectories.jsonl", '{"id": "a"}\n')
    data = sha256_file(root / "data/alfworld/trajectories.jsonl")
    write_json(root / "data/alfworld/trajectories.json", {"sha256": data, "trajectories": 1})
    for name in ("seen", "train"):
        write_json(root / f"data/alfworld/panels/{name}.json", {"sha256": PANEL, "tasks": [{"id": "a"}]})
    base = model(root / "backbones/tiny-qwen3", b"base")
    write_json(root / "backbones/tiny-qwen3/provenance.json", {"parameters": 7})
    norms = root / "gradnorms/alfworld/tiny-qwen3/shard-0-of-1.parquet"
    norms.parent.mkdir(parents=True)
    metadata = {"model_sha256": base, "data_sha256": data, "dtype": "float32", "version_torch": "2.13.0"}
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata(metadata), norms)
    write_text(root / "scores/alfworld/tiny-qwen3.csv", f"# data_sha256: {data}\nid,gini\na,0.5\n")
    split = "# score: gini\n# threshold: 0.5\nid,score,regime\na,0.5,sft\n"
    write_text(root / "splits/alfworld/tiny-qwen3/gini-50.csv", split)
    sft = root / "sft/alfworld/tiny-qwen3/gini-low50/seed0"
    initial = model(sft, b"sft")
    write_json(sft / "sft.json", {"model_sha256": base, "seed": 0, "versions": {"torch": "2.13.0"}})
    rl = root / "rl/alfworld/tiny-qwen3/gini-low50--grpo--gini-high50/seed0"
    final = model(rl, b"rl")
    write_json(rl / "run.json", {"model": initial, "panel": PANEL, "seed": 0, "steps": 3})
    evaluation = root / "eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json"
    run = {"seed": 0, "panel": "seen", "panel_sha256": PANEL, "model_sha256": final, "recipe": {"top_p": 1.0}}
    write_json(evaluation, {**run, "versions": {"textworld": "1.7.0"}, "episodes": []})
    name = str(evaluation.relative_to(tmp_path))
    method = {"sft": "gini-low50", "rl": "gini-high50", "algorithm": "grpo"}
    cell = {
        **{"value": 50.0, "unit": "success rate, percent", "interval": None, "scale": "demo", "backbone": "tiny-qwen3"},
        "row": {"split": "seen", "method": "prism-gini"},
        "evaluations": [{"path": name, "sha256": sha256_file(evaluation)}],
        "config": {"method": method},
    }
    write_json(root / CELL, cell)
    log = root / "logs/eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.log"
    write_text(log, "# started 2026-01-01T00:00:00+00:00 prism stage evaluate --seed 0\n00:00:01 ready\n")
    write_text(root / "benchmarks/evaluate/alfworld/tiny-qwen3/prism-gini/seed0/seen.tsv", "s\th:m:s\n12.5\t0:00:12\n")
    return root


def by_path(step):
    return {current.path: current for current in step.all_steps()}


def test_everything_a_cell_rests_on(results):
    steps = by_path(trace_cell(results / CELL))
    assert set(steps) == {
        CELL,
        "eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json",
        "data/alfworld/panels/seen.json",
        "rl/alfworld/tiny-qwen3/gini-low50--grpo--gini-high50/seed0",
        "data/alfworld/panels/train.json",
        "sft/alfworld/tiny-qwen3/gini-low50/seed0",
        "backbones/tiny-qwen3",
        "data/alfworld/trajectories.jsonl",
        "splits/alfworld/tiny-qwen3/gini-50.csv",
        "scores/alfworld/tiny-qwen3.csv",
        "gradnorms/alfworld/tiny-qwen3/shard-0-of-1.parquet",
    }
    # what nobody hashes when it is used
    unhashed = {CELL, "splits/alfworld/tiny-qwen3/gini-50.csv", "scores/alfworld/tiny-qwen3.csv",
                "gradnorms/alfworld/tiny-qwen3/shard-0-of-1.parquet"}  # fmt: skip
    assert {path for path, step in steps.items() if step.state != "same"} == unhashed
    evaluation = steps["eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json"].facts
    assert evaluation["command"] == "prism stage evaluate --seed 0"
    assert evaluation["started"] == "2026-01-01T00:00:00+00:00"
    assert evaluation["seconds"] == 12.5
    assert steps["gradnorms/alfworld/tiny-qwen3/shard-0-of-1.parquet"].facts["version_torch"] == "2.13.0"
    assert steps["splits/alfworld/tiny-qwen3/gini-50.csv"].facts["threshold"] == "0.5"


def test_a_random_split_rests_on_the_corpus_alone(results):
    cell = json.loads((results / CELL).read_text())
    cell["config"]["method"] = {"sft": "random-low50", "rl": "random-high50", "algorithm": "grpo"}
    write_json(results / CELL, cell)
    split = by_path(trace_cell(results / CELL))["splits/alfworld/tiny-qwen3/random-seed0-50.csv"]
    assert [step.path for step in split.all_steps()][1:] == ["data/alfworld/trajectories.jsonl"]


def test_copied_results_are_traced_where_they_are(results, tmp_path):
    copy = tmp_path / "elsewhere/copy"
    shutil.copytree(results, copy)
    shutil.rmtree(results)
    assert {step.state for step in trace_cell(copy / CELL).all_steps()} == {"same", "unchecked"}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("data/alfworld/trajectories.jsonl", "data/alfworld/trajectories.jsonl"),
        ("backbones/tiny-qwen3/model.safetensors", "backbones/tiny-qwen3"),
        ("sft/alfworld/tiny-qwen3/gini-low50/seed0/model.safetensors", "sft/alfworld/tiny-qwen3/gini-low50/seed0"),
        ("eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json", None),
    ],
)
def test_a_changed_file_is_named(results, name, step):
    with (results / name).open("a") as out:
        out.write("\n")
    assert by_path(trace_cell(results / CELL))[step or name].state == "changed"
    assert by_path(trace_cell(results / CELL, check=False))[step or name].state == "unchecked"


def test_a_missing_file_does_not_stop_the_trace(results):
    shutil.rmtree(results / "backbones")
    (results / "eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json").rename(results / "away.json")
    assert [step.state for step in trace_cell(results / CELL).inputs] == ["missing"]
    (results / "away.json").rename(results / "eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json")
    assert by_path(trace_cell(results / CELL))["backbones/tiny-qwen3"].state == "missing"


def test_the_command(results, capsys):
    shown = CliRunner().invoke(app, ["trace", "--json", str(results / CELL)])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["inputs"][0]["kind"] == "evaluation"
    print_trace(trace_cell(results / CELL))
    tree = capsys.readouterr().out
    assert "prism stage evaluate --seed 0" in tree
    assert tree.count("float32") == 1
    (results / "data/alfworld/trajectories.jsonl").write_text("{}\n")
    changed = CliRunner().invoke(app, ["trace", str(results / CELL)])
    assert isinstance(changed.exception, PrismError)
    assert "trajectories.jsonl" in str(changed.exception)


def test_what_is_not_a_cell_is_refused(results):
    with pytest.raises(BadInput, match="not a cell"):
        trace_cell(results / "data/alfworld/trajectories.json")


@pytest.mark.demo
def test_the_demos_cells_rest_on_what_is_there(root):
    """Nothing in the finished demo has changed since the numbers were made from it, and nothing is missing.

    Of every ancestor it is told what was run, with which version, and how long it took.
    """
    cells = sorted((root / "results/demo/cells/table1").glob("*/*/all.json"))
    if not cells:
        pytest.skip("results/demo is not built: run `make demo` first")
    for path in cells:
        steps = list(trace_cell(path).all_steps())
        states = {step.path: step.state for step in steps}
        assert set(states.values()) <= {"same", "unchecked"}, {p: s for p, s in states.items() if s != "same"}
        assert [step.path for step in steps if not {"command", "version", "seconds"} <= step.facts.keys()] == []
