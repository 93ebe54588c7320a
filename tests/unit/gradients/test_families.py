"""Every causal language model of transformers: exact against per-sample gradients in float64, or refused at load."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, tiny_config, tiny_model
from probe_models import beginning_alike, compute_in_float64, random_samples
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from prism.core.errors import BadInput
from prism.gradients.families import PACKED, make_prober, packs_exactly
from prism.gradients.norm_files import MODULES
from prism.gradients.prober import GradientProber
from prism.gradients.projections import find_projections, parameter_counts
from prism.gradients.row_by_row import RowByRowProber

TOLERANCE = 1e-10
SAMPLES = random_samples(1, rows=(1,), longest=30, seed=1) + [
    beginning_alike(one, 16) for one in random_samples(2, rows=(2,), longest=24, seed=2)[1:]
]
# these compute norms, scans or logits in float32 whatever the model's type; in this test that is float64 too
FLOAT32_INSIDE = {"falcon_mamba", "gemma4_text", "mamba", "mamba2", "nemotron_h", "xlstm"}

# why a name of transformers' list of causal language models is not tested, and which names
SKIPPED_FOR = {
    "its language model is tested under the name of its own configuration": """
        code_llama gemma3 gemma3n gemma4 gpt-sw3 llama4 qwen3_5 qwen3_5_moe""",
    "an encoder: refused, as the test of refusals shows": """
        bert big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta roberta-prelayernorm roc_bert
        roformer xlm-roberta xlm-roberta-xl xmod""",
    "of before 2022 and read by the same rules; no chat model of it is in use": """
        bart bert-generation bigbird_pegasus biogpt blenderbot blenderbot-small cpmant ctrl marian mbart mvp pegasus
        plbart prophetnet reformer rwkv xglm xlm xlnet""",
    "speaks images, sounds or bytes, not a tokenizer's text": """
        blt emu3 fuyu git got_ocr2 mllama moshi musicgen musicgen_melody phi4_multimodal trocr whisper""",
    "its configuration cannot be made by this version of transformers": "dbrx",
    "its indexer chooses tokens by rank, in blocks larger than a tiny model has": "glm_moe_dsa",
    "its configuration allows no tiny model: dimensions are fixed in the code": "longcat_flash",
    "layers share weights: refused, as the test of refusals shows": "zamba zamba2",
}
SKIPPED = {name: reason for reason, names in SKIPPED_FOR.items() for name in names.split()}


def reference(model, samples):
    """`.grad` of every weight for each sample, after an ordinary backward over its rows; and the losses."""
    model = copy.deepcopy(model).requires_grad_(True)
    found = []
    for sample in samples:
        model.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for row in sample.rows:
            logits = model(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0, :-1]
            responses, targets = torch.tensor(row.response_mask[1:]).bool(), torch.tensor(row.input_ids[1:])
            total = total + F.cross_entropy(logits[responses], targets[responses], reduction="sum")
        loss = total / sample.response_tokens
        loss.backward()
        gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        found.append((gradients, float(loss.detach())))
    return found


def expected_norms(model, projections, gradients):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    norms = []
    for projection in projections:
        parts = [(part, gradients.get(names[id(part.parameter)])) for part in projection.parts]
        squares = [float(part.of(gradient).square().sum()) for part, gradient in parts if gradient is not None]
        norms.append(sum(squares) ** 0.5)
    return norms


def probed_by(kind, model, samples, checkpointing=False):
    own = copy.deepcopy(model)
    prober = kind(own, checkpointing, find_projections(own))
    return [one for pack in prober.probe([samples]) for one in pack]


@pytest.mark.parametrize("family", sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *FAMILIES}))
def test_norms_equal_per_sample_gradients(family, monkeypatch):
    if family in SKIPPED:
        pytest.skip(SKIPPED[family])
    if family in FLOAT32_INSIDE:
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    if family in PACKED:
        compute_in_float64(monkeypatch)
    model = tiny_model(family)
    projections = find_projections(model)
    found = reference(model, SAMPLES)
    prober = make_prober(copy.deepcopy(model), projections)
    assert isinstance(prober, GradientProber) == (family in PACKED)
    kinds = [GradientProber, RowByRowProber] if family in PACKED else [RowByRowProber]
    for kind in kinds:
        for one, (gradients, loss) in zip(probed_by(kind, model, SAMPLES), found, strict=True):
            assert one.loss == pytest.approx(loss, rel=TOLERANCE)
            assert one.norms == pytest.approx(expected_norms(model, projections, gradients), rel=TOLERANCE, abs=1e-30)
            assert sum(one.norms) > 0


def test_every_packed_family_is_tested():
    assert set(FAMILIES) >= PACKED
    assert not SKIPPED.keys() & FAMILIES.keys()
    assert len(FAMILIES) >= 35


@pytest.mark.parametrize("family", ["mixtral", "qwen3_5_text"])
def test_row_by_row_with_checkpointing_and_in_float32(family):
    model = tiny_model(family)
    projections = find_projections(model)
    (gradients, loss), *_ = reference(model, SAMPLES[1:])
    expected = expected_norms(model, projections, gradients)
    (one,) = probed_by(RowByRowProber, model, SAMPLES[1:], checkpointing=True)
    assert (one.loss, one.norms) == (pytest.approx(loss, rel=1e-12), pytest.approx(expected, rel=1e-12))
    (one,) = probed_by(RowByRowProber, model.float(), SAMPLES[1:])
    assert one.norms == pytest.approx(expected, rel=1e-3)


# ------------------------------------------------------------------------------------------------ columns


def columns(model, choice="auto", layer=-1):
    found = find_projections(model, choice)
    last = found[-1].layer if layer == -1 else layer
    return [one.module for one in found if one.layer == last]


ATTENTION = [f"self_attn.{name}" for name in MODULES[:4]]


@pytest.mark.parametrize("family", ["qwen2", "llama", "phi3", "glm4", "mixtral", "qwen3_moe", "gpt_oss", "olmoe"])
def test_the_seven_where_a_layer_has_exactly_these(family):
    names = [one.name for one in find_projections(tiny_model(family))]
    assert names == [f"layers.{layer}.{module}" for layer in range(2) for module in MODULES]


@pytest.mark.parametrize(
    ("family", "layer", "named"),
    [
        ("gpt_neox", 0, [f"attention.{name}" for name in MODULES[:3]]
            + ["attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]),
        ("gpt2", 0, [f"attn.{name}" for name in MODULES[:3]] + ["attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
        ("nemotron", 0, [*ATTENTION, "mlp.up_proj", "mlp.down_proj"]),
        ("qwen2_moe", 0, [*ATTENTION, *(f"mlp.experts.{name}" for name in MODULES[4:]),
            *(f"mlp.shared_expert.{name}" for name in MODULES[4:])]),
        ("deepseek_v3", 0, [*(f"self_attn.{name}" for name in
            ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")),
            *(f"mlp.{name}" for name in MODULES[4:])]),
        ("qwen3_5_text", 0, [*(f"linear_attn.{name}" for name in
            ("out_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a")),
            *(f"mlp.{name}" for name in MODULES[4:])]),
        ("qwen3_5_text", 1, [*ATTENTION, *(f"mlp.{name}" for name in MODULES[4:])]),
        ("lfm2", 0, ["conv.in_proj", "conv.out_proj", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2"]),
        ("granitemoe", 0, [*ATTENTION, "block_sparse_moe.input_linear", "block_sparse_moe.output_linear"]),
    ],
)  # fmt: skip
def test_else_every_linear_weight_but_routers_and_filters(family, layer, named):
    assert sorted(columns(tiny_model(family), layer=layer)) == sorted(named)


def test_choices():
    model = tiny_model("llama")
    assert columns(model, "all-linear") == [*ATTENTION, *(f"mlp.{name}" for name in MODULES[4:])]
    assert columns(tiny_model("gemma4_text"), "seven") == list(MODULES)
    assert columns(tiny_model("gemma4_text"))[-2:] == ["per_layer_input_gate", "per_layer_projection"]
    with pytest.raises(BadInput, match=r"model\.layers\.0.*has no q_proj.*all-linear"):
        find_projections(tiny_model("qwen3_5_text"), "seven")


def test_parameter_counts_are_those_of_the_measured_weights():
    for family in ("phi3", "gpt_oss", "gpt_neox", "llama4_text"):
        model = tiny_model(family)
        projections = find_projections(model)
        measured = {part.parameter for one in projections for part in one.parts}
        assert sum(parameter_counts(projections)) == sum(one.numel() for one in measured)
        assert parameter_counts(projections) == [
            sum(part.of(part.parameter).numel() for part in one.parts) for one in projections
        ]


@pytest.mark.parametrize(("family", "experts"), [("mixtral", 4), ("gpt_oss", 4), ("granitemoe", 4)])
def test_a_group_of_experts_is_the_root_of_the_sum_of_squares(family, experts):
    model = tiny_model(family)
    grouped, apart = find_projections(model, "all-linear"), find_projections(model, "per-expert")
    ((gradients, _),) = reference(model, SAMPLES[:1])
    by_kind: dict[tuple[int, str], list[float]] = {}
    for one, norm in zip(apart, expected_norms(model, apart, gradients), strict=True):
        kind = ".".join(word for word in one.module.split(".") if not word.isdigit())
        by_kind.setdefault((one.layer, kind), []).append(norm)
    assert max(map(len, by_kind.values())) == experts
    for one, norm in zip(grouped, expected_norms(model, grouped, gradients), strict=True):
        assert norm == pytest.approx(sum(part**2 for part in by_kind[one.layer, one.module]) ** 0.5, rel=1e-12)


# ------------------------------------------------------------------------------------------------ fused weights


def only(wanted):
    """The attention functions of torch, but gradients flow through queries, keys or values alone."""

    def cut(tensors):
        return [one if name == wanted else one.detach() for name, one in zip("qkv", tensors, strict=True)]

    return cut


FUSED = [
    ("phi3", {}),
    ("gpt2", {}),
    ("gpt_neox", {}),
    ("persimmon", {}),
    ("falcon", {"multi_query": True}),
    ("falcon", {"multi_query": False}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("gpt_bigcode", {"multi_query": True}),
    ("gpt_bigcode", {"multi_query": False}),
]


@pytest.mark.parametrize("wanted", "qkv")
@pytest.mark.parametrize(("family", "settings"), FUSED)
def test_outputs_of_a_fused_weight(family, settings, wanted, monkeypatch):
    """Where only queries pass gradients on, the gradient is zero but for what is called the queries' part."""
    model = tiny_model(family, num_hidden_layers=1, **settings).requires_grad_(True)
    attend, cut = F.scaled_dot_product_attention, only(wanted)
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda q, k, v, *rest, **more: attend(*cut((q, k, v)), *rest, **more)
    )
    model.set_attn_implementation("sdpa")
    model(input_ids=torch.arange(3, 12)[None], use_cache=False).logits.square().sum().backward()
    for projection in find_projections(model):
        leaf = projection.module.rpartition(".")[2]
        if leaf in MODULES[:3]:
            (part,) = projection.parts
            gradient = part.of(part.parameter.grad)
            assert bool((gradient.abs().sum(dim=0 if part.outputs_last else 1) > 0).all()) == (leaf == f"{wanted}_proj")
            assert bool((gradient != 0).any()) == (leaf == f"{wanted}_proj")


