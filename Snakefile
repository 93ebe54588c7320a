# PRISM, rebuildable. A kind of stage is a file in rules/; every stage is a `prism` command that also runs without Snakemake.
#
#   snakemake                                               the demo: Table 1 and its figures, on two CPU cores
#   snakemake --profile slurm results/tables/table1.csv     the paper's scale, on A100 nodes
from contextlib import suppress
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.utils import min_version, update_config

min_version("9.27.1")


include: "rules/root.smk"


# with `--directory` the config of that folder, where it has one
CONFIG = "config/config.yaml"
BASE_CONFIG = CONFIG if Path(CONFIG).exists() else str(ROOT / CONFIG)


configfile: BASE_CONFIG


# a workflow that takes these rules as a module lays its own config over this one
laid = load_configfile(BASE_CONFIG)
update_config(laid, config)
config.update(laid)


report: "report/workflow.rst"


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",


include: "rules/common.smk"


# of every rule that names none itself: training, probing and playing have images of their own
container: image("cpu")


include: "rules/fetch.smk"
include: "rules/games.smk"
include: "rules/trajectories.smk"
include: "rules/backbones.smk"
include: "rules/probe.smk"
include: "rules/scores.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/score_study.smk"
include: "rules/audit.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        INPUTS.whole_run(),
    localrule: True


# what a job asks of the cluster stands in its line of a dry run, which Snakemake shortens to the message
for made in workflow.rules:
    asked = workflow.resource_settings.overwrite_resources.get(made.name, {})
    if made.message and "gres" in asked:
        made.message += f" [{asked['gres'].raw}]"
