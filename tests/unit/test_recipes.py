"""Recipes: settings are checked before anything runs."""

from dataclasses import dataclass

import pytest

from prism.core.errors import BadInput
from prism.core.recipes import build_recipe


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