@pytest.mark.parametrize("family", ["phi3", "glm", "mixtral", "gpt_oss", "llama4_text"])
def test_gate_and_up_are_told_apart(family):
    """Without its gate's weights an MLP of SiLU passes nothing on to the up part, whatever that holds."""
    model = tiny_model(family)
    for projection in find_projections(model):
        if "gate_proj" in projection.module and "shared" not in projection.module:
            for part in projection.parts:
                with torch.no_grad():
                    whole = part.parameter
                    index = torch.arange(whole.numel()).view_as(whole)
                    whole.view(-1)[part.of(index).reshape(-1)] = 0
    if family == "gpt_oss":
        for module in model.modules():
            if hasattr(module, "gate_up_proj_bias"):
                nn.init.zeros_(module.gate_up_proj_bias)
    ((gradients, _),) = reference(model, SAMPLES[:1])
    projections = find_projections(model)
    for one, norm in zip(projections, expected_norms(model, projections, gradients), strict=True):
        if "up_proj" in one.module and "shared" not in one.module:
            assert norm == 0
        if "gate_proj" in one.module and "shared" not in one.module:
            assert norm > 0


# ------------------------------------------------------------------------------------------------ what is not packed


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gemma2", {"attn_logit_softcapping": 50.0}),
        ("phi3", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("llama", {"layer_types": ["chunked_attention", "full_attention"]}),
        ("mixtral", {}),
    ],
)
def test_what_a_pack_would_change_is_probed_row_by_row(family, settings):
    model = tiny_model(family)
    for name, value in settings.items():
        setattr(model.config, name, value)
    assert not packs_exactly(model.config, find_projections(model))


