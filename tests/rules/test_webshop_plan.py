"""WebShop in the workflow: generated catalog, original files, and a corpus of one's own."""

from snakemake_plan import dry_run, job_counts, run_snakemake

EVALUATION = "results/demo/eval/webshop/tiny-qwen3/sft/seed0/test.json"
TRAINING_PANEL = "results/demo/data/webshop/panels/train.json"


def counts_with(root, override=""):
    arguments = ["--forceall", EVALUATION, TRAINING_PANEL]
    return job_counts(dry_run(root, *arguments, *(["--config", override] if override else [])))


def test_everything_is_made_from_a_generated_catalog(root):
    counts = counts_with(root)
    data = ("webshop_catalog", "webshop_store", "webshop_trajectories", "webshop_training_panel", "webshop_panel")
    assert {rule: counts[rule] for rule in data} == dict.fromkeys(data, 1)
    assert counts["sft"] == counts["evaluate"] == 1
    assert not [rule for rule in counts if rule.startswith("alfworld")]


def test_the_original_files_take_the_place_of_the_catalog(root):
    text = dry_run(
        root, "--forceall", "--printshellcmds", EVALUATION,
        "--config", 'benchmarks={"webshop": {"source": "dataset", "data_dir": "/original/files"}}',
    )  # fmt: skip
    assert "webshop_catalog" not in job_counts(text)
    assert "webshop-store --catalog /original/files" in text


def test_a_corpus_of_ones_own_takes_the_place_of_the_shopper(root, tmp_path):
    own = tmp_path / "own.jsonl"
    step = '{"observation": "o", "admissible": ["click[a]"], "thought": "t", "action": "click[a]"}'
    own.write_text(
        '{"id": "human-00100", "benchmark": "webshop", "game": "human/100", "task": "t", "task_type": "toys",'
        f' "expert": "me", "success": true, "steps": [{step}]}}\n'
    )
    counts = counts_with(root, f'benchmarks={{"webshop": {{"trajectories_file": "{own}"}}}}')
    assert counts["webshop_corpus"] == 1
    assert "webshop_trajectories" not in counts
    own.write_text("{}\n")
    result = run_snakemake(
        root, "--dry-run", EVALUATION, "--config", f'benchmarks={{"webshop": {{"trajectories_file": "{own}"}}}}'
    )
    assert result.returncode != 0
    assert f"prism: {own}:1" in result.stderr
