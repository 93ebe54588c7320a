"""What a model folder may hold: adapters, quantised weights, language models behind a tower for images."""

from __future__ import annotations

import copy
import json
from importlib.util import find_spec

import pytest
import torch
from families import FAMILIES, TINY, tiny_model
from probe_models import random_samples
from safetensors.torch import load_file, save_file
from test_families import expected_norms, reference
from torch import nn
from transformers import AutoModelForMultimodalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from prism.core.errors import BadInput
from prism.gradients import set_up
from prism.gradients.families import PACKED_WITH_SENSES, make_prober
from prism.gradients.memory_plan import MemoryPlan
from prism.gradients.models import load_model, resolve_model, tokenizer_folder
from prism.gradients.norm_files import MODULES
from prism.gradients.prober import GradientProber
from prism.gradients.projections import find_projections, rule_of

SAMPLES = random_samples(2, rows=(1, 2), longest=24, seed=4)
CPU = torch.device("cpu")


def load(folder):
    return load_model(folder, torch.float64, CPU)


def assert_exact(model):
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    projections = find_projections(model)
    own = copy.deepcopy(model)
    prober = make_prober(own, find_projections(own))
    probed = [one for pack in prober.probe([SAMPLES]) for one in pack]
    for one, (gradients, loss) in zip(probed, reference(model, SAMPLES), strict=True):
        assert one.loss == pytest.approx(loss, rel=1e-10)
        assert one.norms == pytest.approx(expected_norms(model, projections, gradients), rel=1e-10)
    return prober


# ------------------------------------------------------------------------------------------------ adapters


@pytest.fixture
def adapter(tmp_path):
    """A LoRA folder beside its base, as peft saves it."""
    peft = pytest.importorskip("peft")
    base = tiny_model("llama", torch.float32)
    base.save_pretrained(tmp_path / "base")
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "../base"
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(settings))
    return tmp_path / "adapter"


def test_adapters_are_merged_in_memory(adapter):
    base, merged = load(adapter.parent / "base"), load(adapter)
    delta = load_file(adapter / "adapter_model.safetensors")
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_{}.weight"
    added = delta[name.format("B")].double() @ delta[name.format("A")].double() * 8 / 2
    torch.testing.assert_close(
        merged.model.layers[1].mlp.up_proj.weight, base.model.layers[1].mlp.up_proj.weight + added, rtol=1e-6, atol=1e-7
    )
    assert torch.equal(merged.model.layers[1].mlp.down_proj.weight, base.model.layers[1].mlp.down_proj.weight)
    assert [one.name for one in find_projections(merged)][:7] == [f"layers.0.{module}" for module in MODULES]


def test_the_hash_of_an_adapter_covers_its_base(adapter):
    _, first = resolve_model(adapter)
    assert tokenizer_folder(adapter).resolve() == (adapter.parent / "base").resolve()
    config = adapter.parent / "base/config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    _, second = resolve_model(adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: 2 * one for name, one in weights.items()}, adapter / "adapter_model.safetensors")
    assert len({first, second, resolve_model(adapter)[1]}) == 3


def test_an_adapter_that_cannot_be_merged_is_refused_in_one_line(adapter):
    weights = load_file(adapter / "adapter_model.safetensors")
    broken = {name: one[..., :1].contiguous() for name, one in weights.items()}
    save_file(broken, adapter / "adapter_model.safetensors")
    with pytest.raises(BadInput, match="cannot be merged into its base") as caught:
        load(adapter)
    assert "\n" not in str(caught.value)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"holds no adapter_model\.safetensors"):
        resolve_model(adapter)


def test_an_adapter_takes_the_memory_of_its_base_and_is_not_streamed(adapter, monkeypatch):
    planned = []
    monkeypatch.setattr(set_up, "must_stream", lambda weights, stored, device: planned.append(weights) or True)
    with pytest.raises(BadInput, match=r"it is an adapter.*probe it without --stream"):
        set_up.set_up(set_up.ModelPlace(adapter, "float64", CPU), SAMPLES, MemoryPlan(0, settled=False))
    assert planned == [sum(one.nbytes for one in load(adapter.parent / "base").parameters())]


# ------------------------------------------------------------------------------------------------ quantised weights


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_quantised_models_are_refused_in_one_line(tmp_path, method):
    tiny_model("llama", torch.float32).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": method}}))
    with pytest.raises(BadInput, match=rf"is quantised \({method}\).*16 bits or more"):
        load(tmp_path)


def quantise(folder, weights, **settings):
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))


