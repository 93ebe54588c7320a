"""For every key of the config: an edit, and the jobs that it makes run again, counted by rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import yaml
from snakemake_plan import job_counts

from prism.tools.snakemake_plan import Job

# what comes after everything else
LAST = (
    *("all", "total", "benchmark_summary", "figure_forest", "figure_schedule", "comparison", "verify", "index_page"),
    "crate",
    *("figure_score_correlates", "figure_routing_sensitivity", "figure_halves"),
)

# What an edit makes run again, as jobs by rule, without what wraps every run up (LAST).
TABLE = {"table1_row": 12, "table_statistics": 1, "table1": 1}
# evaluations of six methods on two panels
ALL_METHODS = {"evaluate": 12} | TABLE
# base is the backbone itself
TRAINED_METHODS = {"evaluate": 10} | TABLE | {"table1_row": 10}
RL_METHODS = {"rl": 4, "figure_training_curves": 1, "evaluate": 8} | TABLE | {"table1_row": 8}
# the model after SFT on everything, probed again
REPROBE = {"probe_variant": 1, "compare_probes": 1}
# sft, random, sft-then-rl, prism-gini: grpo starts from the backbone
SFT_METHODS = {
    "sft": 3, "rl": 3, "figure_training_curves": 1, "evaluate": 8,
} | REPROBE | TABLE | {"table1_row": 8}  # fmt: skip
# random and prism-gini
SPLIT_METHODS = {
    "split": 2, "sft": 2, "rl": 2, "figure_training_curves": 1, "evaluate": 4,
} | TABLE | {"table1_row": 4}  # fmt: skip
STUDIES = {"study_correlates": 1, "study_sensitivity": 1, "study_behaviours": 1}
SCORE_FIGURES = {"figure_case_study": 1, "figure_consensus": 1, "figure_score_distributions": 1}
# prism-gini alone: a random split needs no score
GINI = {
    "split": 1, "sft": 1, "rl": 1, "figure_training_curves": 1, "evaluate": 2,
} | TABLE | {"table1_row": 2}  # fmt: skip
FROM_SCORES = {
    "scores": 2, "sensitivity": 1, "figure_case_study": 1, "figure_score_distributions": 1,
    "study_correlates": 1, "study_behaviours": 1,
} | GINI  # fmt: skip
CONSENSUS = {"consensus": 1, "figure_consensus": 1}
FROM_PROBE = {"probe": 2, "study_sensitivity": 1} | CONSENSUS | REPROBE | FROM_SCORES
FROM_PROMPT = FROM_PROBE | {"sft": 3} | RL_METHODS | ALL_METHODS
FROM_TRAJECTORIES = (
    FROM_PROBE | {"expert_trajectories": 1, "facts": 1, "panel": 1, "split": 2, "sft": 3} | RL_METHODS | TRAINED_METHODS
)
FROM_GAMES = FROM_TRAJECTORIES | {"games": 1, "panel": 3} | ALL_METHODS
ONE_PANEL = {"panel": 1, "evaluate": 6} | TABLE | {"table1_row": 6}
# one method's row changes; its RL too; all of it
ONE_METHOD = {"evaluate": 2, "table1_row": 2, "table_statistics": 1, "table1": 1}
ONE_RL = ONE_METHOD | {"rl": 1, "figure_training_curves": 1}
ONE_SPLIT = ONE_RL | {"split": 1, "sft": 1}
# the backbone of table 1, and one that is only scored
FROM_BACKBONE = FROM_PROMPT | {"backbone": 1, "probe": 1, "scores": 1}
FROM_OTHER_BACKBONE = {
    "backbone": 1, "probe": 1, "scores": 1, "sensitivity": 1, "figure_score_distributions": 1,
} | STUDIES  # fmt: skip
OTHER_CORPUS = {rule: count for rule, count in FROM_TRAJECTORIES.items() if rule != "expert_trajectories"}
WEBSHOP_CORPUS = {"catalog": 1, "games": 1, "expert_trajectories": 1}
NOTHING: dict[str, int] = {}

CORPUS = "resources/records/demo/records/data/alfworld/trajectories.jsonl"
COMMIT = "0" * 40

DETOURS = {"benchmarks.alfworld.expert.detours.share": 0.5, "benchmarks.alfworld.expert.detours.noise": 0.6}

# a key, or several that go together: (edit, what runs again)
EDITS = {
    "scale": (
        "smoke",
        TABLE | SCORE_FIGURES | STUDIES | {"sensitivity": 1, "figure_training_curves": 1, "compare_probes": 1},
    ),
    "results": ("results/elsewhere", FROM_GAMES | {"backbone": 2}),
    "instruction_set": ("", NOTHING),
    "go_on_from": ("resources/records/of-nothing", NOTHING),
    "benchmarks.alfworld.source": (
        {"benchmarks.alfworld.source": "dataset", "benchmarks.alfworld.data_dir": "elsewhere"},
        FROM_GAMES | {"fetch": 1},
    ),
    "benchmarks.alfworld.data_dir": ("elsewhere", NOTHING),
    "benchmarks.alfworld.trajectories": (
        "eto", OTHER_CORPUS | {"eto_trajectories": 1, "fetch": 1, "prompt_lengths": 2},
    ),
    "benchmarks.alfworld.trajectories_file": (CORPUS, OTHER_CORPUS | {"corpus": 1}),
    "benchmarks.alfworld.games.seed": (1, FROM_GAMES),
    "benchmarks.alfworld.games.train": (639, FROM_GAMES),
    "benchmarks.alfworld.games.seen": (49, FROM_GAMES),
    "benchmarks.alfworld.games.unseen": (49, FROM_GAMES),
    "benchmarks.alfworld.games.size.max_receptacles": (5, FROM_GAMES),
    "benchmarks.alfworld.games.size.max_objects": (5, FROM_GAMES),
    "benchmarks.alfworld.expert.seed": (1, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.noise": (0.07, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.max_steps": (19, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.max_games": (600, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.detours.share": (DETOURS, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.detours.noise": (DETOURS, FROM_TRAJECTORIES),
    # no game is one yet
    "benchmarks.alfworld.expert.detours.seed": (1, NOTHING),
    "benchmarks.alfworld.panels.seen": (47, ONE_PANEL),
    "benchmarks.alfworld.panels.unseen": (47, ONE_PANEL),
    "benchmarks.alfworld.max_steps": (19, RL_METHODS | ALL_METHODS),
    "benchmarks.alfworld.prompt.style": ("full", FROM_PROMPT),
    "benchmarks.alfworld.prompt.history": ("actions:13", FROM_PROMPT),
    "benchmarks.alfworld.prompt.context_length": (500, FROM_PROMPT),
    "benchmarks.alfworld.sft": ({"learning_rate": 1.0e-3}, SFT_METHODS),
    "benchmarks.alfworld.rl": ({"learning_rate": 1.0e-5}, RL_METHODS),
    "benchmarks.alfworld.evaluation": ({"temperature": 0.5}, ALL_METHODS),
    "backbones.tiny-qwen3.source": (
        {"backbones.tiny-qwen3.source": "hub", "backbones.tiny-qwen3.revision": COMMIT}, FROM_BACKBONE,
    ),
    "backbones.tiny-qwen3.location": (
        {"backbones.tiny-qwen3.location": "resources/backbones/tiny-llama", "backbones.tiny-qwen3.template": "llama3"},
        FROM_BACKBONE,
    ),
    "backbones.tiny-qwen3.revision": (COMMIT, FROM_BACKBONE),
    "backbones.tiny-qwen3.template": ("qwen3_nothink", SFT_METHODS),
    "backbones.tiny-qwen3.stands_for": ("Llama-3.1-8B-Instruct", TABLE),
    "backbones.tiny-llama.source": (
        {"backbones.tiny-llama.source": "hub", "backbones.tiny-llama.revision": COMMIT}, FROM_OTHER_BACKBONE,
    ),
    "backbones.tiny-llama.location": (
        {"backbones.tiny-llama.location": "resources/backbones/tiny-qwen3", "backbones.tiny-llama.template": "qwen3"},
        FROM_OTHER_BACKBONE,
    ),
    "backbones.tiny-llama.revision": (COMMIT, FROM_OTHER_BACKBONE),
    # of a package alone
    **{
        f"backbones.{name}.{key}": (value, NOTHING)
        for name in ("tiny-qwen3", "tiny-llama", "Qwen3-8B", "Llama-3.1-8B-Instruct")
        for key, value in {"file": "a/b.gguf", "licence": "MIT", "accept_licence": True}.items()
    },
    "probe.layout": ("conversation", FROM_PROBE),
    "probe.loss_on": ("all", FROM_PROBE),
    "probe.dtype": ("float64", FROM_PROBE),
    "probe.shards": (2, FROM_PROBE | {"probe": 4, "probe_variant": 2}),
    **{
        f"probe.variants.{name}": ({"layout": "conversation", "dtype": "float64"}, NOTHING)
        for name in ("conversation", "steps", "loss-on-all", "bfloat16", "full-prompt")
    },
    "probe.variants.after-sft": ({"layout": "conversation"}, REPROBE),
    # all that scores norms
    "scores.epsilon": (1.0e-6, FROM_SCORES | CONSENSUS | {"study_sensitivity": 1, "compare_probes": 1}),
    "rl.steps": (4, RL_METHODS),
    "rl.algorithms.grpo": ({"learning_rate": 1.0e-5}, RL_METHODS),
    "methods.base": ({"sft": "all"}, ONE_METHOD),
    "methods.sft": ({"sft": "gini-low50"}, ONE_METHOD | REPROBE),
    "methods.grpo": ({"algorithm": "gigpo"}, ONE_RL),
    "methods.random": ({"sft": "random-low60", "rl": "random-high40"}, ONE_SPLIT),
    "methods.sft-then-rl": ({"algorithm": "gigpo"}, ONE_RL),
    "methods.prism-gini": ({"sft": "gini-low60", "rl": "gini-high40"}, ONE_SPLIT),
    "tables.table1.backbones": (["tiny-llama"], ALL_METHODS | {"split": 2, "sft": 3, "rl": 4}),
    "tables.table1.methods": (["base", "sft", "sft-then-rl"], {"table_statistics": 1, "table1": 1}),
    "tables.appendix_g.benchmarks": (
        ["alfworld", "webshop"], WEBSHOP_CORPUS | {"probe": 2, "scores": 2, "sensitivity": 1},
    ),
    "tables.appendix_g.backbones": (["tiny-qwen3"], {"sensitivity": 1}),
    "tables.score_study.benchmarks": (
        ["alfworld", "webshop"], WEBSHOP_CORPUS | {"facts": 1, "probe": 2, "scores": 2} | STUDIES,
    ),
    "tables.score_study.backbones": (["tiny-qwen3"], STUDIES),
    "tables.score_study.variants": (["conversation"], {"probe_variant": 2, "study_sensitivity": 1}),
    "tables.reprobe.benchmark": ("webshop", WEBSHOP_CORPUS | REPROBE | {"probe": 1, "sft": 1}),
    "tables.reprobe.backbones": (["tiny-llama"], REPROBE | {"sft": 1}),
    "tables.reprobe.variants": (["bfloat16"], REPROBE),
    "figures.figure1.benchmark": ("webshop", WEBSHOP_CORPUS | {"probe": 1, "scores": 1, "figure_case_study": 1}),
    "figures.figure1.backbones": (["tiny-llama"], {"figure_case_study": 1}),
    "figures.figure5.benchmarks": (["webshop"], WEBSHOP_CORPUS | {"probe": 1} | CONSENSUS),
    "figures.figure5.backbones": (["tiny-llama"], CONSENSUS),
    "figures.score_distributions.benchmark": (
        "webshop", WEBSHOP_CORPUS | {"probe": 2, "scores": 2, "figure_score_distributions": 1},
    ),
    "figures.score_distributions.backbones": (["tiny-qwen3"], {"figure_score_distributions": 1}),
    "figures.training_curves.backbones": (
        ["tiny-llama"], {"split": 2, "sft": 3, "rl": 4, "figure_training_curves": 1},
    ),
    "figures.training_curves.methods": (["grpo"], {"figure_training_curves": 1}),
    "targets.tables": (["table1"], NOTHING),
    "targets.figures": (["figure1"], NOTHING),
}  # fmt: skip

# Settings of a stage: (what runs again, the rule that gets them, values). They are all edited at once: no rule may run
# that is not expected, and each value has to stand in the command of every job of the rule, so that each is a cause.
SETTINGS = {
    "sft": (SFT_METHODS, "sft", {
        "layout": "conversation", "learning_rate": 1.0e-3, "num_train_epochs": 2.0, "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2, "lr_scheduler_type": "linear", "warmup_ratio": 0.2, "weight_decay": 0.5,
        "max_grad_norm": 2.0, "optim": "adamw_torch_fused", "bf16": True, "flash_attn": "fa2",
        "train_sampling_strategy": "random", "full_determinism": False,
        "deepspeed": {"zero_optimization": {"stage": 2}}, "gpus": 2, "nodes": 2, "lora_rank": 4,
    }),
    "rl": (RL_METHODS, "rl", {
        "learning_rate": 1.0e-5, "tasks_per_step": 16, "group_size": 4, "mini_batch": 128, "micro_batch_tokens": 4096,
        "max_response_tokens": 30, "steps_rule": "epochs", "epochs": 0.5, "ppo_epochs": 2,
        "clip_ratio": 0.3, "temperature": 0.9, "top_p": 0.8, "kl_coefficient": 0.02, "entropy_coefficient": 0.002,
        "weight_decay": 0.02, "max_grad_norm": 2.0, "success_reward": 5.0, "invalid_action_penalty": 0.2,
        "norm_adv_by_std": False, "group_statistics": "trajectories", "loss_aggregation": "seq-mean-token-sum",
        "shuffle_rows": True, "platform": "gpu", "rollout_engine": "vllm", "gpus": 8, "nodes": 2, "tensor_parallel": 4,
        "lora_rank": 4,
    }),
    "evaluation": (ALL_METHODS, "evaluate", {
        "temperature": 0.5, "top_p": 0.9, "max_new_tokens": 31, "generator": "vllm",
    }),
}  # fmt: skip

# How the machine is used: (the command that gets it, values). All of them at once rerun nothing, and reach the jobs
# that run anyway.
MACHINE = {
    "probe": ("probe", {
        "tokens_per_pack": 2048, "gradient_checkpointing": True, "tokens_kept": 512, "tokens_per_pass": 1024,
    }),
    "sft": ("sft", {
        "gradient_checkpointing": True, "logging_steps": 7, "save_strategy": "steps", "save_steps": 11,
        "save_total_limit": 5, "report_to": ["tensorboard"], "threads": 2,
    }),
    "rl": ("rl", {
        "save_every": 4, "keep_checkpoints": 3, "threads": 2, "environment_threads": 9, "agent_workers": 10,
        "environment_processes": 11, "offload": "idle",
        "gpu_memory_utilization": 0.7, "warm_workers": False, "loggers": ["console", "file", "tensorboard"],
    }),
    "evaluation": ("evaluate", {"batch_size": 63, "workers": 2, "threads": 2}),
}  # fmt: skip

# What the config says already, in other words: nothing runs again.
SAME = {
    "sft.num_train_epochs": 3.0,
    "sft.learning_rate": 0.002,
    "sft.full_determinism": True,
    "sft.lora_rank": 0,
    "rl.lora_rank": 0,
    "evaluation.top_p": 1,
    "pass_rates.temperature": 1,
    "rl.weight_decay": 0.01,
    "rl.clip_ratio": 0.2,
    "rl.gpus": 1,
    "rl.success_reward": 10,
    "benchmarks.alfworld.expert.max_games": 0,
    # read by another rule, another algorithm, another engine
    "rl.epochs": 7,
    "rl.gigpo_gamma": 0.5,
    "rl.tensor_parallel": 3,
    "rl.algorithms.gigpo.learning_rate": 1.0e-5,
    "benchmarks.alfworld.sft": {},
}

# What nothing of the demo is made from, and what an edit of it makes run again at the scale `smoke`, which builds
# everything. All of them together rerun nothing in the demo.

# what reads WebShop's evaluations: Table 2 of ten methods and two backbones, Table 4, Figures 3 and 4
SHOP_READERS = {
    "table2_row": 20, "table4_row": 2, "table_statistics": 2, "table2": 1, "table4": 1,
    "figure_inverse_ablation": 1, "figure_ratio_sweep": 1,
}  # fmt: skip
# what reads how long eight methods took; every row reads GRPO's time
SHOP_TIMES = {"table3_row": 8, "table3": 1}
# one method of Table 3, on both benchmarks
TIMES = {"table3_row": 2, "table3": 1}
# base, sft, and 27 runs of RL: eight methods of Table 2 and three inverse ones, each with two backbones; four ratios;
# magnitude-l2
SHOP_METHODS = {"evaluate": 31} | SHOP_READERS
SHOP_TRAINED = {"evaluate": 29} | SHOP_READERS | {"table2_row": 18}
SHOP_RL = {"rl": 27, "evaluate": 27} | SHOP_READERS | {"table2_row": 16} | SHOP_TIMES
# all but grpo and gigpo start from SFT: on everything, and on one side of 21 splits
SHOP_SFT = {
    "sft": 23, "rl": 23, "evaluate": 25, "probe_variant": 1, "study_sensitivity": 1,
} | SHOP_READERS | {"table2_row": 14} | SHOP_TIMES | {"table3_row": 6}  # fmt: skip
PASS_RATES = {"pass_rates": 2, "pass_rate_table": 2}
# what reads pass rates beside the splits
OF_PASS_RATES = {"study_correlates": 1, "study_contrast": 1}
SHOP_PASS_RATES = PASS_RATES | {"split": 2, "sft": 2} | OF_PASS_RATES
# the two random splits need no score
ALL_STUDIES = STUDIES | {"study_consensus": 1, "study_contrast": 1}
# four of the five variants: one has a prompt of its own
SHOP_PROBE = {"probe": 2, "probe_variant": 4, "scores": 2, "consensus": 1, "sensitivity": 1, "split": 13} | ALL_STUDIES
SHOP_PROMPT = SHOP_PROBE | PASS_RATES | {"sft": 23} | SHOP_RL | SHOP_METHODS
SHOP_CORPUS = SHOP_PROBE | PASS_RATES | {
    "facts": 1, "probe_variant": 5, "panel": 1, "split": 15, "sft": 23,
} | SHOP_RL | SHOP_TRAINED  # fmt: skip
SHOP_TRAJECTORIES = SHOP_CORPUS | {"expert_trajectories": 1}
SHOP_GOALS = SHOP_TRAJECTORIES | {"panel": 2} | SHOP_METHODS
SHOP_STORE = SHOP_GOALS | {"games": 1}
SHOP_CATALOG = SHOP_STORE | {"catalog": 1}
# rows of both tables change: Table 1 on two panels, Table 2 with two backbones
IN_TABLES = {
    "evaluate": 4, "table1_row": 2, "table2_row": 2, "table_statistics": 2, "table1": 1, "table2": 1,
}  # fmt: skip
BY_RL = {"rl": 3, "figure_training_curves": 1} | IN_TABLES | TIMES
BY_SPLIT = {"split": 3, "sft": 3} | BY_RL
# three methods of Table 1 rest on pass rates; two of them are the two sides of one split
BY_PASS_RATES = {"pass_rates": 3, "pass_rate_table": 3} | BY_SPLIT | {
    "split": 4, "sft": 5, "rl": 5, "evaluate": 8, "table1_row": 6,
} | OF_PASS_RATES  # fmt: skip
LLAMA_TABLE = {"table_statistics": 1, "table2": 1}

OTHER_METHOD = {"sft": "l2-low40", "rl": "l2-high60", "algorithm": "gigpo"}


def new_splits(count: int, **readers: int) -> dict[str, int]:
    """What so many runs on new splits make run, and what reads their evaluations."""
    return {"split": count, "sft": count, "rl": count, "evaluate": count} | readers


# a key, or several that go together: (edit, what runs again)
UNUSED = {
    "benchmarks.webshop.source": (
        {"benchmarks.webshop.source": "dataset", "benchmarks.webshop.data_dir": "elsewhere"},
        {rule: count for rule, count in SHOP_STORE.items() if rule != "catalog"} | {"fetch": 1},
    ),
    "benchmarks.webshop.data_dir": ("elsewhere", NOTHING),
    "benchmarks.webshop.collection": ("webshop-small", NOTHING),
    "benchmarks.webshop.trajectories": (
        "eto", SHOP_CORPUS | {"eto_trajectories": 1, "fetch": 1, "prompt_lengths": 2},
    ),
    "benchmarks.webshop.trajectories_file": (CORPUS, SHOP_CORPUS | {"corpus": 1}),
    "benchmarks.webshop.catalog.seed": (1, SHOP_CATALOG),
    "benchmarks.webshop.catalog.products": (100, SHOP_CATALOG),
    "benchmarks.webshop.catalog.instructions": (4, SHOP_CATALOG),
    "benchmarks.webshop.catalog.description_words": (3, SHOP_CATALOG),
    "benchmarks.webshop.goals": ("synthetic", SHOP_STORE),
    "benchmarks.webshop.split.test": (47, SHOP_GOALS),
    "benchmarks.webshop.split.dev": (1, SHOP_GOALS),
    "benchmarks.webshop.expert.seed": (1, SHOP_TRAJECTORIES),
    "benchmarks.webshop.expert.max_steps": (7, SHOP_TRAJECTORIES),
    "benchmarks.webshop.expert.max_goals": (479, SHOP_TRAJECTORIES),
    "benchmarks.webshop.panels.test": (23, {"panel": 1} | SHOP_METHODS),
    "benchmarks.webshop.max_steps": (7, SHOP_PASS_RATES | SHOP_RL | SHOP_METHODS),
    "benchmarks.webshop.prompt.style": ("full", SHOP_PROMPT),
    "benchmarks.webshop.prompt.history": ("actions:7", SHOP_PROMPT),
    "benchmarks.webshop.prompt.context_length": (511, SHOP_PROMPT),
    "benchmarks.webshop.sft": ({"learning_rate": 1.0e-3}, SHOP_SFT),
    "benchmarks.webshop.rl": ({"learning_rate": 1.0e-5}, SHOP_RL),
    "benchmarks.webshop.evaluation": ({"temperature": 0.5}, SHOP_METHODS),
    "backbones.tiny-llama.stands_for": ("Qwen3-8B", {"table2_row": 10} | LLAMA_TABLE),
    **{
        f"backbones.{name}.{key}": (edit, NOTHING)
        for name in ("Qwen3-8B", "Llama-3.1-8B-Instruct")
        for key, edit in {
            "source": {
                f"backbones.{name}.source": "local", f"backbones.{name}.location": "resources/backbones/tiny-qwen3",
            },
            "location": "resources/backbones/tiny-qwen3", "revision": COMMIT, "template": "qwen3_nothink",
            "stands_for": "elsewhere",
        }.items()
    },
    "containers.cpu": ("elsewhere.sif", NOTHING),
    "containers.sft": ("elsewhere.sif", NOTHING),
    "containers.rl": ("elsewhere.sif", NOTHING),
    "pass_rates.rollouts": (4, BY_PASS_RATES),
    "pass_rates.seed": (1, BY_PASS_RATES),
    "pass_rates.shards": (2, BY_PASS_RATES | {"pass_rates": 6}),
    "pass_rates.temperature": (0.5, BY_PASS_RATES),
    "rl.algorithms.gigpo": ({"kl_coefficient": 0.02}, BY_RL),
    "rl.gigpo_gamma": (0.9, BY_RL),
    "rl.gigpo_weight": (0.5, BY_RL),
    # WebShop has a mode of its own
    "rl.gigpo_mode": (
        "mean_norm",
        {
            "rl": 1, "evaluate": 2, "figure_training_curves": 1, "table1_row": 2, "table_statistics": 1, "table1": 1,
            "table3_row": 1, "table3": 1,
        },
    ),
    "methods.gigpo": (OTHER_METHOD, BY_SPLIT),
    # WebShop has no other method that counts rollouts
    "methods.hpt": (OTHER_METHOD, BY_SPLIT | OF_PASS_RATES),
    "methods.prism-kurtosis": (
        OTHER_METHOD, BY_SPLIT | {"figure_inverse_ablation": 1},
    ),
    "methods.prism-cv": (
        OTHER_METHOD,
        BY_SPLIT | {"decision": 1, "figure_inverse_ablation": 1, "figure_ratio_sweep": 1},
    ),
    "methods.inverse-gini": (OTHER_METHOD, new_splits(2, figure_inverse_ablation=1)),
    "methods.inverse-kurtosis": (OTHER_METHOD, new_splits(2, figure_inverse_ablation=1)),
    "methods.inverse-cv": (OTHER_METHOD, new_splits(2, figure_inverse_ablation=1)),
    "methods.magnitude-l2": (
        {"sft": "cv-low40", "rl": "cv-high60"},
        # one benchmark a split, two panels of ALFWorld and one of WebShop pooled into a cell each
        new_splits(2, table4_row=2, table_statistics=1, table4=1),
    ),
    "methods.ratio-10": (OTHER_METHOD, new_splits(1, figure_ratio_sweep=1)),
    "methods.ratio-30": (OTHER_METHOD, new_splits(1, figure_ratio_sweep=1)),
    "methods.ratio-70": (OTHER_METHOD, new_splits(1, figure_ratio_sweep=1)),
    "methods.ratio-90": (OTHER_METHOD, new_splits(1, figure_ratio_sweep=1)),
    **{
        f"methods.{name}": (OTHER_METHOD, new_splits(1, evaluate=2, table1_row=2, table_statistics=1, table1=1))
        for name in ("length", "loss", "random-in-length", "inverse-hpt", "pass-rate-variance", "effective-rank")
    },
    # the positive control, which needs a corpus with detours
    "methods.oracle": (OTHER_METHOD, NOTHING),
    "methods.prism-gini-steps": (OTHER_METHOD, NOTHING),
    "tables.table2.backbones": (["tiny-qwen3"], LLAMA_TABLE),
    "tables.table2.methods": (["base"], LLAMA_TABLE),
    "tables.table3.benchmarks": (["alfworld"], {"table3": 1}),
    # WebShop's runs are Table 2's
    "tables.table3.backbones": (
        ["tiny-llama"],
        {
            "pass_rates": 1, "pass_rate_table": 1, "split": 5, "sft": 6, "rl": 8, "table3_row": 16, "table3": 1,
        },
    ),
    "tables.table3.methods": (["grpo"], {"table3": 1}),
    "tables.decision.benchmark": ("webshop", {"decision": 1}),
    "tables.decision.backbones": (
        # seven methods on two panels, five of them trained by RL, four from an SFT
        ["tiny-llama"], {"split": 3, "sft": 4, "rl": 5, "evaluate": 14, "decision": 1},
    ),
    "tables.decision.seeds": (2, {"decision": 1}),
    "tables.decision.margin": (1, {"decision": 1}),
    "tables.decision.questions": (
        [{"name": "Q1", "method": "prism-gini", "references": ["length"]}], {"decision": 1},
    ),
    "tables.decision.checks": ([], {"decision": 1}),
    "tables.table4.benchmarks": (["alfworld"], {"table_statistics": 1, "table4": 1}),
    # prism-gini on WebShop is Table 2's
    "tables.table4.backbones": (["tiny-llama"], new_splits(3, table4_row=4, table_statistics=1, table4=1)),
    "tables.table4.methods": (["prism-gini"], {"table_statistics": 1, "table4": 1}),
    # ALFWorld has two panels, and no inverse run of any backbone
    "figures.figure3.benchmark": ("alfworld", {
        "split": 4, "sft": 10, "rl": 10, "evaluate": 20, "figure_inverse_ablation": 1,
    }),
    "figures.figure3.backbones": (["tiny-qwen3"], {"figure_inverse_ablation": 1}),
    "figures.figure3.pairs": ({"cv": ["prism-gini", "inverse-gini"]}, {"figure_inverse_ablation": 1}),
    "figures.figure3.reference": ("prism-cv", {"figure_inverse_ablation": 1}),
    "figures.figure4.benchmark": ("alfworld", new_splits(4, figure_ratio_sweep=1) | {"evaluate": 8}),
    "figures.figure4.backbones": (["tiny-llama"], new_splits(4, figure_ratio_sweep=1)),
    "figures.figure4.methods": (["prism-cv"], {"figure_ratio_sweep": 1}),
}  # fmt: skip

EXEMPT = {
    "backbones.tiny-llama.template": "LLaMA-Factory has no other template of its family; tiny-qwen3.template shows it",
    "seeds": "test_a_new_seed_leaves_the_others_alone",
    "tables.table1.benchmark": "Table 1 is ALFWorld's: its two panels exist there alone",
    "tables.table2.benchmark": "Table 2 is WebShop's, as Table 1 is ALFWorld's",
    "figures.training_curves.benchmark": "all of WebShop's training; figure1.benchmark shows how a benchmark enters",
    "figures.forest.tables": "its other table is all of WebShop's training; the figure itself is among LAST",
}


def overlay(edits: Mapping[str, object]) -> str:
    """An overlay of the config that sets dotted keys."""
    config: dict = {}
    for key, value in edits.items():
        # the dot of a version number is no end of a name
        *path, last = re.split(r"\.(?!\d)", key)
        place = config
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return yaml.safe_dump(config)


def edit_of(key: str, value: object) -> dict[str, object]:
    """The keys that an entry of the table sets: its own, or several that go together."""
    return value if isinstance(value, dict) and key in value else {key: value}


def edits_of(entries: Mapping[str, tuple]) -> dict[str, object]:
    """All edits of some entries at once."""
    return {key: value for entry, (edit, _) in entries.items() for key, value in edit_of(entry, edit).items()}


def counted(jobs: Sequence[Job]) -> dict[str, int]:
    """Planned jobs by rule, without what wraps every run up."""
    return {rule: count for rule, count in job_counts(jobs).items() if rule not in LAST}


def config_keys(config: Mapping, schema: Mapping) -> set[str]:
    """Dotted names of the keys that a config has or may have.

    A method, a variant and an overlay of settings is one key: what stands in it is checked and passed on as a whole.
    """

    def walk(rule: Mapping, value: object, path: tuple[str, ...]) -> Iterator[str]:
        if "$ref" in rule:
            rule = schema["$defs"][rule["$ref"].rsplit("/", 1)[1]]
        inner = dict(rule.get("properties", {}))
        others = rule.get("additionalProperties")
        if isinstance(others, Mapping):
            inner |= dict.fromkeys(value or {}, others)
        whole = path[:-1] in (("methods",), ("probe", "variants")) or path[-1:] in (("deepspeed",), ("pairs",))
        if not inner or whole:
            yield ".".join(path)
            return
        for key, below in inner.items():
            yield from walk(below, value.get(key) if isinstance(value, Mapping) else None, (*path, key))

    return set(walk(schema, config, ()))
