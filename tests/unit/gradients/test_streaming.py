"""Streaming of weights: the same norms to the last digit, and models that no memory holds."""

from __future__ import annotations

import pytest
import torch
from probe_models import random_model, random_samples
from safetensors.torch import load_file, save_file

from prism.core.errors import BadInput
from prism.gradients.models import load_model
from prism.gradients.packs import plan_packs
from prism.gradients.prober import GradientProber
from prism.gradients.streaming import load_streamed

CPU = torch.device("cpu")
SAMPLES = random_samples(5, rows=(1, 3))
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 1e4}  # fmt: skip


def norms(model, tokens_per_pack=150):
    prober = GradientProber(model, gradient_checkpointing=True)
    return {
        one.sample.id: (one.loss, one.norms)
        for pack in prober.probe(plan_packs(SAMPLES, tokens_per_pack))
        for one in pack
    }


def saved(folder, family, tied=False, shards="5GB", **settings):
    model = random_model(family, tied, dtype=torch.float32, **settings)
    model.save_pretrained(folder, max_shard_size=shards)
    return folder


@pytest.mark.parametrize(
    ("family", "tied", "settings"),
    [
        ("qwen3", True, {}),
        ("qwen3", False, {"shards": "40KB"}),
        ("qwen2", False, {}),
        ("llama", True, {"rope_parameters": SCALED, "num_hidden_layers": 1}),
        ("mistral", False, {"sliding_window": 8, "num_hidden_layers": 2}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_streamed_norms_are_the_same_to_the_last_digit(tmp_path, family, tied, settings, dtype):
    folder = saved(tmp_path, family, tied, **settings)
    model = load_streamed(folder, dtype, CPU)
    assert norms(model) == norms(load_model(folder, dtype, CPU))


def test_a_layer_is_read_twice_a_pack_and_the_last_one_once(tmp_path):
    folder = saved(tmp_path, "qwen3", num_hidden_layers=4)
    model = load_streamed(folder, torch.float32, CPU)
    layer = sum(one.numel() * 4 for one in model.model.layers[0].parameters() if one.dim() > 1)
    packs = len(plan_packs(SAMPLES, 150))
    assert packs > 1
    norms(model)
    model.weight_stream.close()
    # up: four layers, then three; down and up again: three each; the last pack reads one ahead
    assert model.weight_stream.bytes_read == layer * (4 + 3 * (2 * packs - 1) + 1)


@pytest.mark.parametrize(("dtype", "layers"), [(torch.float32, 2), (torch.float64, 4)])
def test_two_layers_lie_in_memory_and_a_third_where_the_type_is_another(tmp_path, dtype, layers):
    model = load_streamed(saved(tmp_path, "qwen3", num_hidden_layers=6), dtype, CPU)
    layer = sum(one.numel() * 4 for one in model.model.layers[0].parameters() if one.dim() > 1)
    assert model.weight_stream.held == pytest.approx(layers * layer, rel=0.01)
    norms(model)
    held = {
        one.untyped_storage().data_ptr()
        for layer in model.model.layers
        for one in layer.parameters()
        if one.dim() > 1 and one.untyped_storage().nbytes() > one.element_size()
    }
    assert len(held) == 1


def changed(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: weights["model.layers.1.mlp.up_proj.weight"].fill_(float("nan")), "layers.1.mlp.up_proj.*NaN"),
        (lambda weights: weights["model.embed_tokens.weight"].fill_(float("inf")), "embed_tokens.*NaN or infinite"),
        (lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"), "up_proj.weight is not stored.*--stream"),
        (lambda weights: weights.update({"model.norm.weight": torch.ones(3)}), r"norm.weight has the shape \(3,\)"),
        (
            lambda weights: weights.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}),
            r"norm.weight is stored as I8",
        ),
    ],
)
def test_what_cannot_be_streamed_is_named(tmp_path, change, problem):
    folder = saved(tmp_path, "qwen3", num_hidden_layers=2)
    changed(folder, change)
    with pytest.raises(BadInput, match=problem):
        norms(load_streamed(folder, torch.float32, CPU))


def test_a_file_that_was_cut_off_is_named(tmp_path):
    folder = saved(tmp_path, "qwen3", num_hidden_layers=2)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(BadInput, match="ends early"):
        norms(load_streamed(folder, torch.float32, CPU))
    path.write_bytes(b"\xff" * 16)
    with pytest.raises(BadInput, match="no safetensors head"):
        load_streamed(folder, torch.float32, CPU)
