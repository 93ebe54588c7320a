"""Experiments that are drawn episode by episode and put to the paired test of several seeds."""

import pytest

from prism.core.power import Outcomes, planned_design

DESIGN = Outcomes(seeds=5, tasks=200, rate=0.3, task_sd=1.5, scatter=0.02)


def test_without_a_gain_the_test_rarely_finds_one():
    """On the gain's own side: half of the two-sided 5%, within what 1,000 draws scatter by."""
    assert DESIGN.power(0.0) < 0.05
    assert DESIGN.power(0.0, alpha=0.01) <= DESIGN.power(0.0)


def test_more_is_found_of_a_larger_gain_with_more_seeds_and_calmer_trainings():
    assert DESIGN.power(0.03) < DESIGN.power(0.06) < DESIGN.power(0.12)
    assert DESIGN.power(0.06, alpha=0.0125) < DESIGN.power(0.06)
    fewer, wilder = Outcomes(3, 200, 0.3, 1.5, 0.02), Outcomes(5, 200, 0.3, 1.5, 0.05)
    assert max(fewer.power(0.06), wilder.power(0.06)) < DESIGN.power(0.06)


def test_the_drawn_episodes_agree_with_the_normal_model():
    """The model takes both methods' spread at one rate: the mean of the two."""
    for gain in (0.05, 0.09):
        expected = planned_design(5, 200, 0.3 + gain / 2, 1.5, 0.02).power(gain)
        assert DESIGN.power(gain) == pytest.approx(expected, abs=0.06)


def test_the_detectable_gain_is_the_smallest_of_its_grid():
    found = DESIGN.detectable(0.8, step=0.01)
    assert DESIGN.power(found) >= 0.8 > DESIGN.power(found - 0.01)
    assert Outcomes(3, 10, 0.9, 1.5, 0.2).detectable(0.8, step=0.05) is None