def test_weights_of_eight_bits_are_unpacked_where_transformers_can(tmp_path):
    model = tiny_model("llama", torch.bfloat16, hidden_size=128, intermediate_size=128, head_dim=32)
    model.save_pretrained(tmp_path)
    weights, exact = load_file(tmp_path / "model.safetensors"), {}
    for name in [name for name in weights if name.endswith("_proj.weight")]:
        scale = weights[name].float().abs().max() / 448
        packed = (weights[name].float() / scale).to(torch.float8_e4m3fn)
        weights |= {name: packed, f"{name}_scale_inv": scale.reshape(1, 1)}
        exact[name] = packed.double() * scale.double()
    quantise(tmp_path, weights, quant_method="fp8", weight_block_size=[128, 128], activation_scheme="dynamic")
    if find_spec("triton") is None or find_spec("accelerate") is None:
        with pytest.raises(BadInput, match=r"is quantised \(fp8\).*(triton|accelerate)"):
            load(tmp_path)
        return
    loaded = dict(load(tmp_path).named_parameters())
    for name, expected in exact.items():
        torch.testing.assert_close(loaded[name].detach(), expected, rtol=1e-2, atol=1e-6)


def test_weights_of_four_bits_are_unpacked(tmp_path):
    """As gpt-oss comes: 32 numbers of four bits share a power of two."""
    model = tiny_model("gpt_oss", torch.bfloat16, hidden_size=32, intermediate_size=32)
    model.save_pretrained(tmp_path)
    weights, exact = load_file(tmp_path / "model.safetensors"), {}
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = weights.pop(name).shape
        blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(118, 122, (experts, outputs, inputs // 32), generator=generator, dtype=torch.uint8)
        weights |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
        nibbles = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2).long()
        values = torch.cat([table, -table])[nibbles] * 2.0 ** (scales.double() - 127)[..., None]
        exact[name] = values.flatten(-2).transpose(1, 2)
    quantise(tmp_path, weights, quant_method="mxfp4")
    loaded = load(tmp_path)
    for name, expected in exact.items():
        torch.testing.assert_close(dict(loaded.named_parameters())[name].detach(), expected)
    assert_exact(loaded)


# ------------------------------------------------------------------------------------------------ towers for images

VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 5, "num_attention_heads": 2}
TEXT = TINY | {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
WITH_VISION = {
    "gemma3": {"text_config": TEXT, "vision_config": VISION | {"image_size": 28, "patch_size": 14}},
    "gemma4": {
        "text_config": TINY | FAMILIES["gemma4_text"] | {"hidden_size_per_layer_input": 0},
        "vision_config": VISION | {"num_key_value_heads": 2, "head_dim": 8, "patch_size": 4},
        "audio_config": None,
    },
    "mistral3": {
        "text_config": TINY | {"model_type": "mistral"},
        "vision_config": VISION | {"model_type": "pixtral", "image_size": 28, "patch_size": 14, "head_dim": 8},
    },
    "qwen2_5_vl": {
        "text_config": TINY
        | {
            "layer_types": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0]},
        },
        "vision_config": {
            "depth": 5,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [1],
        },
    },
}


@pytest.mark.parametrize("family", WITH_VISION)
def test_the_language_tower_is_found_and_exact(family, tmp_path, monkeypatch):
    if family == "gemma4":
        # it normalises in float32 whatever the model's type
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**WITH_VISION[family])
    AutoModelForMultimodalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    model = load(tmp_path)
    assert [one.name for one in find_projections(model)] == [
        f"layers.{layer}.{module}" for layer in range(2) for module in MODULES
    ]
    assert isinstance(assert_exact(model), GradientProber) == (family in ("gemma3", "gemma4", "mistral3"))


def test_every_packed_family_behind_a_tower_is_tested():
    assert WITH_VISION.keys() >= PACKED_WITH_SENSES


# ------------------------------------------------------------------------------------------------ the rule, in words


def test_the_rule_of_the_columns_is_told():
    rules = {
        family: rule_of(find_projections(tiny_model(family))) for family in ("llama", "phi3", "gpt_oss", "nemotron")
    }
    assert rules == {
        "llama": "",
        "phi3": "fused weights in parts",
        "gpt_oss": "fused weights in parts; the experts of a kind one column, the root of the sum of their squares",
        "nemotron": "every linear weight of each decoder layer but routers",
    }
    assert rule_of(find_projections(tiny_model("gpt_oss"), "per-expert")).endswith("each expert a column")
