"""Where logs and run times lie, as `prism.core.results` says and as the rules write them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snakemake_plan import dry_run

from prism.core.errors import BadInput
from prism.core.files import write_json, write_text
from prism.core.methods import Method
from prism.core.results import Results
from prism.tools.snakemake_plan import Job
from prism.tools.trace import trace_cell

# what a number may rest on
FOLDERS = ("backbones", "cells", "consensus", "data", "eval", "gradnorms", "passrates", "rl", "scores", "sft", "splits")

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


def place(results: Results, job: Job) -> Path | None:
    """Where `prism.core.results` says that a job's first output lies, from its wildcards; None for other rules."""
    named = {key: value for key, value in job.wildcards.items() if key in ("benchmark", "backbone", "seed")}
    rest = {key: value for key, value in job.wildcards.items() if key not in named}
    match job.rule:
        case "evaluate":
            return results.evaluation(**named, **rest)
        case "rl":
            sft = None if rest["init"] == "base" else rest["init"]
            return results.checkpoint(Method("a", sft, rest["subset"], rest["algorithm"]), **named)
        case "sft":
            return results.checkpoint(Method("a", rest["subset"], None, None), **named)
        case "backbone":
            return results.backbone(*named.values())
        case "split":
            (path,) = results.split(f"{rest['score']}-high{rest['percent']}", **named)
            return path
        case "probe":
            return results.norms(**named, shards=int(rest["shards"]))[int(rest["shard"])]
        case "probe_variant":
            shard, shards = int(rest["shard"]), int(rest["shards"])
            return results.variant_norms(rest["variant"], **named, shards=shards)[shard]
        case "pass_rates":
            return results.pass_rate_shards(**named, shards=int(rest["shards"]))[int(rest["shard"])]
        case "pass_rate_table":
            return results.pass_rates(**named)
        case "scores":
            return results.scores(**named)
        case "consensus":
            return results.consensus(**named)
        case "prompt_lengths":
            return results.prompt_lengths(**named)
    return None


@pytest.mark.parametrize("options", [["--configfile", "config/smoke.yaml"], ["--profile", "slurm"]])
def test_the_rules_write_where_results_says(root, options):
    folder = "results/smoke" if "config/smoke.yaml" in options else "results"
    results, seen = Results(folder), set()
    for job in dry_run(root, "--forceall", *options, "--", "all"):
        if expected := place(results, job):
            assert str(expected) == job.outputs[0]
            seen.add(job.rule)
        if job.rule == "evaluate":
            assert results.evaluation(*Results.played(job.outputs[0])) == expected
        if job.rule in ("probe", "scores", "consensus"):
            assert Results.probed(job.outputs[0]) == (job.wildcards["benchmark"], job.wildcards["backbone"])
    assert seen >= {"evaluate", "rl", "sft", "backbone", "split", "probe", "scores", "consensus"}


@pytest.mark.parametrize("path", ["seen.json", "eval/alfworld/tiny/sft/first/seen.json", "a/b/seed0/seen.json"])
def test_what_is_no_evaluation_is_refused(path):
    with pytest.raises(BadInput, match=r"is not .*panel"):
        Results.played(path)


def test_what_is_no_score_is_refused():
    with pytest.raises(BadInput, match="is neither"):
        Results.probed("a.parquet")


def test_norms_of_a_variant_lie_where_results_says(root):
    results = Results("results/demo")
    asked = results.variant_norms("bfloat16", "webshop", "tiny-llama", 4)[:1]
    (job,) = [job for job in dry_run(root, "--forceall", "--", *map(str, asked)) if job.rule == "probe_variant"]
    assert (str(place(results, job)),) == job.outputs
    assert str(results.log_of(job.outputs[0])) == job.log
    assert job.benchmark in map(str, results.times_of(job.outputs[0]))
    assert str(results.log_of_time(job.benchmark)) == job.log


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
