"""The prober against per-sample `.grad` in float64, and what float32 and bfloat16 may lose."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from probe_models import beginning_alike, compute_in_float64, random_model, random_row, random_samples, reference_norms

from prism.core.errors import NotFinite, PrismError
from prism.core.prompts import Row
from prism.gradients import attention, loss
from prism.gradients.norm_files import MODULES
from prism.gradients.norms import direct_norm, frobenius, gram_blocks, gram_is_cheaper, gram_norm, product
from prism.gradients.packs import Sample, build_pack, plan_packs, shared_beginning, useful_length
from prism.gradients.prober import GradientProber
from prism.gradients.projections import find_projections
from prism.gradients.rms_norm import FrozenRMSNorm, replace_rms_norms

TOLERANCE = 1e-12
SAMPLES = random_samples(6, rows=(1, 3))
SMALL = {"num_hidden_layers": 2}


def probe_all(model, samples, tokens_per_pack, checkpointing=False):
    prober = GradientProber(copy.deepcopy(model), checkpointing)
    return {one.sample.id: one for pack in prober.probe(plan_packs(samples, tokens_per_pack)) for one in pack}


def assert_equal_to_reference(model, samples, probed, tolerance=TOLERANCE):
    assert sorted(probed) == sorted(sample.id for sample in samples)
    for sample in samples:
        norms, loss = reference_norms(model, sample)
        assert probed[sample.id].loss == pytest.approx(loss, rel=tolerance)
        assert probed[sample.id].norms == pytest.approx(norms, rel=tolerance, abs=0)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    ("tokens_per_pack", "checkpointing"),
    [(1, False), (100, True), (10_000, False)],
    ids=["single", "packs-checkpointing", "one-pack"],
)
def test_norms_equal_per_sample_gradients(family, tied, tokens_per_pack, checkpointing):
    model = random_model(family, tied, **SMALL)
    assert_equal_to_reference(model, SAMPLES, probe_all(model, SAMPLES, tokens_per_pack, checkpointing))


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("qwen2", {}),  # biases
        ("mistral", {"sliding_window": 8}),
        ("llama", {"num_key_value_heads": 1, "attention_bias": True}),
        ("qwen3", {"hidden_size": 8, "intermediate_size": 12}),  # direct form everywhere
        ("qwen3", {"hidden_size": 128, "intermediate_size": 384, "head_dim": 32}),  # Gram form everywhere
    ],
)
def test_other_structures(family, settings):
    model = random_model(family, **(SMALL | settings))
    assert_equal_to_reference(model, SAMPLES[:3], probe_all(model, SAMPLES[:3], 100))


@pytest.mark.parametrize("settings", [{}, {"sliding_window": 8}], ids=["causal", "window"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_long_rows_and_large_vocabularies_are_exact(monkeypatch, settings, checkpointing):
    """Attention without whole masks and logits a part at a time, as for 100,000 tokens, on short rows."""
    monkeypatch.setattr(attention, "MASK_ENTRIES", 8 * 8 * 3)
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 97 * 5)
    model = random_model("mistral", **(SMALL | settings))
    assert_equal_to_reference(model, SAMPLES[:3], probe_all(model, SAMPLES[:3], 100, checkpointing))


def test_both_norm_forms_are_exercised():
    lengths = [sample.tokens for sample in SAMPLES]
    assert not any(gram_is_cheaper(length, 8, (12, 12)) for length in lengths)
    assert all(gram_is_cheaper(length, 128, (384, 384)) for length in lengths)


def test_float32_agrees_with_float64():
    """Covers the float32-only normalisation."""
    model = random_model("qwen3", dtype=torch.float32, **SMALL)
    reference = copy.deepcopy(model).double()
    assert_equal_to_reference(reference, SAMPLES, probe_all(model, SAMPLES, 200), tolerance=2e-5)


def test_packing_changes_neither_norms_nor_ranks():
    model = random_model("llama", dtype=torch.float32, **SMALL)
    samples = random_samples(12, rows=(1, 2), seed=3)
    one, other = (probe_all(model, samples, tokens) for tokens in (1, 150))
    norms = [np.array([probed[sample.id].norms for sample in samples]) for probed in (one, other)]
    np.testing.assert_allclose(norms[0], norms[1], rtol=2e-5)
    totals = [np.linalg.norm(values, axis=1) for values in norms]
    assert totals[0].argsort().tolist() == totals[1].argsort().tolist()


def test_a_trajectory_of_rows_is_one_gradient():
    """The norm of the sum over rows, not a sum or mean of norms."""
    model = random_model("qwen3", **SMALL)
    (sample,) = random_samples(1, rows=(3,))
    norms = probe_all(model, [sample], 1000)[sample.id].norms
    apart = [probe_all(model, [Sample("x", (row,))], 1000)["x"].norms for row in sample.rows]
    weights = [sum(row.response_mask[1:]) / sample.response_tokens for row in sample.rows]
    uncoupled = np.sqrt(sum((weight * np.array(row)) ** 2 for weight, row in zip(weights, apart, strict=True)))
    assert np.abs(np.array(norms) / uncoupled - 1).max() > 0.01
    assert norms == pytest.approx(reference_norms(model, sample)[0], rel=TOLERANCE)


def test_tokens_after_the_last_response_do_not_matter():
    row = SAMPLES[0].rows[0]
    longer = Row([*row.input_ids, 1, 2, 3], [*row.response_mask, 0, 0, 0])
    assert useful_length(longer) == useful_length(row)
    model = random_model("llama", **SMALL)
    norms = [probe_all(model, [Sample("x", (one,))], 1000)["x"].norms for one in (row, longer)]
    assert norms[0] == norms[1]


def test_the_model_computes_the_same_logits_after_instrumentation():
    model = random_model("qwen3", **SMALL)
    pack = build_pack(SAMPLES[:1], torch.device("cpu"))
    ids = torch.tensor([SAMPLES[0].rows[0].input_ids[: pack.row_ends[1]]])
    expected = model(input_ids=ids).logits[0, pack.row_predictors[0]]
    prober = GradientProber(model)
    prober._collector.begin(pack)
    logits = model(
        input_ids=pack.input_ids,
        position_ids=pack.position_ids,
        row_ends=pack.row_ends,
        row_queries=pack.row_predictors,
        logits_to_keep=pack.predictors,
    ).logits[0, : len(pack.row_predictors[0])]
    torch.testing.assert_close(logits, expected)


# --------------------------------------------------------------------------------------------- shared beginnings

ALIKE = [
    replace(beginning_alike(sample, 20, seed), id=f"alike-{seed}")
    for seed, sample in enumerate(random_samples(3, rows=(3,)))
]


@pytest.mark.parametrize(
    ("family", "settings"),
    [("qwen3", {}), ("qwen3", {"hidden_size": 8, "intermediate_size": 12}), ("mistral", {"sliding_window": 8})],
)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_beginning_that_rows_share_is_computed_once_and_counted_for_each(
    monkeypatch, family, settings, checkpointing
):
    compute_in_float64(monkeypatch)
    model = random_model(family, **(SMALL | settings))
    assert_equal_to_reference(model, [*ALIKE, *SAMPLES], probe_all(model, [*ALIKE, *SAMPLES], 300, checkpointing))


def test_long_rows_behind_a_shared_beginning_are_exact(monkeypatch):
    compute_in_float64(monkeypatch)
    monkeypatch.setattr(attention, "MASK_ENTRIES", 8 * 8 * 3)
    for settings in ({}, {"sliding_window": 8}):
        model = random_model("mistral", **(SMALL | settings))
        assert_equal_to_reference(model, ALIKE, probe_all(model, ALIKE, 300))


def test_a_trajectory_in_parts_shares_beginnings_within_each(monkeypatch):
    compute_in_float64(monkeypatch)
    model = random_model("qwen3", **SMALL)
    prober = GradientProber(copy.deepcopy(model))
    prober.tokens_per_pass = 140
    sizes = []
    begin = prober._collector.begin
    monkeypatch.setattr(
        prober._collector, "begin", lambda pack: (sizes.append(pack.input_ids.shape[1]), begin(pack))[1]
    )
    (sample,) = (beginning_alike(one, 20) for one in random_samples(1, rows=(5,)))
    ((probed,),) = prober.probe([[sample]])
    assert_equal_to_reference(model, [sample], {sample.id: probed})
    assert len(sizes) > 1
    assert sum(sizes) < sample.tokens


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        (((0, 30), (0, 30)), 24),  # all that comes before the first predictor
        (((0, 30), (17, 30)), 17),
        (((0, 30), (15, 30)), 0),  # too short
        (((0, 30), (20, 30), (18, 40)), 18),
        (((0, 30),), 0),
        (((0, 30), (0, 22)), 16),  # the other row's first answer comes earlier
    ],
)
def test_what_rows_share(rows, shared):
    """Rows of tokens 0, 1, 2, ..., from some place on plus 50; the last five are the answer."""
    made = [
        Row(
            [token if token < change or not change else token + 50 for token in range(length)],
            [0] * (length - 5) + [1] * 5,
        )
        for change, length in rows
    ]
    assert shared_beginning(made) == shared
    pack = build_pack([Sample("x", tuple(made))], torch.device("cpu"), share_beginnings=True)
    assert pack.input_ids.shape[1] == sum(map(useful_length, made)) - (len(made) - 1) * shared
    assert pack.position_ids[0, pack.predictors].tolist() == [
        place for row in made for place in range(len(row.input_ids) - 6, len(row.input_ids) - 1)
    ]


# ------------------------------------------------------------------------------------------------ accuracy traps


def test_norm_of_a_large_float32_matrix():
    """The plain float32 reduction is off by 7e-4 here."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4096, 4096, generator=generator)
    exact = float(matrix.double().norm())
    assert float(frobenius(matrix)) == pytest.approx(exact, rel=1e-7)
    assert frobenius(matrix).dtype == torch.float64


