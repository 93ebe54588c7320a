"""The prober's GPU paths: exact in float64, FlashAttention over packed rows in bfloat16, real lack of memory."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from probe_models import random_model, random_row, random_samples, reference_norms

from prism.gradients.attention import block_causal_attention, varlen_attention
from prism.gradients.packs import Sample, plan_packs
from prism.gradients.prober import GradientProber
from prism.rl.in_verl.packed_attention import packed_attention

SAMPLES = random_samples(6, rows=(1, 3))
SMALL = {"num_hidden_layers": 2}
# FlashAttention wants head widths that are multiples of 8
WIDE = {"num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 97}
ENDS = [0, 70, 71, 200]


def probe_on_gpu(model, samples, tokens_per_pack=10_000):
    prober = GradientProber(copy.deepcopy(model).cuda())
    return {one.sample.id: one for pack in prober.probe(plan_packs(samples, tokens_per_pack)) for one in pack}


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("tokens_per_pack", [1, 10_000], ids=["single", "one-pack"])
def test_float64_is_exact(family, tokens_per_pack):
    # the reference runs on the GPU as well: rotary angles are float32 whatever the model's dtype is
    model = random_model(family, **SMALL).cuda()
    probed = probe_on_gpu(model, SAMPLES, tokens_per_pack)
    for sample in SAMPLES:
        norms, loss = reference_norms(model, sample)
        assert probed[sample.id].loss == pytest.approx(loss, rel=1e-12)
        assert probed[sample.id].norms == pytest.approx(norms, rel=1e-12, abs=0)


def test_float32_agrees_with_float64():
    model = random_model("qwen3", dtype=torch.float32, **SMALL)
    probed = probe_on_gpu(model, SAMPLES)
    for sample in SAMPLES:
        assert probed[sample.id].norms == pytest.approx(reference_norms(model.double(), sample)[0], rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"sliding_window": 16}], ids=["full", "window"])
def test_bfloat16_is_close_to_float64_on_the_same_weights(settings):
    """Packed FlashAttention forward and backward, with grouped key heads."""
    family = "mistral" if settings else "qwen3"
    model = random_model(family, dtype=torch.bfloat16, **WIDE, **settings)
    probed = probe_on_gpu(model, SAMPLES)
    errors = []
    for sample in SAMPLES:
        norms, loss = reference_norms(model.double(), sample)
        assert probed[sample.id].loss == pytest.approx(loss, rel=1e-2)
        errors.append(np.abs(np.array(probed[sample.id].norms) / norms - 1))
    # an attention that crossed rows, or the wrong window, is off by tens of percent
    assert np.median(errors) < 0.01
    assert np.max(errors) < 0.05


@pytest.mark.parametrize("window", [None, 16])
def test_packed_rows_equal_rows_one_by_one(window):
    """Outputs and gradients of torch's variable-length kernels against float64 on the CPU."""
    torch.manual_seed(0)
    tensors = [torch.randn(1, heads, ENDS[-1], 64, dtype=torch.bfloat16) for heads in (8, 2, 2)]
    weight = torch.randn(1, ENDS[-1], 8, 64)
    ours = [tensor.cuda().requires_grad_() for tensor in tensors]
    theirs = [tensor.double().requires_grad_() for tensor in tensors]
    output = varlen_attention(*ours, ENDS, None, window)
    expected, _ = block_causal_attention(torch.nn.Module(), *theirs, None, sliding_window=window, row_ends=ENDS)
    (output.float() * weight.cuda()).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(output.cpu().double(), expected, rtol=0, atol=0.02)
    for our, their in zip(ours, theirs, strict=True):
        assert (our.grad.cpu() - their.grad).norm() < 0.01 * their.grad.norm()


def test_verls_attention_finds_the_rows_by_their_positions():
    tensors = [torch.randn(1, heads, ENDS[-1], 64, dtype=torch.bfloat16, device="cuda") for heads in (8, 2, 2)]
    lengths = np.diff(ENDS)
    positions = torch.cat([torch.arange(length) for length in lengths])[None].cuda()
    output, _ = packed_attention(torch.nn.Module(), *tensors, None, position_ids=positions)
    assert torch.equal(output, varlen_attention(*tensors, ENDS, None, None))


def test_a_pack_that_does_not_fit_is_halved(capsys):
    """Real lack of memory: every sample is probed all the same, with the same norms."""
    generator = random.Random(0)
    samples = [Sample(f"sample-{index:03d}", (random_row(generator, 1000),)) for index in range(16)]
    model = random_model("qwen3", dtype=torch.float32, **WIDE)
    free = probe_on_gpu(model, samples, 1_000)
    whole = 16_000
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    probe_on_gpu(model, samples, whole)
    needed = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.6 * needed / total)
    try:
        squeezed = probe_on_gpu(model, samples, whole)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory" in capsys.readouterr().err
    assert sorted(squeezed) == sorted(free)
    for name, one in squeezed.items():
        assert one.norms == pytest.approx(free[name].norms, rel=1e-4)
