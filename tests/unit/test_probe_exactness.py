"""The prober against per-sample `.grad` in float64."""

from __future__ import annotations

import copy

import pytest
from probe_models import random_model, random_samples, reference_norms

from prism.core.probe.packing import plan_packs
from prism.core.probe.prober import GradientProber

TOLERANCE = 1e-12
SAMPLES = random_samples(10, rows=(1, 1, 3))


def probe_all(model, samples, tokens_per_pack, checkpointing=False):
    prober = GradientProber(copy.deepcopy(model), checkpointing)
    return {one.sample.id: one for pack in prober.probe(plan_packs(samples, tokens_per_pack)) for one in pack}


def assert_equal_to_reference(model, samples, probed):
    assert sorted(probed) == sorted(sample.id for sample in samples)
    for sample in samples:
        norms, loss = reference_norms(model, sample)
        assert probed[sample.id].loss == pytest.approx(loss, rel=TOLERANCE)
        assert probed[sample.id].norms == pytest.approx(norms, rel=TOLERANCE, abs=0)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("checkpointing", [True, False], ids=["checkpointing", "plain"])
@pytest.mark.parametrize("tokens_per_pack", [1, 100, 10_000], ids=["single", "packs", "one-pack"])
def test_norms_equal_per_sample_gradients(family, tied, checkpointing, tokens_per_pack):
    model = random_model(family, tied)
    assert_equal_to_reference(model, SAMPLES, probe_all(model, SAMPLES, tokens_per_pack, checkpointing))
