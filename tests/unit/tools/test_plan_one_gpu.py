"""Memory and hours on one card: formulas against known models and by hand, and the page that prints them."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace

import pytest
import yaml
from snakemake.utils import update_config

from prism.rl.memory import adapter_parameters, all_parameters, sampling_memory
from prism.settings import StageRecipes
from prism.tools.plan.memory import fits, kv_cache_gb, probe_memory, rl_memory, sft_memory
from prism.tools.plan.one_gpu import OneGpuModel, card_lines
from prism.tools.snakemake_plan import Job

CARDS = (24, 40, 48, 80)
PANELS = {"alfworld": {"seen": 140, "unseen": 134}, "webshop": {"test": 500}}
# as their model cards and files say, norms and all
KNOWN = {"Qwen3-1.7B": 1_720_574_976, "Llama-3.2-1B-Instruct": 1_235_814_400, "Qwen3-0.6B": 596_049_920}
SHOWN = ("Qwen3-1.7B", "Llama-3.2-1B-Instruct")


@pytest.fixture(scope="module")
def assumptions(root) -> dict:
    return yaml.safe_load((root / "resources/plan/assumptions.yaml").read_text())


@pytest.fixture(scope="module")
def shapes(assumptions) -> dict:
    return assumptions["one_gpu"]["backbones"]


@pytest.fixture(scope="module")
def recipes(root) -> StageRecipes:
    config: dict = {}
    for name in ("config", "paper", "gpu"):
        update_config(config, yaml.safe_load((root / f"config/{name}.yaml").read_text()))
    return StageRecipes(config)


def job(rule: str, command: str = "", **wildcards) -> Job:
    return Job(1, rule, {"backbone": "Qwen3-1.7B", "benchmark": "alfworld", **wildcards}, (), (), None, 1, 1, command)


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_those_of_the_model_cards(shapes, name):
    assert all_parameters(shapes[name]) == pytest.approx(KNOWN[name], rel=2e-4)


def test_adapters_by_hand(shapes):
    # q and o: 2048 x 2048, k and v: 2048 x 1024, gate, up, down: 2048 x 6144
    assert adapter_parameters(shapes["Qwen3-1.7B"], 32) == 28 * 32 * (2 * 4096 + 2 * 3072 + 3 * 8192)
    assert adapter_parameters(shapes["Qwen3-1.7B"], 0) == 0


def stages(recipes: StageRecipes, shape: dict) -> dict[str, dict[str, float]]:
    """What each stage needs at its largest, on WebShop, in the ways that the page lists."""
    sft, rl = recipes.sft("webshop", "Qwen3-1.7B"), recipes.rl("webshop", "grpo")
    on_card = {**sft.deepspeed, "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "none"}}}
    return {
        "probe": probe_memory(shape, recipes.probe("webshop")),
        "SFT, optimizer in the host's memory": sft_memory(shape, sft),
        "SFT, optimizer on the card": sft_memory(shape, replace(sft, deepspeed=on_card)),
        "SFT, adapters of rank 32": sft_memory(shape, replace(sft, lora_rank=32)),
        "RL, `offload: always`": rl_memory(shape, rl),
        "RL, `offload: idle`": rl_memory(shape, replace(rl, offload="idle")),
        "RL, `always`, adapters of rank 32": rl_memory(shape, replace(rl, lora_rank=32)),
        "RL, `idle`, adapters of rank 32": rl_memory(shape, replace(rl, offload="idle", lora_rank=32)),
    }


def smallest_card(needs: list[dict[str, float]]) -> int:
    return next(card for card in CARDS if all(fits(need, card) for need in needs))


def table(recipes: StageRecipes, shapes: dict) -> list[str]:
    both = [stages(recipes, shapes[name]) for name in SHOWN]
    return [
        f"| {stage} | " + " | ".join(f"{sum(own[stage].values()):.1f}" for own in both)
        + f" | {smallest_card([own[stage] for own in both])} GB |"
        for stage in both[0]
    ]  # fmt: skip


def test_the_page_prints_the_budget(root, recipes, shapes):
    page = (root / "docs/one-gpu.md").read_text()
    assert [line for line in table(recipes, shapes) if line not in page] == []


def test_the_settings_as_they_stand_fit_24_gb(recipes, shapes):
    for name in KNOWN:
        own = stages(recipes, shapes[name])
        for stage in ("probe", "SFT, optimizer in the host's memory", "RL, `offload: always`"):
            assert fits(own[stage], 24), (name, stage)
        # while vLLM samples nothing of the trainer is on the card
        sampling = sampling_memory(shapes[name], recipes.rl("webshop", "grpo"), 24)
        assert sampling["states"] == 0
        assert fits(sampling, 24)


def test_states_by_hand(recipes, shapes):
    shape, rl = shapes["Qwen3-1.7B"], recipes.rl("alfworld", "grpo")
    whole = all_parameters(shape)
    assert rl_memory(shape, rl)["states"] == 0
    assert rl_memory(shape, replace(rl, offload="idle"))["states"] == pytest.approx(16 * whole / 1e9)
    adapted = rl_memory(shape, replace(rl, offload="idle", lora_rank=32))["states"]
    assert adapted == pytest.approx((4 * whole + 16 * adapter_parameters(shape, 32)) / 1e9)
    # keys and values of 28 layers with 8 heads of 128 numbers in bfloat16, for 32 sequences
    assert kv_cache_gb(shape, 32, 2304) == pytest.approx(2 * 2 * 28 * 8 * 128 * 32 * 2304 / 1e9)


def test_the_anchor_gives_itself_back(assumptions):
    """A step of the anchor's episodes by a model of its size on its card takes what all its cards took."""
    anchor = assumptions["one_gpu"]["anchor"]
    model = OneGpuModel(assumptions, {"alfworld": {"seen": anchor["episodes"]}})
    size = all_parameters(assumptions["one_gpu"]["backbones"]["Qwen3-1.7B"]) / anchor["parameters"]
    hours = model.hours(job("evaluate", panel="seen"), model.cards[anchor["card"]])
    expected = anchor["cards"] * anchor["seconds"]["sampling"] * size / 3600
    assert hours == pytest.approx(expected + assumptions["model"]["start_hours"]["evaluate"])


