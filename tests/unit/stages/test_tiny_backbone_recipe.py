"""Recipes of the shipped backbones: what they were made with, and that no experiment plays what they have read."""

import json
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from prism.core.files import read_json
from prism.core.recipes import build_recipe
from prism.environments import load_data
from prism.environments.alfworld.dataset import GamesRecipe
from prism.environments.alfworld.games import SPLITS, generate_split
from prism.environments.webshop.generator import CatalogRecipe, generate_catalog
from prism.stages.tiny_backbone import BackboneRecipe

RECIPES = ("recipe", "deep")
ROOT = Path(__file__).parents[3]
CONFIGS = sorted(path.stem for path in (ROOT / "config").glob("*.yaml") if path.stem != "schema")


def recipe_of(name: str) -> dict:
    return yaml.safe_load((ROOT / f"resources/backbones/{name}.yaml").read_text())


def benchmarks_of(name: str) -> dict:
    merged = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    update_config(merged, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    return merged["benchmarks"]


def games_of(settings: dict, splits: tuple[str, ...] = SPLITS) -> set[str]:
    """Hashes of the content of generated games."""
    recipe, taken, found = build_recipe(GamesRecipe, settings, "games"), set(), set()
    for split in SPLITS:
        games = generate_split(split, getattr(recipe, split), recipe.seed, recipe.size, taken)
        found |= {game.signature for game in games if split in splits}
    return found


def goals_of(settings: dict, folder: Path) -> set[tuple[str, str]]:
    """Products and instructions of a generated catalog."""
    generate_catalog(folder, build_recipe(CatalogRecipe, settings, "catalog"))
    instructions = read_json(folder / "items_human_ins.json")
    return {(asin, written["instruction"]) for asin, texts in instructions.items() for written in texts}


@pytest.mark.parametrize("file", RECIPES)
def test_every_part_of_a_recipe_can_be_run(file):
    recipe = recipe_of(file)
    build_recipe(BackboneRecipe, recipe["training"], file)
    for name, made in (("alfworld", "games"), ("webshop", "catalog")):
        kinds = load_data(name).recipes
        build_recipe(kinds[made], recipe[name][made], f"{file}: {name}.{made}")
        for part, values in recipe[name]["transcripts"].items():
            build_recipe(kinds["transcripts"], values, f"{file}: {name}.transcripts.{part}")


@pytest.mark.parametrize(("file", "name"), [(file, name) for file in RECIPES for name in recipe_of(file)["families"]])
def test_the_provenance_is_the_recipe(file, name):
    recipe = recipe_of(file)
    place = ROOT / f"resources/backbones/{recipe['prefix']}-{name}/provenance.json"
    if not place.exists():
        pytest.skip(f"{place.parent.name} is not shipped yet")
    made = json.loads(place.read_text())
    assert made["family"] == recipe["families"][name]
    played = [part["games"] * part["episodes"] for part in recipe["alfworld"]["transcripts"].values()]
    played += [part["tasks"] * part["episodes"] for part in recipe["webshop"]["transcripts"].values()]
    assert made["corpus_trajectories"] == sum(played)
    # as JSON: a tuple of the recipe is a list there
    for key, value in json.loads(json.dumps(recipe["training"])).items():
        if isinstance(value, dict):
            assert value.items() <= made["recipe"][key].items(), key
        else:
            assert made["recipe"][key] == value, key


@pytest.fixture(scope="module")
def read_by_the_deep_ones(tmp_path_factory) -> tuple[set, set]:
    recipe = recipe_of("deep")
    catalog = goals_of(recipe["webshop"]["catalog"], tmp_path_factory.mktemp("deep") / "catalog")
    return games_of(recipe["alfworld"]["games"], ("train",)), catalog


@pytest.mark.parametrize("config", CONFIGS)
def test_no_experiment_plays_what_the_deep_backbones_have_read(config, read_by_the_deep_ones, tmp_path):
    """Neither for training nor for evaluation; released data are none of ours."""
    games, goals = read_by_the_deep_ones
    benchmarks = benchmarks_of(config)
    if benchmarks["alfworld"]["source"] == "generated":
        assert not games & games_of(benchmarks["alfworld"]["games"])
    if benchmarks["webshop"]["source"] == "generated":
        assert not goals & goals_of(benchmarks["webshop"]["catalog"], tmp_path / "catalog")
