"""Where logs and run times lie, as `prism.core.results` says and as the rules write them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snakemake_plan import dry_run

from prism.core.files import write_json, write_text
from prism.core.results import Results
from prism.tools.snakemake_plan import Job
from prism.tools.trace import trace_cell

# what a number may rest on
FOLDERS = ("backbones", "cells", "data", "eval", "gradnorms", "passrates", "rl", "scores", "sft", "splits")

# what Table 3 counts
TIMED = ("probe", "pass_rates", "sft", "rl")


@pytest.mark.parametrize(
    ("folder", "options"),
    [
        ("results/demo", []),
        ("results/smoke", ["--configfile", "config/smoke.yaml"]),
        # backbones with points in their names, the published trajectories
        ("results", ["--profile", "slurm"]),
    ],
)
def test_every_planned_job_has_its_log_and_run_time_there(root, folder, options):
    results = Results(folder)
    seen = set()
    for job in dry_run(root, "--forceall", *options, "--", "all"):
        for output in job.outputs:
            kind = results.relative(output).split("/")[0]
            if kind in FOLDERS:
                seen.add(kind)
                assert str(results.log_of(output)) == job.log
                assert job.benchmark in map(str, results.times_of(output))
                if job.rule in TIMED:
                    assert str(results.log_of_time(job.benchmark)) == job.log
    assert seen >= set(FOLDERS) - {"passrates"}


METHOD = {"sft": "gini-low50", "rl": "gini-high50", "algorithm": "grpo"}


@pytest.mark.parametrize(
    "cell",
    [
        "cells/table1/seen/prism-gini/all.json",
        "cells/table2/Llama-3.1-8B-Instruct/prism-gini/sr.json",
        "cells/table3/webshop/prism-gini/total.json",
        "cells/table4/prism-gini/alfworld.json",
    ],
)
def test_every_ancestor_of_a_cell_has_its_command_version_and_time(root, tmp_path, cell):
    """A run as the paper's rules lay it out: every file that they would make, every log, every run time."""
    jobs = dry_run(root, "--profile", "slurm", "--forceall", "--", f"results/{cell}")
    makers = {path: job for job in jobs for path in job.outputs}
    for path, job in makers.items():
        make(tmp_path, path, job)
    evaluations = [path for path in makers if path.startswith("results/eval/")]
    times = [job.benchmark for job in jobs if job.rule in TIMED]
    content = {
        **dict.fromkeys(("value", "unit", "interval", "scale", "backbone")),
        "row": {"method": "prism-gini"},
        "config": {"method": METHOD},
        "evaluations": [{"path": path, "sha256": ""} for path in evaluations],
        "timings": [] if evaluations else [{"path": path, "sha256": ""} for path in times],
    }
    write_json(tmp_path / "results" / cell, content)
    steps = list(trace_cell(tmp_path / "results" / cell).all_steps())
    assert len(steps) > 10
    for step in steps:
        job = makers.get(f"results/{step.path}") or next(job for job in jobs if job.benchmark == f"results/{step.path}")
        assert step.state != "missing"
        assert step.facts["command"] == f"prism {job.rule} {job.id}", step.path
        assert step.facts["version"] == "prism 0.1.0, Python 3.11.7"
        assert step.facts["seconds"] == job.id


def make(folder: Path, output: str, job: Job) -> None:
    """An output of a job with the metadata that a trace follows, the job's log and its run time."""
    path = folder / output
    if path.suffix == ".parquet":
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": ["a"]}), path)
    elif path.suffix == ".json":
        seed = int(job.wildcards.get("seed", 0))
        write_json(path, {"seed": seed, "panel": job.wildcards.get("panel"), "panel_sha256": "", "tasks": []})
    elif path.suffix in (".csv", ".jsonl"):
        write_text(path, "# score: gini\nid\n")
    else:
        path.mkdir(parents=True)
    started = f"# started 2026-01-01T00:00:00+00:00 prism {job.rule} {job.id}\n"
    write_text(folder / job.log, f"{started}# version prism 0.1.0, Python 3.11.7\n")
    write_text(folder / job.benchmark, f"s\th:m:s\n{job.id}\t0:00:12\n")
