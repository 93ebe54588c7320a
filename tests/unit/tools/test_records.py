"""The records that are shipped, and what is rebuilt from them."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prism.core.errors import BadInput
from prism.core.files import check_folder_output
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.tools.records import pack_records

RECORDS = "resources/records/demo"


def read_rows(path):
    """Rows of a table of results."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def rebuilt_from_records(copy, run, targets):
    """A copy of the repository in which targets were made from a run's records."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "records.smk", "--cores", "2", *targets]
    # the rules call `python`
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PRISM_RECORDS": run}
    subprocess.run(command, cwd=copy, check=True, capture_output=True, env=environment)
    return copy


@pytest.mark.parametrize("run", ["demo", "pretrained", "laptop", "control"])
def test_the_records_are_whole_and_small(root, run):
    folder = root / "resources/records" / run
    if not (folder / "records").is_dir():
        pytest.skip(f"{folder} holds no records yet: make pack-{run}")
    manifest = json.loads((folder / "manifest.json").read_text())["sha256"]
    shipped = {
        path.relative_to(folder).as_posix(): path
        for part in ("records", "expected")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    assert set(shipped) == set(manifest)
    for name, path in shipped.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest[name], name
    limit = {"demo": 2_000_000, "pretrained": 10_000_000, "laptop": 15_000_000, "control": 5_000_000}[run]
    assert sum(path.stat().st_size for path in shipped.values()) < limit


@pytest.mark.parametrize("part", ["records", "expected"])
def test_the_shipped_records_may_be_renewed(root, part):
    """`make pack-records` replaces both folders, and only folders that prism made are replaced."""
    check_folder_output(root / RECORDS / part)


def test_norms_facts_and_variants_are_packed_of_a_run_that_trains_nothing(tmp_path):
    """The run of the scale pretrained evaluates nothing; its tables need what is counted in trajectories."""
    run = tmp_path / "run"
    kept = [
        "gradnorms/alfworld/a/shard-0-of-1.parquet",
        "gradnorms_variants/conversation/alfworld/a/shard-0-of-8.parquet",
        "data/alfworld/facts.csv",
    ]
    for name in (*kept, "tables/routing_sensitivity.csv", "backbones/a/model.safetensors"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    pack_records(run, tmp_path / "out")
    packed = json.loads((tmp_path / "out/manifest.json").read_text())["sha256"]
    assert set(packed) - {name for name in packed if ".made-by-prism" in name} == {
        *(f"records/{name}" for name in kept),
        "expected/tables/routing_sensitivity.csv",
    }


def test_which_trajectories_are_detours_is_packed(tmp_path):
    """The control's detection is rebuilt from it; no other corpus needs its manifest."""
    step = Step("You see a shelf 1.", ("go to shelf 1",), "", "go to shelf 1")
    trajectory = Trajectory("a", "alfworld", "a.game", "look", "look", "planner", True, (step,))
    corpora = {"alfworld": {"detours": {"a": True, "b": False}}, "webshop": {"trajectories": 2}}
    norms = tmp_path / "run/gradnorms/alfworld/a/shard-0-of-1.parquet"
    norms.parent.mkdir(parents=True)
    norms.write_text("norms")
    for benchmark, manifest in corpora.items():
        data = tmp_path / f"run/data/{benchmark}"
        data.mkdir(parents=True)
        write_trajectories(data / "trajectories.jsonl", [trajectory])
        (data / "trajectories.json").write_text(json.dumps(manifest))
    pack_records(tmp_path / "run", tmp_path / "out")
    assert json.loads((tmp_path / "out/records/data/alfworld/trajectories.json").read_text()) == corpora["alfworld"]
    assert not (tmp_path / "out/records/data/webshop").exists()


def test_a_run_that_is_not_finished_is_packed_as_far_as_it_is(tmp_path):
    """Methods are packed as they finish; a table comes last."""
    run, out = tmp_path / "run", tmp_path / "out"
    with pytest.raises(BadInput, match="neither gradient norms nor an evaluation"):
        pack_records(run, out)
    for method in ("base", "sft"):
        path = run / f"eval/alfworld/a/{method}/seed0/seen.json"
        path.parent.mkdir(parents=True)
        path.write_text(method)
        pack_records(run, out)
        assert (out / "records" / path.relative_to(run)).read_text() == method
    packed = json.loads((out / "manifest.json").read_text())["sha256"]
    assert len([name for name in packed if name.startswith("records/eval/")]) == 2


def test_an_import_of_torch_fails_while_records_are_read(root):
    command = [sys.executable, "-c", "import torch"]
    found = subprocess.run(
        command, env={"PYTHONPATH": str(root / RECORDS / "without-torch")}, capture_output=True, text=True
    )
    assert found.returncode != 0
    assert "must not import torch" in found.stderr


@pytest.mark.slow
def test_table_1_is_rebuilt_from_the_records(root, copy_repository, tmp_path):
    """In a copy of the tracked files, as a third party has them; the cells and the table, which take no figure."""
    target = "results/records/tables/table1.csv"
    copy = rebuilt_from_records(copy_repository(tmp_path / "prism"), "demo", [target])
    rebuilt, expected = read_rows(copy / target), read_rows(root / RECORDS / "expected/tables/table1.csv")
    assert len(rebuilt) == len(expected) > 0
    for row, wanted in zip(rebuilt, expected, strict=True):
        for column in wanted:
            assert row[column] == wanted[column], (row["method"], column)


@pytest.mark.slow
@pytest.mark.parametrize(("run", "tables"), [("laptop", ["decision"]), ("control", ["decision", "detection"])])
def test_what_the_scale_that_decides_says_is_rebuilt_from_its_records(root, copy_repository, tmp_path, run, tables):
    """Byte for byte, without torch; `make records` rebuilds the other tables, in jobs of which there are more."""
    targets = [f"results/records-{run}/tables/{table}.csv" for table in tables]
    copy = rebuilt_from_records(copy_repository(tmp_path / "prism"), run, targets)
    expected = root / f"resources/records/{run}/expected/tables"
    for table, target in zip(tables, targets, strict=True):
        assert (copy / target).read_bytes() == (expected / f"{table}.csv").read_bytes(), target
