# What the rules of a benchmark's data depend on, and for which benchmarks each of them is there.
import shlex


def settings_of(benchmark):
    return config["benchmarks"][benchmark]


def only(benchmarks):
    """A constraint that a wildcard fits to these benchmarks alone; with none of them the rule makes nothing."""
    return "|".join(benchmarks) or "(?!)"


def catalog_of(benchmark):
    """The generated files that a benchmark's games are made from, where there are any."""
    own = settings_of(benchmark)
    generated = own["source"] == GENERATED and "catalog" in own
    return f"<results>/data/{benchmark}/catalog" if generated else []


def games_files(wildcards, input):
    """The option that names what games are made from: a generated catalog, or released data, without which a run can
    be planned, too."""
    own = settings_of(wildcards.benchmark)
    files = own["data_dir"] if own["source"] == DATASET else input.catalog
    return f"--files {shlex.quote(str(files))}" if files else ""


def games_recipe(wildcards):
    """The settings that games are made by; none for released games that are taken as they are."""
    made = RECIPES.games(wildcards.benchmark)
    return f"--recipe {shlex.quote(json_text(result_settings(made)))}" if made else ""


def fetched(benchmark):
    """The record of a benchmark's downloads, where it is made from the released data."""
    settings = config["benchmarks"][benchmark]
    if settings["source"] == DATASET:
        return f"<results>/fetch/{settings.get('collection', benchmark)}.json"
    return []


def panel_corpus(wildcards):
    """The training panel lists the tasks that have a trajectory."""
    corpus = f"<results>/data/{wildcards.benchmark}/trajectories.jsonl"
    return corpus if wildcards.panel == "train" else []


# the code that lists a benchmark's tasks
TASK_CODE = [
    Path(*BENCHMARKS[name].data.partition(":")[0].split(".")).with_suffix(".py")
    for name in config["benchmarks"]
]

OWN_CORPUS = [
    name for name in config["benchmarks"] if settings_of(name)["trajectories_file"]
]
ETO_CORPUS = [name for name in config["benchmarks"] if INPUTS.plays_eto(name)]
EXPERT_CORPUS = [
    name for name in config["benchmarks"] if name not in OWN_CORPUS + ETO_CORPUS
]
