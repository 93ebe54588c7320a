"""What depends on what, read off a copy of the finished demo."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from rerun_edits import (
    EDITS,
    EXEMPT,
    FROM_BACKBONE,
    FROM_SCORES,
    MACHINE,
    NOTHING,
    SAME,
    SETTINGS,
    SPLIT_METHODS,
    STUDIES,
    TABLE,
    UNUSED,
    config_keys,
    counted,
    edit_of,
    edits_of,
    overlay,
)
from snakemake_plan import dry_run, job_counts, planned_jobs, planned_recipes, run_snakemake

from prism.core.files import read_json
from prism.settings import read_schema

pytestmark = pytest.mark.demo
RESULTS = Path("results/demo")
AFTER_TABLE = [
    "summary: seconds by rule",
    "paired tests of table 1",
    "table 1",
    "All methods with intervals",
    "verify: does this run agree with the recorded one?",
    "index page: results/demo/index.html",
    "provenance: results/demo/ro-crate-metadata.json",
]
COMPARISON = "the paper's claims beside this run"


@pytest.fixture(scope="module")
def finished(root, copy_repository, tmp_path_factory) -> Path:
    """A clone beside the finished demo's results and their metadata, as a third party would receive them."""
    if not (root / RESULTS / "tables/table1.csv").is_file():
        pytest.skip("results/demo is not built: run `make demo` first")
    clone = copy_repository(tmp_path_factory.mktemp("clone") / "prism")
    shutil.copytree(root / RESULTS, clone / RESULTS, symlinks=True)
    shutil.copytree(root / ".snakemake/metadata", clone / ".snakemake/metadata")
    return clone


def plan_without(finished: Path, *names: str) -> list[str]:
    """Jobs that a dry run plans once the named results are gone; they are put back afterwards."""
    hidden = []
    for name in names:
        path = finished / RESULTS / name
        path.rename(path.with_name(path.name + ".hidden"))
        hidden.append(path)
    try:
        return planned_jobs(dry_run(finished))
    finally:
        for path in hidden:
            path.with_name(path.name + ".hidden").rename(path)


def test_a_finished_demo_has_nothing_to_do(finished):
    assert dry_run(finished) == dry_run(finished, "--cores", "1") == []


def test_a_deleted_cell(finished):
    jobs = plan_without(finished, "cells/table1/seen/sft/pick.json")
    assert jobs == sorted(["cells of table 1: seen, sft", *AFTER_TABLE])


def test_a_deleted_evaluation(finished):
    jobs = plan_without(finished, "eval/alfworld/tiny-qwen3/grpo/seed0/unseen.json")
    assert jobs == sorted(
        ["evaluate: grpo on unseen, seed 0", "cells of table 1: unseen, grpo", COMPARISON, *AFTER_TABLE]
    )


def test_a_deleted_split(finished):
    """Only what was trained on the split's subsets, and what came out of that."""
    jobs = plan_without(finished, "splits/alfworld/tiny-qwen3/gini-50.csv")
    assert jobs == sorted(
        [
            "split: 50% to RL by gini",
            "SFT: tiny-qwen3 on gini-low50, seed 0",
            "RL: grpo on gini-high50 from gini-low50, seed 0",
            "Training curves",
            *(f"evaluate: prism-gini on {panel}, seed 0" for panel in ("seen", "unseen")),
            *(f"cells of table 1: {panel}, prism-gini" for panel in ("seen", "unseen")),
            COMPARISON,
            *AFTER_TABLE,
        ]
    )


def counts_with(finished: Path, override: str) -> dict[str, int]:
    """Jobs by rule after an edit, given as an overlay of the config."""
    (finished / "edit.yaml").write_text(override)
    return counted(dry_run(finished, "--configfile", "edit.yaml"))


def test_every_key_of_the_config_is_in_the_table(root):
    """A new key needs an edit, and an edit a key."""
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    schema = read_schema(root / "config/schema.yaml")
    settings = [f"{stage}.{key}" for stage, (_, _, values) in SETTINGS.items() for key in values]
    settings += [f"{stage}.{key}" for stage, (_, values) in MACHINE.items() for key in values]
    tables = [*EDITS, *settings, *UNUSED, *EXEMPT]
    assert len(tables) == len(set(tables))
    assert config_keys(config, schema) ^ set(tables) == set()


