# Rebuilds every table and figure that needs no training from the shipped records of a run: `make records`. The rules are
# the workflow's own; only where their inputs come from differs. Whatever imports torch fails (see without-torch).
#
#   snakemake --snakefile records.smk                            the demo's, from its episodes
#   PRISM_RECORDS=pretrained snakemake --snakefile records.smk   those about the scores of a real model, from its norms
#   PRISM_RECORDS=laptop snakemake --snakefile records.smk       those of the scale that decides; also control, laptop-webshop, ...
import os
from contextlib import suppress
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27.1")


include: "rules/root.smk"


RUN = os.environ.get("PRISM_RECORDS", "demo")
FOLDER = f"resources/records/{RUN}"
LAPTOP = "config/laptop.yaml"
OVERLAYS = {
    "demo": [],
    "pretrained": ["config/pretrained.yaml"],
    "laptop": [LAPTOP],
    "laptop-webshop": [LAPTOP, "config/laptop-webshop.yaml"],
    "control": [LAPTOP, "config/control.yaml"],
    "laptop-llama": [LAPTOP, "config/laptop-llama.yaml"],
}

for laid in ["config/config.yaml", *OVERLAYS[RUN], f"{FOLDER}/config.yaml"]:

    configfile: laid


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",


include: "rules/common.smk"


container: image("cpu")


include: "rules/scores.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/score_study.smk"


RECORDS = f"{FOLDER}/records"
os.environ["PYTHONPATH"] += os.pathsep + shipped("resources/records/demo/without-torch")


# what is counted in trajectories is a record: of them only those that a figure shows are shipped
ruleorder: record_file > facts


rule all:
    default_target: True
    input:
        collect("<results>/tables/{table}.csv", table=config["targets"]["tables"]),
        collect("<results>/figures/{figure}.svg", figure=config["targets"]["figures"]),


rule record_file:
    input:
        f"{RECORDS}/{{record}}",
    output:
        "<results>/{record}",
    wildcard_constraints:
        record=r"(eval|gradnorms|gradnorms_variants|data|passrates|memory)/.+\.(json|parquet|jsonl|csv)",
    message:
        "record: {wildcards.record}"
    shell:
        "cp {input} {output}"


rule packed_record:
    input:
        f"{RECORDS}/{{record}}.gz",
    output:
        "<results>/{record}",
    wildcard_constraints:
        record=r"eval/.+\.json",
    message:
        "record: {wildcards.record}"
    shell:
        "gzip -dc {input} > {output}"


rule record_run:
    input:
        f"{RECORDS}/rl/{{run}}/metrics.csv",
    output:
        directory("<results>/rl/{run}"),
    message:
        "record: RL run {wildcards.run}"
    shell:
        "mkdir -p {output} && cp {input} {output}"
