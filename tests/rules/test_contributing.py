"""The worked examples of CONTRIBUTING.md, followed to the letter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake_plan import dry_run, job_counts

from prism.core.csv_files import read_table
from prism.core.files import read_json

TARGET = "results/demo/eval/alfworld/tiny-qwen3/mine/seed0/seen.json"


def blocks(root: Path, language: str, heading: str = "## Add a score") -> list[str]:
    """Code blocks of a language in a section."""
    section = (root / "CONTRIBUTING.md").read_text().split(heading)[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def follower(root, copy_repository, tmp_path_factory) -> Path:
    """A checkout in which a new contributor did what the section says."""
    folder = copy_repository(tmp_path_factory.mktemp("contributor") / "prism")
    (function,), (method,) = blocks(root, "python"), blocks(root, "yaml")
    with (folder / "prism/core/concentration.py").open("a") as module:
        module.write("\n\n" + function)
    (folder / "mine.yaml").write_text(method)
    return folder


def test_the_example_is_short(root):
    lines = [line for block in (*blocks(root, "python"), *blocks(root, "yaml")) for line in block.splitlines()]
    assert len(lines) < 20


def test_the_new_score_is_a_column_and_routes(follower, tmp_path):
    """The CLI scores and routes by it; a diffuse gradient is 0, one in a single matrix is 1."""
    program = (
        "import numpy as np; from prism.core.concentration import concentration_scores as s; "
        "n = np.array([[1., 1, 1, 1], [0, 0, 0, 7]]); print(*s(n, np.ones(4))['concentration_entropy'].round(6))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=follower, text=True, capture_output=True, check=True)
    assert [abs(float(value)) for value in result.stdout.split()] == [0.0, 1.0]


def test_the_new_method_is_planned(follower):
    counts = job_counts(dry_run(follower, "--forceall", TARGET, "--configfile", "mine.yaml"))
    assert counts["split"] == counts["sft"] == counts["rl"] == counts["evaluate"] == 1


def test_the_tests_of_the_scores_still_hold(follower):
    """A contributor is not told to mend tests of other scores."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/core/test_concentration.py"]
    result = subprocess.run(command, cwd=follower, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:]


def test_a_new_benchmark_is_played_to_a_cell(root, copy_repository, tmp_path):
    """Three files: the environment, its entry in the registry, its settings."""
    folder = copy_repository(tmp_path / "prism")
    environment, entry = blocks(root, "python", "## Add a benchmark")
    (settings,) = blocks(root, "yaml", "## Add a benchmark")
    (folder / "prism/environments/drawers.py").write_text(environment)
    with (folder / "prism/core/benchmarks.py").open("a") as module:
        module.write("\n" + entry)
    (folder / "mine.yaml").write_text(settings)
    scores, cell = "results/demo/scores/drawers/tiny-qwen3.csv", "results/demo/cells/table2/tiny-qwen3/base/score.json"
    panel = "results/demo/data/drawers/panels/train.json"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", scores, panel, cell, "--configfile", "mine.yaml"]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ids = [f"train-{number}" for number in range(6)]
    assert sorted(read_table(folder / scores).column("id")) == ids
    assert [task["id"] for task in read_json(folder / panel)["tasks"]] == ids
    evaluation = read_json(folder / "results/demo/eval/drawers/tiny-qwen3/base/seed0/test.json")
    won = [episode["score"] for episode in evaluation["episodes"]]
    assert len(won) == 4
    assert read_json(folder / cell)["value"] == pytest.approx(100 * sum(won) / 4)


def test_a_new_figure_is_drawn(root, copy_repository, tmp_path):
    """The file, its caption, its entry in the registry, its section of the config: a rule, a target, two pictures."""
    folder = copy_repository(tmp_path / "prism")
    drawing, entry = blocks(root, "python", "## Add a figure")
    (section,) = blocks(root, "yaml", "## Add a figure")
    (folder / "prism/stages/figures/magnitude.py").write_text(drawing)
    (folder / "report/magnitude.rst").write_text("Gini over the L2 norm.\n")
    with (folder / "prism/core/figures.py").open("a") as module:
        module.write("\n" + entry)
    config = folder / "config/config.yaml"
    assert config.read_text().count("\nfigures:\n") == 1
    config.write_text(config.read_text().replace("\nfigures:\n", "\n" + section))
    counts = job_counts(dry_run(folder, "--config", 'targets={"tables": [], "figures": [magnitude]}'))
    assert counts["figure_magnitude"] == 1
    figure = "results/records/figures/magnitude.svg"
    command = [sys.executable, "-m", "snakemake", "-s", "records.smk", "--cores", "2", figure]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    points = (folder / figure).read_text().split('<g id="PathCollection_1">')[1].split("</g>\n   <g id")[0]
    assert points.count("<use ") == len(read_table(folder / "results/records/scores/alfworld/tiny-qwen3.csv").rows)
    assert (folder / figure).with_suffix(".png").stat().st_size > 0