@pytest.mark.parametrize("key", EDITS)
def test_an_edit_reruns_exactly_what_it_touches(finished, key):
    value, expected = EDITS[key]
    assert counts_with(finished, overlay(edit_of(key, value))) == expected


@pytest.mark.parametrize("stage", SETTINGS)
def test_every_setting_of_a_stage_reruns_the_stage_and_nothing_else(finished, stage):
    expected, command, values = SETTINGS[stage]
    (finished / "edit.yaml").write_text(overlay({stage: values}))
    jobs = dry_run(finished, "--configfile", str(finished / "edit.yaml"))
    assert counted(jobs) == expected
    recipes = planned_recipes(jobs, command)
    assert len(recipes) == expected[command]
    for recipe in recipes:
        assert {key: recipe.get(key) for key in values} == values


def test_how_the_machine_is_used_reruns_nothing(finished):
    edits = {stage: values for stage, (_, values) in MACHINE.items()}
    assert counts_with(finished, overlay(edits)) == NOTHING


@pytest.mark.parametrize("stage", MACHINE)
def test_how_the_machine_is_used_reaches_the_jobs(finished, stage):
    command, values = MACHINE[stage]
    (finished / "edit.yaml").write_text(overlay({stage: values}))
    jobs = dry_run(finished, "--forceall", "--configfile", str(finished / "edit.yaml"))
    told = planned_recipes(jobs, command, "machine")
    assert told
    for machine in told:
        assert machine == values


def test_the_same_values_in_other_words_rerun_nothing(finished):
    assert counts_with(finished, overlay(SAME)) == NOTHING


def test_edits_of_what_the_demo_does_not_use_rerun_nothing(finished):
    assert counts_with(finished, overlay(edits_of(UNUSED))) == NOTHING


@contextmanager
def edited(folder: Path, line: str, *names: str) -> Iterator[None]:
    """A line more in some sources of ours."""
    paths = [folder / name for name in names]
    before = [(path.read_bytes(), path.stat()) for path in paths]
    try:
        for path in paths:
            path.write_text(path.read_text() + f"{line}\n")
        yield
    finally:
        for path, (content, status) in zip(paths, before, strict=True):
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# an edit of code: what runs again
SOURCES = {
    ("prism/core/concentration.py",): FROM_SCORES | {
        "consensus": 1, "figure_consensus": 1, "study_sensitivity": 1, "compare_probes": 1,
    },
    ("prism/core/splits.py",): SPLIT_METHODS | STUDIES | {
        "sensitivity": 1, "compare_probes": 1, "figure_consensus": 1,
    },
    # heavy stages, what they rest on, and how every stage reads and writes
    (
        "prism/stages/games.py", "prism/stages/trajectories.py", "prism/stages/probe.py", "prism/gradients/prober.py",
        "prism/stages/sft.py", "prism/stages/rl.py", "prism/rl/in_verl/trainer.py", "prism/stages/evaluate.py",
        "prism/core/prompts.py", "prism/core/files.py", "prism/core/progress.py", "prism/cli/stage_models.py",
    ): NOTHING,
}  # fmt: skip


@pytest.mark.parametrize("names", SOURCES, ids=lambda names: names[0])
def test_an_edit_of_code_reruns_light_stages_alone_of_their_own(finished, names):
    with edited(finished, "EDITED = True", *names):
        assert counts_with(finished, "{}") == SOURCES[names]


def test_a_comment_reruns_nothing(finished):
    names = [name for edit in SOURCES for name in edit]
    with edited(finished, "# a comment", *names):
        assert counts_with(finished, "{}") == NOTHING


@pytest.mark.parametrize("name", ["model.safetensors", "chat_template.jinja"])
def test_replaced_weights_rerun_all_that_rests_on_them(finished, name):
    path = finished / "resources/backbones/deep-qwen3" / name
    before = path.read_bytes()
    try:
        path.write_bytes(before[:-1] + b"x")
        assert counts_with(finished, "{}") == FROM_BACKBONE
    finally:
        path.write_bytes(before)