def test_a_variant_of_the_probe_needs_the_probes_memory(assumptions, recipes, shapes):
    """It is no stage of vLLM's, which takes what there is."""
    probe = recipes.probe("alfworld")
    command = f"prism probe --recipe {shlex.quote(json.dumps(asdict(probe)))}"
    jobs = [job(rule, command, shards="8") for rule in ("probe", "probe_variant")]
    lines = list(card_lines(jobs, OneGpuModel(assumptions, PANELS)))
    needs = {line.stage: line.gb for line in lines}
    assert needs["probe_variant"] == needs["probe"] == sum(probe_memory(shapes["Qwen3-1.7B"], probe).values())


def test_what_a_probe_keeps_beside_checkpointing_and_sums_over_parts_needs_memory(recipes, shapes):
    probe, shape = recipes.probe("alfworld"), shapes["Qwen3-1.7B"]
    plain, kept, parts = (
        probe_memory(shape, replace(probe, **settings))
        for settings in ({}, {"tokens_kept": probe.tokens_per_pack}, {"tokens_per_pass": 900})
    )
    # of all tokens of a pass: every layer's activations, and more than an inference's inputs of layers
    assert kept["activations"] > 10 * plain["activations"]
    assert {**kept, "activations": plain["activations"]} == plain
    # a gradient in float32 of the 1.4 billion weights of its layers
    assert parts.pop("sums over parts") == pytest.approx(4 * 1.41, rel=0.02)
    assert parts == plain


def test_cards_differ_by_arithmetic_and_by_memory(assumptions):
    model = OneGpuModel(assumptions, PANELS)
    large, small = model.cards["A100-80GB"], model.cards["RTX4090-24GB"]
    start = assumptions["model"]["start_hours"]["evaluate"]
    evaluation = job("evaluate", panel="seen")
    ratio = (model.hours(evaluation, small) - start) / (model.hours(evaluation, large) - start)
    assert ratio == pytest.approx(large.tb_per_second / small.tb_per_second)
    [stage] = {line.stage for line in card_lines([evaluation, job("split")], model)}
    assert stage == "evaluate"
