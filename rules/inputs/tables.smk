# What the cells and tables are made of: which evaluations, splits, checkpoints and run times a config asks for.
import os

from prism.core.paper_tables import TABLE1_PANELS, TABLE2_PANEL, TABLE4_PANELS, TABLES
from prism.core.splits import RANDOM

# the method that Table 3's speed-ups are relative to
BASELINE = "grpo"


def everything_of(table):
    """Splits, evaluations and cells of a table.

    Snakemake does not miss an intermediate file as long as what was made from it is up to date; what a reader may look
    into or delete is therefore asked for by name.
    """
    if table not in TABLES:
        return []
    return [*splits_of(table), *evaluations_of(table), *cells_of(table)]


def prompt_counts():
    """How many prompts of ETO's conversations are too long; our own experts' rooms and stores are small."""
    return sorted(
        {
            f"<results>/data/{benchmark}/prompts/{backbone}.json"
            for target in map(config["tables"].get, config["targets"]["tables"])
            for benchmark in target.get("benchmarks", [target.get("benchmark")])
            if plays_eto(benchmark)
            for backbone in target["backbones"]
        }
    )


def splits_of(table):
    """The splits that a table's methods rest on."""
    target = config["tables"][table]
    splits = set()
    for benchmark in target.get("benchmarks", [target.get("benchmark")]):
        for backbone in target["backbones"]:
            for name in target["methods"]:
                runs = [METHODS[name].at_seed(seed) for seed in config["seeds"]]
                subsets = [subset for run in runs for subset in (run.sft, run.rl)]
                splits |= {
                    split_file(subset, benchmark, backbone)
                    for subset in filter(parts_corpus, subsets)
                }
    return sorted(splits)


def evaluation_files(benchmark, backbone, method, panel):
    """A method's evaluations on one panel, one a seed."""
    folder = f"<results>/eval/{benchmark}/{backbone}/{method}"
    return [f"{folder}/seed{seed}/{panel}.json" for seed in config["seeds"]]


def evaluations_of(table):
    """The evaluations that a table is made of; Table 3 is made of run times."""
    target = config["tables"][table]
    if table == "table3":
        return []
    if table == "table4":
        panels = [(name, TABLE4_PANELS[name]) for name in target["benchmarks"]]
    else:
        names = TABLE1_PANELS if table == "table1" else (TABLE2_PANEL,)
        panels = [(target["benchmark"], name) for name in names]
    return [
        path
        for benchmark, panel in panels
        for backbone in target["backbones"]
        for method in target["methods"]
        for path in evaluation_files(benchmark, backbone, method, panel)
    ]


def cells_of(table, columns=None):
    """A table's cells, row by row in the order of the table; `columns` restricts them."""
    target = config["tables"][table]
    groups = {
        "table1": TABLE1_PANELS,
        "table2": target["backbones"],
        "table3": target.get("benchmarks"),
        "table4": ("",),
    }[table]
    if columns is None:
        columns = target["benchmarks"] if table == "table4" else TABLES[table].columns
    return [
        os.path.join("<results>/cells", table, group, method, f"{column}.json")
        for group in groups
        for method in target["methods"]
        for column in columns
    ]


def tested_cells_of(table):
    """The cells whose methods are compared in pairs."""
    columns = (
        config["tables"][table]["benchmarks"]
        if table == "table4"
        else TABLES[table].tested
    )
    return cells_of(table, columns)


def cell_recipe(table, backbone, method, row, settings=None, columns=()):
    """What the cells of a row are told."""
    definition = METHODS[method]
    sft, rl = definition.shares()
    return json_text(
        {
            "table": table,
            "row": {**row, "method": method},
            "backbone": backbone,
            "stands_for": config["backbones"][backbone].get("stands_for", backbone),
            "method": {
                "sft": definition.sft or "",
                "rl": definition.rl or "",
                "algorithm": definition.algorithm or "",
            },
            "sft": sft,
            "rl": rl,
            "scale": config["scale"],
            "columns": list(columns),
            "settings": settings or {},
        }
    )


def timing_settings(benchmark):
    """What a run time depends on besides the data: how RL's steps are counted, and the hardware the config asks for."""
    settings = RECIPES.rl(benchmark, BASELINE)
    threads = settings.threads
    hardware = f"CPU, {threads} thread{'s' if threads > 1 else ''} of torch"
    if settings.platform == "gpu":
        hardware = f"{settings.gpus} GPUs on {settings.nodes} node(s)"
    rule_name = settings.steps_rule
    return {
        "steps_rule": f"{rule_name} ({settings.epochs if rule_name == 'epochs' else settings.steps})",
        "hardware": hardware,
    }