def test_norm_of_a_bfloat16_matrix_is_not_rounded_to_bfloat16():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(64, 64, generator=generator).bfloat16()
    exact = float(matrix.double().norm())
    assert float(frobenius(matrix)) == pytest.approx(exact, rel=1e-6)
    assert float(matrix.norm()) != pytest.approx(exact, rel=1e-5), "torch's own norm is no longer rounded"


def test_products_of_bfloat16_are_accumulated_in_float32():
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(16, 256, generator=generator).bfloat16() for _ in range(2))
    exact = left.double() @ right.double().t()
    assert product(left, right.t()).dtype == torch.float32
    torch.testing.assert_close(product(left, right.t()).double(), exact, rtol=1e-4, atol=1e-4)


def test_gram_form_steps_aside_where_terms_cancel():
    """Output gradients that sum to nearly zero over equal inputs: the Gram form would keep no digit."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.ones(40, 64) + 1e-3 * torch.randn(40, 64, generator=generator)
    gradients = torch.randn(40, 48, generator=generator)
    gradients -= gradients.mean(dim=0)
    exact = float(frobenius(gradients.double().t() @ inputs.double()))
    assert gram_norm(gram_blocks(inputs), gradients) is None
    assert float(direct_norm(inputs, gradients)) == pytest.approx(exact, rel=1e-4)
    assert float(gram_norm(gram_blocks(inputs.double()), gradients.double())) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("tokens", [1, 255, 256, 257, 700])
def test_gram_blocks_cover_the_triangle(tokens):
    generator = torch.Generator().manual_seed(tokens)
    inputs = torch.randn(tokens, 20, generator=generator, dtype=torch.float64)
    gradients = torch.randn(tokens, 30, generator=generator, dtype=torch.float64)
    assert float(gram_norm(gram_blocks(inputs), gradients)) == pytest.approx(
        float(direct_norm(inputs, gradients)), rel=1e-12
    )


def test_bfloat16_model_close_to_float64_on_the_same_weights():
    model = random_model("qwen3", dtype=torch.bfloat16, **SMALL)
    exact = copy.deepcopy(model).double()
    probed = probe_all(model, SAMPLES[:3], 200)
    for sample in SAMPLES[:3]:
        norms = np.array(reference_norms(exact, sample)[0])
        assert np.abs(np.array(probed[sample.id].norms) / norms - 1).max() < 0.15


def test_rms_norm_has_the_gradient_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    module = FrozenRMSNorm(torch.rand(8, generator=generator, dtype=torch.float64) + 0.5, 1e-6)
    inputs = torch.randn(3, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (inputs,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_equivalent_normalisations_are_replaced(dtype):
    model = random_model("qwen3", dtype=dtype, **SMALL)
    norms = sum("RMSNorm" in type(module).__name__ for module in model.modules())
    assert replace_rms_norms(copy.deepcopy(model)) == norms
    shifted = copy.deepcopy(model)
    shifted.model.norm.forward = lambda inputs: 2 * inputs
    assert replace_rms_norms(shifted) == norms - 1
    assert replace_rms_norms(random_model("qwen3", **SMALL)) == 0


# ------------------------------------------------------------------------------------------------ out of memory


def limit_memory(prober, monkeypatch, tokens):
    """Let every pass over more than `tokens` tokens run out of memory, half way through its backward."""
    collect = prober._collector.collect

    def failing(layer, inputs, gradients):
        if prober._collector.pack.input_ids.shape[1] > tokens and 0 in layer.group:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        collect(layer, inputs, gradients)

    monkeypatch.setattr(prober._collector, "collect", failing)


def test_packs_are_halved_when_memory_runs_out(monkeypatch, capsys):
    model = random_model("llama", **SMALL)
    samples = random_samples(9)
    prober = GradientProber(copy.deepcopy(model))
    limit_memory(prober, monkeypatch, 130)
    probed = {one.sample.id: one for pack in prober.probe(plan_packs(samples, 10_000)) for one in pack}
    assert_equal_to_reference(model, samples, probed)
    assert "out of memory" in capsys.readouterr().err


def test_a_trajectory_too_large_is_probed_in_parts(monkeypatch):
    model = random_model("qwen3", **SMALL)
    samples = random_samples(2, rows=(5,))
    longest = max(useful_length(row) for sample in samples for row in sample.rows)
    prober = GradientProber(copy.deepcopy(model))
    limit_memory(prober, monkeypatch, longest)
    probed = {one.sample.id: one for pack in prober.probe(plan_packs(samples, 10_000)) for one in pack}
    assert_equal_to_reference(model, samples, probed)


def test_a_row_too_large_names_the_trajectory(monkeypatch):
    prober = GradientProber(random_model("qwen3", **SMALL))
    limit_memory(prober, monkeypatch, 3)
    with pytest.raises(PrismError, match=r"sample-000.*gradient checkpointing"):
        list(prober.probe([[random_samples(1)[0]]]))


def test_a_broken_loss_names_the_trajectory():
    model = random_model("qwen3", **SMALL)
    model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(NotFinite, match="sample-000"):
        probe_all(model, random_samples(1), 100)


# ------------------------------------------------------------------------------------------------ architectures


def test_projections_come_layer_by_layer():
    names = [projection.name for projection in find_projections(random_model("llama", **SMALL))]
    assert names == [f"layers.{layer}.{module}" for layer in range(2) for module in MODULES]


# ------------------------------------------------------------------------------------------------ packs


def test_packs_keep_the_budget_and_every_sample():
    samples = random_samples(30, rows=(1, 4))
    packs = plan_packs(samples, 120)
    assert sorted(sample.id for pack in packs for sample in pack) == sorted(sample.id for sample in samples)
    assert all(len(pack) == 1 or sum(sample.tokens for sample in pack) <= 120 for pack in packs)
    assert packs == plan_packs(samples[::-1], 120)


def test_rows_never_see_each_other():
    import random

    row = random_row(random.Random(5), 30)
    model = random_model("llama", **SMALL)
    alone = probe_all(model, [Sample("x", (row,))], 1000)["x"]
    crowded = probe_all(model, [Sample("x", (row,)), *SAMPLES], 10_000)["x"]
    assert crowded.norms == pytest.approx(alone.norms, rel=TOLERANCE)
