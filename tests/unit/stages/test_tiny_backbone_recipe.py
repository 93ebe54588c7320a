"""The shipped backbones were made with the recipe that stands beside them."""

import json

import pytest
import yaml


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_the_provenance_is_the_recipe(root, name):
    folder = root / "resources/backbones"
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    made = json.loads((folder / f"tiny-{name}/provenance.json").read_text())
    assert made["family"] == recipe["families"][name]
    alfworld, webshop = recipe["alfworld"]["transcripts"], recipe["webshop"]["transcripts"]
    played = alfworld["games"] * alfworld["episodes"] + webshop["tasks"] * webshop["episodes"]
    assert made["corpus_trajectories"] == played
    for key, value in recipe["training"].items():
        if isinstance(value, dict):
            assert value.items() <= made["recipe"][key].items(), key
        else:
            assert made["recipe"][key] == value, key
