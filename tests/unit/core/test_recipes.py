"""Recipes: settings are checked before anything runs."""

import json
from dataclasses import dataclass

import pytest

from prism.core.errors import BadInput
from prism.core.recipes import build_recipe, machine_settings, result_settings, schema_of, setting


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    rate: float
    name: str
    on: bool = False
    seeds: tuple[int, ...] = ()
    inner: Inner = Inner()


def test_values_and_nesting():
    built = build_recipe(Outer, '{"rate": 1, "name": "a", "seeds": [1, 2], "inner": {"size": 3}}', "--recipe")
    assert built == Outer(1.0, "a", seeds=(1, 2), inner=Inner(3))
    assert isinstance(built.rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"rate": 1}', "'name' is missing"),
        ('{"rate": 1, "name": "a", "nmae": 2}', "did you mean 'name'"),
        ('{"rate": "fast", "name": "a"}', "--recipe.rate"),
        ('{"rate": 1, "name": "a", "inner": {"size": 1.5}}', "--recipe.inner.size"),
        ('{"rate": 1, "name": "a", "seeds": [true]}', "not a whole number"),
        ('{"rate": 1, "name": "a", "on": 1}', "true or false"),
        ("[1]", "not a mapping"),
        ("{", "not valid JSON"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(BadInput, match=message):
        build_recipe(Outer, text, "--recipe")


@dataclass(frozen=True)
class Known:
    rate: float = setting("a rate", above=0)
    rule: str = setting("which of the two counts", "steps", choices=("steps", "epochs"))
    steps: int = setting("steps", 3, at_least=1, only={"rule": ("steps",)})
    epochs: float = setting("passes", 1.0, at_least=0, at_most=9, only={"rule": ("epochs",)})
    threads: int = setting("threads", 2, at_least=1, machine=True)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    "written",
    [
        {"rate": 3},
        {"rate": 3.0, "rule": "steps", "steps": 3, "inner": {"size": 1}},
        {"threads": 7, "rate": 3, "epochs": 5, "inner": {}},
    ],
)
def test_the_same_values_in_other_words_are_one_recipe(written):
    told = result_settings(build_recipe(Known, written, "--recipe"))
    assert json.dumps(told) == '{"rate": 3.0, "rule": "steps", "steps": 3, "inner": {"size": 1}}'


def test_other_values_are_another_recipe_unless_they_are_the_machines():
    first = build_recipe(Known, {"rate": 3}, "--recipe")
    assert result_settings(build_recipe(Known, {"rate": 3.1}, "--recipe")) != result_settings(first)
    other_rule = build_recipe(Known, {"rate": 3, "rule": "epochs"}, "--recipe")
    assert result_settings(other_rule) == {"rate": 3.0, "rule": "epochs", "epochs": 1.0, "inner": {"size": 1}}
    assert machine_settings(first) == {"threads": 2}


def test_the_machines_settings_come_beside_the_recipe():
    assert build_recipe(Known, '{"rate": 1}', "--recipe", '{"threads": 5}').threads == 5
    with pytest.raises(BadInput, match="--machine: is not valid JSON"):
        build_recipe(Known, '{"rate": 1}', "--recipe", "{")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0}, "--recipe.rate: 0.0 is not above 0"),
        ({"rate": 1, "steps": 0}, "--recipe.steps: 0 is too small; give at least 1"),
        ({"rate": 1, "epochs": 10}, "--recipe.epochs: 10.0 is too large; give at most 9"),
        ({"rate": 1, "rule": "stepps"}, "--recipe.rule: unknown value 'stepps'; use one of steps, epochs"),
        ({"rate": 1, "steps": 2.0}, "--recipe.steps: 2.0 is not a whole number; write 2"),
    ],
)
def test_bounds_and_choices_are_checked(values, message):
    with pytest.raises(BadInput) as refused:
        build_recipe(Known, values, "--recipe")
    assert str(refused.value).startswith(message)


def test_the_schema_is_the_recipes():
    schema = schema_of(Known, leave_out=("inner",))
    assert schema["required"] == ["rate"]
    assert schema["properties"]["rate"] == {"type": "number", "exclusiveMinimum": 0, "description": "a rate"}
    assert schema["properties"]["rule"]["enum"] == ["steps", "epochs"]
    assert schema["properties"]["epochs"] == {
        "type": "number", "minimum": 0, "maximum": 9, "default": 1.0, "description": "passes",
    }  # fmt: skip


@dataclass(frozen=True)
class Grown:
    rate: float = setting("a rate")
    rank: int = setting("came later", 0, added=True)


def test_a_setting_that_was_added_changes_nothing_at_its_default():
    """What was made before there was the setting does not run again; another value is another result."""
    assert result_settings(Grown(1.0)) == {"rate": 1.0}
    assert result_settings(Grown(1.0, 4)) == {"rate": 1.0, "rank": 4}