def probed_outputs(benchmark, backbone, method):
    """What makes a method's split before any training, by rule: gradient norms, pass rates, or nothing."""
    scores = {
        parse_slice(subset).score
        for subset in (METHODS[method].sft, METHODS[method].rl)
        if parts_corpus(subset)
    }
    return {
        "probe": (
            shard_files_of(benchmark, backbone) if scores - {RANDOM, *COUNTED} else []
        ),
        "pass_rates": (
            pass_rate_shards(benchmark, backbone) if scores & {*COUNTED} else []
        ),
    }


def timed_outputs(benchmark, method):
    """What a row of Table 3 is the cost of, and GRPO's runs that it is compared with."""
    (backbone,) = config["tables"]["table3"]["backbones"]
    outputs = sum(probed_outputs(benchmark, backbone, method).values(), [])
    for seed in config["seeds"]:
        run = METHODS[method].at_seed(seed)
        if run.sft:
            outputs.append(initial_folder(run.init, benchmark, backbone, seed))
        for name in [
            name for name in (method, BASELINE) if name in METHODS and METHODS[name].rl
        ]:
            outputs.append(checkpoint_folder(name, benchmark, backbone, seed))
    return list(dict.fromkeys(outputs))


def timing_files(benchmark, method):
    """The benchmark files of `timed_outputs`, by phase."""
    (backbone,) = config["tables"]["table3"]["backbones"]
    seeds = {}
    for seed in config["seeds"]:
        run = METHODS[method].at_seed(seed)
        trained = checkpoint_folder(method, benchmark, backbone, seed)
        initial = initial_folder(run.init, benchmark, backbone, seed)
        baseline = (
            checkpoint_folder(BASELINE, benchmark, backbone, seed)
            if BASELINE in METHODS
            else ""
        )
        seeds[seed] = {
            "sft": time_file(initial, "sft") if run.sft else "",
            "rl": time_file(trained, "rl") if run.rl else "",
            "initial": in_results(initial) if run.sft else "",
            "checkpoint": in_results(trained) if run.rl else "",
            "baseline": time_file(baseline, "rl") if baseline else "",
            "baseline_checkpoint": in_results(baseline),
        }
    probe, rollouts = (
        [time_file(os.path.splitext(path)[0], rule) for path in paths]
        for rule, paths in probed_outputs(benchmark, backbone, method).items()
    )
    return json_text({"probe": probe, "rollouts": rollouts, "seeds": seeds})


def time_file(output, rule_name):
    """Where Snakemake writes the run time of the job that made an output of a rule."""
    _, _, wildcards = output.split("/", 2)
    return in_results(f"<results>/benchmarks/{rule_name}/{wildcards}.tsv")


def in_results(path):
    """A path with the results folder written out, for params: Snakemake fills it in for inputs and outputs only."""
    return path.replace("<results>", config["results"], 1)


# what the claims are about, as far as it is made of evaluations
COMPARED = {
    "tables": ["table1", "table2", "table4"],
    "figures": ["figure3", "figure4"],
}


def compared_targets():
    """Tables and figures of this run that a claim compares methods in."""
    return {
        name: config[kind][name]
        for kind, names in COMPARED.items()
        for name in names
        if name in config["targets"][kind]
    }


def compared_evaluations():
    """Every evaluation that a table or figure of this run rests on."""
    paths = set()
    for name, target in compared_targets().items():
        for benchmark in target.get("benchmarks", [target.get("benchmark")]):
            panels = {"webshop": ["test"], "alfworld": ["seen", "unseen"]}[benchmark]
            paths |= set(
                collect(
                    "<results>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json",
                    benchmark=benchmark,
                    backbone=target["backbones"],
                    method=target["methods"],
                    seed=config["seeds"],
                    panel=panels[:1] if name == "table4" else panels,
                )
            )
    return sorted(paths)


def consensus_norms():
    """The gradient norms behind figure 5, if this run draws it."""
    target = config["figures"]["figure5"]
    norms = shard_files_of(target["benchmark"], target["backbones"][0])
    return norms if "figure5" in config["targets"]["figures"] else []


def built_target(kind, name, path):
    """A file that a claim may use, if this run builds it."""
    return [path] if name in config["targets"][kind] else []


# the learning experiment
LEARNING_BENCHMARK, LEARNING_PANELS = "alfworld", ["seen", "unseen"]
LEARNING_BACKBONE = config["tables"]["table1"]["backbones"][0]


def learning_evaluations(methods, seeds):
    """Evaluations of some methods and seeds on the held-out panels."""
    return collect(
        f"<results>/eval/{LEARNING_BENCHMARK}/{LEARNING_BACKBONE}/{{method}}/seed{{seed}}/{{panel}}.json",
        method=methods,
        seed=seeds,
        panel=LEARNING_PANELS,
    )
