"""Tiny random models of transformers' families, and what each shall be measured on."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

TINY = {
    "vocab_size": 97,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 128,
    "sliding_window": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ROUTED = {"num_experts_per_tok": 2, "moe_intermediate_size": 12}
EXPERTS = ROUTED | {"num_experts": 4}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
DEEPSEEK_EXPERTS = ROUTED | {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "topk_group": 1,
    "n_group": 1,
}
OWN_HEADS = {"head_dim": None, "num_key_value_heads": None}
LATENT = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "qk_head_dim": 8,
    "v_head_dim": 4,
    "head_dim": None,
    "num_key_value_heads": 4,
}
MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
DELTA_NET = {
    "linear_conv_kernel_dim": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
MAMBA = {
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_d_state": 4,
    "mamba_n_groups": 1,
    "mamba_d_conv": 2,
    "mamba_expand": 2,
    "mamba_chunk_size": 8,
}
SHARED_EXPERT = {"shared_expert_intermediate_size": 12}

# settings of each family beside `TINY`; None takes one away
FAMILIES = {
    "afmoe": EXPERTS | {"num_dense_layers": 1, "num_shared_experts": 1},
    "apertus": {},
    "aria_text": {"moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1},
    "arcee": {},
    "bamba": MAMBA | {"attn_layer_indices": [1]},
    "bitnet": {},
    "bloom": OWN_HEADS,
    "codegen": OWN_HEADS | {"rotary_dim": 4},
    "cohere": {},
    "cohere2": MIXED,
    "cwm": MIXED,
    "deepseek_v2": LATENT | DEEPSEEK_EXPERTS,
    "deepseek_v3": LATENT | DEEPSEEK_EXPERTS,
    "diffllama": {},
    "doge": {},
    "dots1": DEEPSEEK_EXPERTS | MIXED,
    "ernie4_5": {},
    "ernie4_5_moe": {
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_intermediate_size": 12,
        "moe_num_shared_experts": 1,
        "moe_layer_start_index": 1,
        "moe_layer_end_index": 1,
    },
    "exaone4": MIXED,
    "exaone_moe": DEEPSEEK_EXPERTS | EXPERTS | MIXED,
    "falcon": OWN_HEADS | {"multi_query": True},
    "falcon_h1": MAMBA | {"mamba_d_ssm": 32},
    "falcon_mamba": {"state_size": 4, "conv_kernel": 2, "time_step_rank": 2},
    "flex_olmo": EXPERTS,
    "gemma": {},
    "gemma2": MIXED,
    "gemma3_text": MIXED,
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "laurel_rank": 4,
        "hidden_size_per_layer_input": 4,
        "vocab_size_per_layer_input": 97,
        "activation_sparsity_pattern": [0.0] * 4,
        "altup_num_inputs": 2,
        "intermediate_size": [24] * 4,
    },
    "gemma4_text": MIXED | {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 97, "global_head_dim": 8},
    "glm": {},
    "glm4": {},
    "glm4_moe": DEEPSEEK_EXPERTS,
    "glm4_moe_lite": LATENT | DEEPSEEK_EXPERTS | {"mlp_layer_types": ["dense", "sparse"]},
    "gpt2": OWN_HEADS,
    "gpt_bigcode": OWN_HEADS,
    "gpt_neo": OWN_HEADS | {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gpt_neox": OWN_HEADS,
    "gpt_neox_japanese": OWN_HEADS,
    "gpt_oss": LOCAL_EXPERTS | MIXED,
    "gptj": OWN_HEADS | {"rotary_dim": 4},
    "granite": {},
    "granitemoe": LOCAL_EXPERTS,
    "granitemoehybrid": MAMBA | LOCAL_EXPERTS | {"shared_intermediate_size": 12, "layer_types": ["mamba", "attention"]},
    "granitemoeshared": LOCAL_EXPERTS | {"shared_intermediate_size": 12},
    "helium": {},
    "hunyuan_v1_dense": {},
    "hunyuan_v1_moe": EXPERTS | {"moe_topk": 2},
    "jais2": {},
    "jamba": {
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_d_conv": 2,
        "mamba_dt_rank": 2,
        "use_mamba_kernels": False,
    },
    "jetmoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 4, "num_attention_heads": None},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "lfm2_moe": EXPERTS | {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "llama": {},
    "llama4_text": {"num_local_experts": 4, "intermediate_size_mlp": 24, "interleave_moe_layer_step": 2},
    "mamba": {"state_size": 4, "conv_kernel": 2, "time_step_rank": 2},
    "mamba2": {
        "num_heads": 4,
        "head_dim": 8,
        "state_size": 4,
        "n_groups": 1,
        "chunk_size": 8,
        "conv_kernel": 2,
    },
    "minimax": LOCAL_EXPERTS | {"block_size": 8, "layer_types": ["linear_attention", "full_attention"]},
    "minimax_m2": LOCAL_EXPERTS,
    "ministral": MIXED,
    "ministral3": {},
    "mistral": {},
    "mixtral": LOCAL_EXPERTS,
    "modernbert-decoder": OWN_HEADS | {"local_attention": 16},
    "mpt": OWN_HEADS,
    "nanochat": {},
    "nemotron": {},
    "nemotron_h": {
        "layers_block_type": ["mamba", "moe", "attention"],
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 12,
        "moe_shared_expert_intermediate_size": 12,
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 4,
        "n_groups": 1,
        "chunk_size": 8,
        "conv_kernel": 2,
        "num_hidden_layers": None,
        "topk_group": 1,
        "n_group": 1,
    },
    "olmo": {},
    "olmo2": {},
    "olmo3": MIXED,
    "olmo_hybrid": DELTA_NET,
    "olmoe": EXPERTS,
    "openai-gpt": OWN_HEADS,
    "opt": OWN_HEADS | {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": LOCAL_EXPERTS,
    "qwen2": MIXED | {"use_sliding_window": True, "max_window_layers": 1},
    "qwen2_moe": EXPERTS | SHARED_EXPERT,
    "qwen3": {},
    "qwen3_5_moe_text": EXPERTS | DELTA_NET | SHARED_EXPERT,
    "qwen3_5_text": DELTA_NET,
    "qwen3_moe": EXPERTS,
    "qwen3_next": EXPERTS | DELTA_NET | SHARED_EXPERT,
    "recurrent_gemma": {
        "block_types": ["recurrent", "attention"],
        "lru_width": 16,
        "attention_window_size": 8,
    },
    "seed_oss": {},
    "smollm3": {},
    "solar_open": DEEPSEEK_EXPERTS,
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": MIXED,
    "xlstm": {"num_heads": 4, "chunk_size": 16},
    "youtu": LATENT,
}


def tiny_config(family: str, **overrides: object) -> PretrainedConfig:
    """Configuration of a tiny model of a family."""
    settings = TINY | FAMILIES[family] | overrides
    return CONFIG_MAPPING[family](**{name: value for name, value in settings.items() if value is not None})


def tiny_model(family: str, dtype: torch.dtype = torch.float64, **overrides: object) -> nn.Module:
    """A tiny random model of a family, which computes soft caps and experts in any floating-point type."""
    config = tiny_config(family, **overrides)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    for parameter in model.parameters():
        # stacks of experts come as zeros, or as what was in memory
        if parameter.dim() == 3:
            nn.init.normal_(parameter, std=0.05)
    if getattr(config, "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    return model