def test_an_edit_that_changes_no_split_costs_no_training(finished):
    """What comes after a light stage is planned with it; made first, and made of the same bytes, it ends there."""
    light = [f"{RESULTS}/splits/alfworld/tiny-qwen3/{name}.csv" for name in ("gini-50", "random-seed0-50")]
    tables = ("appendix_b", "appendix_g", "reprobe", "routing_sensitivity", "score_correlates")
    light += [f"{RESULTS}/tables/{name}.csv" for name in tables]
    # planned together with the splits it would train
    later = [f"{RESULTS}/tables/table1.csv", f"{RESULTS}/figures/figure5.svg"]
    try:
        with edited(finished, "EDITED = True", "prism/core/splits.py"):
            assert run_snakemake(finished, *light).returncode == 0
            assert run_snakemake(finished, *later).returncode == 0
            assert counts_with(finished, "{}") == NOTHING
    finally:
        run_snakemake(finished, *light)
        run_snakemake(finished, *later)


def test_comments_and_the_order_of_keys_do_not_matter(finished):
    config = finished / "config/config.yaml"
    original = config.read_text()
    try:
        turned = dict(reversed(yaml.safe_load(original).items()))
        config.write_text("# a comment\n" + yaml.safe_dump(turned, sort_keys=False))
        assert dry_run(finished) == []
    finally:
        config.write_text(original)


def test_a_new_seed_leaves_the_others_alone(finished):
    """The second seed trains and is evaluated; of the first, only what sums up over seeds is made again."""
    counts = counts_with(finished, "seeds: [0, 1]")
    second_seed = {"split": 1, "sft": 3, "rl": 4, "evaluate": 12}
    assert counts == second_seed | TABLE | {"figure_training_curves": 1}


def test_a_fresh_folder_of_results_goes_on_from_records(finished, tmp_path):
    """Nothing that was packed is computed again; what was not, is, with the SFT that it starts from."""
    records = tmp_path / "records"
    option = f"--config=go_on_from={records}"
    packed = run_snakemake(finished, option, "--", "pack_records")
    assert packed.returncode == 0, packed.stderr
    (finished / "edit.yaml").write_text(f"results: results/fresh\ngo_on_from: {records}\n")
    jobs = dry_run(finished, "--configfile", "edit.yaml")
    counts = job_counts(jobs)
    assert not {"probe", "sft", "rl", "evaluate"} & set(counts)
    assert counts["recorded_evaluation"] == 12
    assert counts["table1_row"] == 12
    # as docs/protocol.md tells whoever wants all of it anew
    anew = job_counts(dry_run(finished, "--config", "go_on_from=", "--configfile", "edit.yaml"))
    assert "recorded_evaluation" not in anew
    assert anew["evaluate"] == 12
    # made by other settings: not a record of this run
    (finished / "edit.yaml").write_text(
        f"results: results/fresh\ngo_on_from: {records}\nrl: {{learning_rate: 1.0e-5}}\n"
    )
    counts = job_counts(dry_run(finished, "--configfile", "edit.yaml"))
    assert (counts["rl"], counts["sft"], counts["evaluate"], counts["recorded_evaluation"]) == (4, 3, 8, 4)
    assert "probe" not in counts
    origins = records / "origins.json"
    without = {name: origin for name, origin in read_json(origins).items() if "gini" not in name}
    origins.write_text(json.dumps(without))
    (finished / "edit.yaml").write_text(f"results: results/fresh\ngo_on_from: {records}\n")
    jobs = [
        job.message for job in dry_run(finished, "--configfile", "edit.yaml") if job.rule in {"sft", "rl", "evaluate"}
    ]
    assert sorted(jobs) == sorted(
        [
            "SFT: tiny-qwen3 on gini-low50, seed 0",
            "RL: grpo on gini-high50 from gini-low50, seed 0",
            *(f"evaluate: prism-gini on {panel}, seed 0" for panel in ("seen", "unseen")),
        ]
    )
