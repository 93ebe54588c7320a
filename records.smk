# Rebuilds every table and figure that needs no training from the shipped per-episode records: `make records`. The rules
# are the workflow's own; only where their inputs come from differs. Whatever imports torch fails (see without-torch).
import os

from snakemake.utils import min_version

min_version("9.27.1")


configfile: "config/config.yaml"
configfile: "resources/records/demo/config.yaml"


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",


include: "rules/common.smk"


container: image("cpu")


include: "rules/scores.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"


RECORDS = "resources/records/demo/records"
os.environ["PYTHONPATH"] += os.pathsep + shipped("resources/records/demo/without-torch")


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
        record=r"(eval|gradnorms|data)/.+\.(json|parquet|jsonl)",
    message:
        "record: {wildcards.record}"
    shell:
        "cp {input} {output}"


rule record_run:
    input:
        f"{RECORDS}/rl/{{run}}/metrics.csv",
    output:
        directory("<results>/rl/{run}"),
    message:
        "record: RL run {wildcards.run}"
    shell:
        "mkdir -p {output} && cp {input} {output}"
