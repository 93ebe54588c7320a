"""What of a run counts as made because an earlier one has recorded it."""

from __future__ import annotations

import copy
import gzip
import json
import sys
from pathlib import Path

import pytest
from configs import changed

from prism.core.errors import BadInput
from prism.core.recipes import result_settings
from prism.core.results import Results
from prism.earlier_run import ORIGINS, EarlierRun, read_origins
from prism.origins import Origins
from prism.settings import StageRecipes
from prism.stages.recorded_evaluation import take_evaluation
from prism.table_inputs import TableInputs
from prism.tools.records import pack_records

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from paper_settings import scale_config

R = Path("<results>")
BASE = "eval/alfworld/tiny-qwen3/base/seed0/seen.json"
GINI = "eval/alfworld/tiny-qwen3/prism-gini/seed0/seen.json"
SFT = "sft/alfworld/tiny-qwen3/all/seed0"
RL = "rl/alfworld/tiny-qwen3/gini-low50--grpo--gini-high50/seed0"
GRPO = "rl/alfworld/tiny-qwen3/base--grpo--all/seed0"
NORMS = "gradnorms/alfworld/tiny-qwen3/shard-0-of-1.parquet"
VARIANT = "gradnorms_variants/after-sft/alfworld/tiny-qwen3/shard-0-of-1.parquet"
PASS_RATES = "passrates/alfworld/tiny-qwen3/shard-0-of-1.csv"
ALL = (BASE, GINI, SFT, RL, GRPO, NORMS, VARIANT, PASS_RATES)


@pytest.fixture
def config():
    return copy.deepcopy(scale_config("demo"))


def origins_of(config):
    origins = Origins(config)
    return {name: origins.of(name) for name in ALL}


def test_every_result_that_costs_time_has_an_origin_of_its_own(config):
    found = origins_of(config)
    assert None not in found.values()
    assert len(set(found.values())) == len(ALL)


@pytest.mark.parametrize(
    ("key", "value", "touched"),
    [
        ("targets.tables", ["table1"], set()),
        ("seeds", [0, 1, 2], set()),
        ("results", "results/elsewhere", set()),
        ("methods.mine", {"sft": "all"}, set()),
        ("rl.agent_workers", 3, set()),
        ("probe.tokens_per_pack", 100, set()),
        ("evaluation.temperature", 0.7, {BASE, GINI}),
        ("benchmarks.alfworld.panels.seen", 47, {BASE, GINI}),
        ("sft.learning_rate", 1e-5, {GINI, SFT, RL, VARIANT}),
        ("rl.learning_rate", 1e-5, {GINI, RL, GRPO}),
        ("rl.algorithms.grpo.clip_ratio", 0.3, {GINI, RL, GRPO}),
        ("scores.epsilon", 1e-3, {GINI, RL}),
        ("probe.layout", "conversation", {GINI, RL, NORMS, VARIANT}),
        ("probe.variants.after-sft.after", "random", {VARIANT}),
        ("methods.prism-gini.rl", "gini-high30", {GINI}),
        ("pass_rates.rollouts", 5, {PASS_RATES}),
        ("benchmarks.alfworld.expert.noise", 0.5, set(ALL)),
        ("benchmarks.alfworld.games.seed", 1, set(ALL)),
        ("benchmarks.webshop.panels.test", 11, set()),
    ],
)
def test_an_edit_changes_the_origins_of_what_it_touches(config, key, value, touched):
    if key.startswith("rl.algorithms"):
        config["rl"].setdefault("algorithms", {}).setdefault("grpo", {})
    before, after = origins_of(config), origins_of(changed(config, key, value))
    assert {name for name in ALL if before[name] != after[name]} == touched


