"""Does a run reproduce the recorded one: the same, another machine, another seed, a wrong setting, a corrupted file."""

import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prism.core.comparisons import ALPHA, holm, mcnemar_exact
from prism.core.errors import BadInput
from prism.core.results import Results
from prism.gradients.norm_files import FIXED_COLUMNS
from prism.stages.scores import ScoresRecipe, compute_scores
from prism.stages.verify import IDENTICAL, NOT_REPRODUCED, REPRODUCED, data_hashes, verify


@pytest.fixture
def record(root, tmp_path):
    """The shipped records, without the hashes of a corpus that is not shipped."""
    shutil.copytree(root / "resources/records/demo", tmp_path / "record")
    manifest = tmp_path / "record/manifest.json"
    manifest.write_text(json.dumps({"data": data_hashes(Results(tmp_path / "record/records"))}))
    return tmp_path / "record"


@pytest.fixture
def run(record, tmp_path):
    """A finished run that is the recorded one."""
    shutil.copytree(record / "records", tmp_path / "run")
    results = Results(tmp_path / "run")
    for benchmark, backbone in {results.probed(path) for path in results.find("norms")}:
        norms = results.norms_there(benchmark, backbone)
        compute_scores(norms, None, results.scores(benchmark, backbone), ScoresRecipe())
    return results


def verdict(run, record) -> tuple[str, str]:
    said = verify(run.root, record, run.certificate("json"), run.certificate("md"))
    certificate = json.loads(run.certificate("json").read_text())
    assert certificate["verdict"] == said
    assert certificate["machine"]["versions"]["prism"]
    assert run.certificate("md").read_text().startswith(f"# {run.root}: {said}\n")
    return said, certificate["departs_at"]


def redraw(run, rate, draw):
    """Other episodes on the same tasks: each is solved with its own probability."""
    for path in run.find("evaluations"):
        evaluation = json.loads(path.read_text())
        for episode in evaluation["episodes"]:
            solved = bool(draw.random() < rate(episode["task_id"]))
            episode.update(success=solved, score=float(solved), actions=[f"drawn {draw.random()}"])
        path.write_text(json.dumps(evaluation))


def change_losses(run, change):
    for path in run.find("sft_losses"):
        head, *rows = csv.reader(path.read_text().splitlines())
        column = head.index("loss")
        losses = change(np.array([float(row[column]) for row in rows]))
        for row, loss in zip(rows, losses, strict=True):
            row[column] = repr(float(loss))
        path.write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")


def test_the_same_run(run, record):
    assert verdict(run, record) == (IDENTICAL, "")


def test_another_machine(run, record):
    """Norms in their last digits, losses that drift, episodes of the same tasks that go otherwise."""
    draw = np.random.default_rng(1)
    for path in run.find("norms"):
        table = pq.read_table(path)
        noisy = {
            name: table[name]
            if name in FIXED_COLUMNS
            else pa.array(table[name].to_numpy() * (1 + draw.normal(0, 2e-6, len(table))))
            for name in table.column_names
        }
        pq.write_table(pa.table(noisy).replace_schema_metadata(table.schema.metadata), path)
    change_losses(run, lambda losses: losses * np.exp(draw.normal(0, 0.02, len(losses))))
    redraw(run, lambda task: 0.3, draw)
    record_run = Results(record / "records")
    redraw(record_run, lambda task: 0.3, draw)
    assert verdict(run, record) == (REPRODUCED, "norms")


def test_another_seed(run, record):
    """What another order of the rows did to the demo's SFT, and other episodes."""
    shares = [-0.014, -0.036, -0.06, 0.045, -0.028, 0.017, 0.031, -0.021, -0.009, 0.0]
    change_losses(run, lambda losses: losses * np.exp(np.interp(np.linspace(0, 9, len(losses)), range(10), shares)))
    draw = np.random.default_rng(3)
    redraw(run, lambda task: 0.3, draw)
    redraw(Results(record / "records"), lambda task: 0.3, draw)
    assert verdict(run, record) == (REPRODUCED, "SFT")


def test_a_wrong_learning_rate(run, record):
    """What twice the rate did to the demo's SFT."""
    shares = [-0.209, -0.042, -0.017, 0.029, 0.092, 0.094, 0.082, 0.112, 0.066, 0.084]
    change_losses(run, lambda losses: losses * np.exp(np.interp(np.linspace(0, 9, len(losses)), range(10), shares)))
    assert verdict(run, record) == (NOT_REPRODUCED, "SFT")


def test_a_corrupted_split(run, record):
    path = run.find("splits")[0]
    lines = path.read_text().splitlines()
    flipped = [line.replace(",sft", ",rl") if number % 9 == 0 else line for number, line in enumerate(lines)]
    path.write_text("\n".join(flipped))
    assert verdict(run, record) == (NOT_REPRODUCED, "splits")


def test_another_corpus_is_the_first_departure(run, record):
    change_losses(run, lambda losses: losses * 1.3)
    run.find("trajectories")[0].write_text("{}\n")
    assert verdict(run, record) == (NOT_REPRODUCED, "data")


def test_worse_episodes(run, record):
    redraw(run, lambda task: 0.0, np.random.default_rng(0))
    redraw(Results(record / "records"), lambda task: 0.5, np.random.default_rng(0))
    assert verdict(run, record) == (NOT_REPRODUCED, "evaluations")


def test_what_was_not_made_differs(run, record):
    run.find("evaluations")[0].unlink()
    assert verdict(run, record) == (NOT_REPRODUCED, "evaluations")


def test_other_settings_are_named(run, record):
    path = run.find("evaluations")[0]
    evaluation = json.loads(path.read_text())
    evaluation["recipe"]["temperature"] = 1.5
    path.write_text(json.dumps(evaluation))
    assert verdict(run, record) == (NOT_REPRODUCED, "evaluations")
    assert "other settings: temperature" in run.certificate("md").read_text()


def test_folders_that_hold_nothing(run, record, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="neither records nor a run"):
        verdict(run, tmp_path / "empty")
    with pytest.raises(BadInput, match="no finished run"):
        verify(tmp_path / "empty", record, tmp_path / "c.json", tmp_path / "c.md")


def test_honest_reruns_are_seldom_called_different():
    """Twelve evaluations of 24 tasks, some easy and some hard, of the same models: below 5% of 300 pairs."""
    draw = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        pairs = [(draw.random((2, 24)) < draw.beta(0.5, 0.8, 24)).astype(float) for _ in range(12)]
        alarms += min(holm([mcnemar_exact(*map(int, ((a > b).sum(), (b > a).sum()))) for a, b in pairs])) < ALPHA
    assert alarms / 300 < 0.05
