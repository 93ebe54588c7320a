"""Methods and subsets are names with a meaning."""

import pytest

from prism.core.errors import BadInput
from prism.core.methods import Method, Slice, build_methods, parse_slice


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gini-high50", Slice("gini", 50, "rl")),
        ("gini-low50", Slice("gini", 50, "sft")),
        ("cv-high30", Slice("cv", 30, "rl")),
        ("cv-low70", Slice("cv", 30, "sft")),  # the other side of the same split
        ("random-seed2-low50", Slice("random-seed2", 50, "sft")),
        ("gini_normalised-low10", Slice("gini_normalised", 90, "sft")),
        ("gini@after-sft-low30", Slice("gini@after-sft", 70, "sft")),
        ("detour-high50", Slice("detour", 50, "rl")),
        ("all", None),
    ],
)
def test_subsets(name, expected):
    assert parse_slice(name) == expected


@pytest.mark.parametrize("name", ["", "gini", "gini-50", "gini-low0", "gini-low100", "gini-middle50", "../x-low50"])
def test_other_names_are_refused(name):
    with pytest.raises(BadInput):
        parse_slice(name)


def test_a_random_split_is_drawn_for_every_seed():
    method = Method("random", "random-low50", "random-high50", "grpo").at_seed(3)
    assert (method.sft, method.rl) == ("random-seed3-low50", "random-seed3-high50")
    assert method.shares() == ("50", "50")


def test_init_is_the_sft_subset_or_the_base():
    assert Method("grpo", None, "all", "grpo").init == "base"
    assert Method("sft-then-rl", "all", "all", "grpo").init == "all"


@pytest.mark.parametrize(
    "value",
    [
        {"rl": "all"},
        {"algorithm": "grpo"},
        {"rl": "all", "algorithm": "ppo"},
        {"sft": "ginni-low50"},
        {"sft": "gini-low"},
    ],
)
def test_a_method_that_means_nothing_is_refused(value):
    with pytest.raises(BadInput, match=r"methods\.mine"):
        build_methods({"mine": value})