def test_other_weights_of_a_backbone_change_all_that_rests_on_it(config, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text(name)
    before = origins_of(changed(config, "backbones.tiny-qwen3.location", str(tmp_path)))
    (tmp_path / "model.safetensors").write_text("other weights")
    after = origins_of(changed(config, "backbones.tiny-qwen3.location", str(tmp_path)))
    assert all(before[name] != after[name] for name in ALL)


@pytest.mark.parametrize(
    "name",
    ["", "eval", "tables/table1.csv", "eval/alfworld/tiny-qwen3/forgotten/seed0/seen.json", "rl/alfworld/a/b/seed0",
     "eval/chess/tiny-qwen3/base/seed0/seen.json", "eval/alfworld/tiny-qwen3/base/first/seen.json"],
)  # fmt: skip
def test_what_the_config_does_not_know_has_no_origin(config, name):
    assert Origins(config).of(name) is None


def write_run(folder, config, names=(BASE, GINI, SFT, RL)):
    """A run's files, with the settings of the config in them."""
    recipes = StageRecipes(config)
    settings = {
        "eval": result_settings(recipes.evaluation("alfworld")),
        "sft": result_settings(recipes.sft("alfworld", "tiny-qwen3")),
        "rl": result_settings(recipes.rl("alfworld", "grpo")),
    }
    for name in names:
        path = folder / name
        kind = name.split("/")[0]
        record = {"recipe": {**settings[kind], "workers": 1}, "panel_sha256": "0" * 64, "steps": 3, "tasks": ["a"]}
        if kind != "eval":
            path.mkdir(parents=True)
            (path / {"sft": "loss.csv", "rl": "metrics.csv"}[kind]).write_text("step\n1\n")
            (path / "model.safetensors").write_text("weights")
            path /= {"sft": "sft.json", "rl": "run.json"}[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        time = Results(folder).times_of(folder / name)[0]
        time.parent.mkdir(parents=True, exist_ok=True)
        time.write_text("s\n1\n")


def test_a_run_goes_on_from_what_was_packed(config, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    write_run(run, config)
    pack_records(run, out, config)
    assert set(read_origins(out)) == {BASE, GINI, SFT, RL}
    packed = {path.relative_to(out / "records").as_posix() for path in (out / "records").rglob("*") if path.is_file()}
    assert {f"{BASE}.gz", f"{GINI}.gz", f"{SFT}/loss.csv", f"{RL}/run.json", f"{RL}/metrics.csv"} <= packed
    assert not [name for name in packed if "safetensors" in name or name.endswith("seen.json")]
    assert "tasks" not in json.loads((out / "records" / RL / "run.json").read_text())
    earlier = EarlierRun(config, out)
    assert earlier.find(RL) == out / "records" / RL
    assert earlier.find(NORMS) is None
    # made by other settings
    assert EarlierRun(changed(config, "rl.learning_rate", 1e-5), out).find(RL) is None
    assert EarlierRun(changed(config, "rl.learning_rate", 1e-5), out).find(SFT) is not None


def test_packed_again_a_record_stays_unless_its_origin_is_another(config, tmp_path):
    """In a fresh clone the run has only what was missing."""
    out = tmp_path / "out"
    write_run(tmp_path / "first", config, (BASE, SFT))
    pack_records(tmp_path / "first", out, config)
    before = (out / "records" / f"{BASE}.gz").read_bytes()
    write_run(tmp_path / "second", config, (GINI, RL))
    # taken from the records, so that this run does not know how long it took
    write_run(tmp_path / "second", config, (BASE,))
    [time] = Results(tmp_path / "second").times_of(tmp_path / "second" / BASE)[:1]
    time.unlink()
    pack_records(tmp_path / "second", out, config)
    assert (out / "records" / time.relative_to(tmp_path / "second")).is_file()
    assert set(read_origins(out)) == {BASE, GINI, SFT, RL}
    assert (out / "records" / f"{BASE}.gz").read_bytes() == before
    assert (out / "records" / SFT / "loss.csv").is_file()
    assert (out / "records/benchmarks/sft/alfworld/tiny-qwen3/all/seed0.tsv").is_file()
    other = changed(config, "sft.learning_rate", 1e-5)
    write_run(tmp_path / "third", other, (SFT,))
    write_run(tmp_path / "third", other, (BASE,))
    pack_records(tmp_path / "third", out, other)
    assert set(read_origins(out)) == {BASE, SFT}
    assert not (out / "records" / RL).exists()


def test_a_result_of_other_settings_is_not_recorded_as_one_of_these(config, tmp_path):
    write_run(tmp_path / "run", config)
    with pytest.raises(BadInput, match=r"run.json.*other settings than the config's"):
        pack_records(tmp_path / "run", tmp_path / "out", changed(config, "rl.learning_rate", 1e-5))


def test_records_stand_in_for_what_is_not_there(config, tmp_path):
    """A result of this run's own goes before its record; an evaluation's record is unpacked by a rule."""
    config |= {"results": str(tmp_path / "mine")}
    write_run(tmp_path / "run", config)
    pack_records(tmp_path / "run", tmp_path / "out", config)
    inputs = TableInputs(config, Results(R), EarlierRun(config, tmp_path / "out"))
    records = tmp_path / "out/records"
    assert inputs.as_made(R / RL) == records / RL
    assert inputs.as_made(R / NORMS) == R / NORMS
    timed = inputs.timed("alfworld", "prism-gini")
    assert records / RL in timed
    assert R / GRPO in timed
    files = inputs.timing_files("alfworld", "prism-gini")["seeds"][0]
    assert files["rl"] == str(records / f"benchmarks/{RL}.tsv")
    assert files["checkpoint"] == str(records / RL)
    assert files["baseline_checkpoint"] == str(tmp_path / "mine" / GRPO)
    place = {"benchmark": "alfworld", "backbone": "tiny-qwen3", "seed": "0", "panel": "seen"}
    assert inputs.packed_evaluation(method="base", **place) == records / f"{BASE}.gz"
    assert not inputs.packed_evaluation(method="grpo", **place).exists()
    # what a run of RL starts from is never a record, which holds no weights
    assert inputs.checkpoint("prism-gini", "alfworld", "tiny-qwen3", 0) == R / RL
    (tmp_path / "mine" / RL).mkdir(parents=True)
    assert inputs.as_made(R / RL) == R / RL


def test_an_evaluation_is_taken_on_its_own_panel_only(tmp_path):
    record, panel, out = tmp_path / "seen.json.gz", tmp_path / "panel.json", tmp_path / "out.json"
    record.write_bytes(gzip.compress(b'{"panel_sha256": "of the panel"}\n'))
    panel.write_text('{"sha256": "of the panel"}')
    take_evaluation(record, panel, out)
    assert out.read_text() == '{"panel_sha256": "of the panel"}\n'
    panel.write_text('{"sha256": "of another"}')
    with pytest.raises(BadInput, match=r"seen.json.gz.*another panel.*go_on_from"):
        take_evaluation(record, panel, out)


def test_a_folder_that_holds_something_else_is_refused_and_one_that_is_not_there_is_empty(config, tmp_path):
    assert read_origins(tmp_path / "not yet") == {}
    with pytest.raises(BadInput, match=f"go_on_from.*{ORIGINS}"):
        EarlierRun(config, tmp_path)
