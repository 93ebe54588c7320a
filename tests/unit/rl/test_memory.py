"""The memory budget of RL on GPUs: the paper's settings fit an 80 GB card, and the documents say with what."""

from __future__ import annotations

import pytest
import yaml

from prism.core.recipes import build_recipe
from prism.rl.memory import parameters, sampling_memory, update_memory
from prism.rl.recipe import RlRecipe

CARD_GB, LIMIT_GB = 80, 70
LARGE = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
# the shapes in the config.json of the two backbones
MODELS = {
    "Qwen3-8B": {**LARGE, "intermediate_size": 12288, "num_hidden_layers": 36, "vocab_size": 151936},
    "Llama-3.1-8B-Instruct": {**LARGE, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256},
}


def recipe(root, benchmark: str, **changes) -> RlRecipe:
    """The recipe of the paper's scale for a benchmark."""
    paper = yaml.safe_load((root / "config/paper.yaml").read_text())
    own = paper["benchmarks"][benchmark]
    settings = {key: value for key, value in paper["rl"].items() if key != "algorithms"}
    values = {**settings, **own.get("rl", {}), "prompt": own["prompt"], "max_steps": own["max_steps"]}
    return build_recipe(RlRecipe, {**values, **changes}, "paper.yaml")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("benchmark", ["alfworld", "webshop"])
def test_the_papers_settings_fit_the_card(root, name, benchmark):
    settings = recipe(root, benchmark)
    assert sum(update_memory(MODELS[name], settings).values()) < LIMIT_GB
    assert sum(sampling_memory(MODELS[name], settings, CARD_GB).values()) < LIMIT_GB


def test_twice_the_tokens_do_not_fit_the_largest_vocabulary(root):
    settings = recipe(root, "webshop", micro_batch_tokens=32768)
    assert sum(update_memory(MODELS["Qwen3-8B"], settings).values()) > LIMIT_GB


@pytest.mark.parametrize(("name", "billions"), [("Qwen3-8B", 8.19), ("Llama-3.1-8B-Instruct", 8.03)])
def test_parameters_are_those_of_the_model_cards(name, billions):
    layer, matrix = parameters(MODELS[name])
    assert (MODELS[name]["num_hidden_layers"] * layer + 2 * matrix) / 1e9 == pytest.approx(billions, abs=0.005)


def test_the_terms_by_hand(root):
    terms = update_memory(MODELS["Qwen3-8B"], recipe(root, "alfworld"))
    # bfloat16: a hidden state for each of 16,384 tokens and 36 layers and the embedding; logits and two gradients
    assert terms["kept activations"] == pytest.approx(16384 * 4096 * 37 * 2 / 1e9)
    assert terms["logits"] == pytest.approx(3 * 16384 * 151936 * 2 / 1e9)
    # float32, on eight GPUs: weights, gradients, two moments
    assert terms["states"] == pytest.approx(16 * 8.19e9 / 8 / 1e9, rel=1e-3)


def test_a_pass_is_never_smaller_than_the_longest_row(root):
    small, row = (recipe(root, "webshop", micro_batch_tokens=tokens) for tokens in (1, 4096 + 512))
    assert update_memory(MODELS["Qwen3-8B"], small) == update_memory(MODELS["Qwen3-8B"], row)


def test_the_documents_print_the_budget(root):
    text = (root / "docs/cluster.md").read_text()
    columns = [update_memory(model, recipe(root, "webshop")) for model in MODELS.values()]
    for term in columns[0]:
        assert f"| {term} | " + " | ".join(f"{column[term]:.1f}" for column in columns) + " |" in text
    totals = " | ".join(f"{sum(column.values()):.1f}" for column in columns)
    assert f"| sum | {totals} |" in text
    sampling = [sampling_memory(model, recipe(root, "webshop"), CARD_GB) for model in MODELS.values()]
    assert "| while vLLM samples | " + " | ".join(f"{sum(column.values()):.1f}" for column in sampling) + " |" in text