def test_soft_caps_are_computed_whatever_attention_the_model_came_with():
    """torch's fused attention would leave them out without a word."""
    config = tiny_config("gemma2", attn_logit_softcapping=0.01, query_pre_attn_scalar=1)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64, attn_implementation="sdpa").eval()
    exact = copy.deepcopy(model)
    exact.set_attn_implementation("eager")
    ((gradients, loss),) = reference(exact, SAMPLES[:1])
    prober = make_prober(copy.deepcopy(model), find_projections(model))
    assert isinstance(prober, RowByRowProber)
    (one,) = probed_by(RowByRowProber, model, SAMPLES[:1])
    assert one.norms == pytest.approx(expected_norms(exact, find_projections(exact), gradients), rel=TOLERANCE)
    assert one.loss == pytest.approx(loss, rel=TOLERANCE)
    ((_, uncapped),) = reference(model, SAMPLES[:1])
    assert uncapped != pytest.approx(loss, rel=TOLERANCE), "torch's fused attention knows soft caps now"


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_encoders_are_refused(family):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[family](
        vocab_size=97, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(BadInput, match="no causal language model"):
        find_projections(model)


def test_shared_layers_are_refused():
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    with pytest.raises(BadInput, match="layers share the weights of up_proj"):
        find_projections(model)


def test_adapters_in_memory_are_refused():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model("llama"), peft.LoraConfig(target_modules=["up_proj"]))
    with pytest.raises(BadInput, match=r"up_proj\.base_layer.*merge the adapter"):
        find_projections(model)


def test_weights_that_are_no_numbers_are_refused():
    model = tiny_model("llama")
    up = model.model.layers[1].mlp.up_proj
    up.weight = nn.Parameter(torch.zeros(24, 16, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(BadInput, match=r"layers\.1\.mlp\.up_proj: has no floating-point weights"):
        find_projections(model)


# ------------------------------------------------------------------------------------------------ the documented table


def test_the_documented_table_is_true(root):
    text = (root / "docs/route-your-own-data.md").read_text()
    rows = [
        line.split("|")[2:5]
        for line in text.splitlines()
        if line.startswith("| ") and line.endswith((" packs |", " rows |"))
    ]
    named = [(family, matrices.strip(), passes.strip()) for names, matrices, passes in rows for family in names.split()]
    assert sorted(family.strip("`") for family, *_ in named) == sorted(FAMILIES)
    for family, matrices, passes in named:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(tiny_config(family.strip("`")))
        projections = find_projections(model)
        assert matrices == ("seven" if {one.module for one in projections} == set(MODULES) else "all linear"), family
        assert passes == ("packs" if packs_exactly(model.config, projections) else "rows"), family
