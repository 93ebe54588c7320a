# Cells, tables, and where the run's time went.
import os


rule table1_row:
    input:
        evaluations=lambda wildcards: collect(
            "<results>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json",
            benchmark=config["tables"]["table1"]["benchmark"],
            backbone=config["tables"]["table1"]["backbones"][0],
            method=wildcards.method,
            seed=config["seeds"],
            panel=wildcards.panel,
        ),
        paper="resources/paper/table1.csv",
        source=source("cells"),
    output:
        collect(
            "<results>/cells/table1/{{panel}}/{{method}}/{column}.json",
            column=TABLE1_COLUMNS,
        ),
    log:
        "<logs>/cells/table1/{panel}/{method}.log",
    benchmark:
        "<benchmarks>/table1_row/{panel}/{method}.tsv"
    conda:
        "../envs/cpu.yaml"
    container:
        image("cpu")
    params:
        out=lambda wildcards, output: os.path.dirname(output[0]),
        backbone=config["tables"]["table1"]["backbones"][0],
        shares=lambda wildcards: "--sft {} --rl {}".format(
            *METHODS[wildcards.method].shares()
        ),
        scale=config["scale"],
    message:
        "cells of table 1: {wildcards.panel}, {wildcards.method}"
    shell:
        "PRISM_LOG={log} python -m prism table1-row --split {wildcards.panel} --method {wildcards.method}"
        " --backbone {params.backbone}"
        " {params.shares} --scale {params.scale} --paper {input.paper} --out {params.out} {input.evaluations}"


rule table1:
    input:
        cells=collect(
            "<results>/cells/table1/{panel}/{method}/{column}.json",
            panel=TABLE1_PANELS,
            method=config["tables"]["table1"]["methods"],
            column=TABLE1_COLUMNS,
        ),
        source=source("tables"),
    output:
        csv="<results>/tables/table1.csv",
        md=report(
            "<results>/tables/table1.md",
            caption="../report/table1.rst",
            category="Tables",
        ),
    log:
        "<logs>/tables/table1.log",
    benchmark:
        "<benchmarks>/table1/table1.tsv"
    conda:
        "../envs/cpu.yaml"
    container:
        image("cpu")
    params:
        methods=",".join(config["tables"]["table1"]["methods"]),
        scale=config["scale"],
    message:
        "table 1"
    shell:
        "PRISM_LOG={log} python -m prism table1 --methods {params.methods} --scale {params.scale}"
        " --out-csv {output.csv} --out-md {output.md} {input.cells}"


rule benchmark_summary:
    input:
        # everything else: the summary comes last
        collect("<results>/tables/{table}.csv", table=config["targets"]["tables"]),
        collect("<results>/figures/{figure}.svg", figure=config["targets"]["figures"]),
        source=source("summary"),
    output:
        "<results>/benchmarks/summary.csv",
    log:
        "<logs>/benchmarks/summary.log",
    conda:
        "../envs/cpu.yaml"
    container:
        image("cpu")
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    message:
        "summary: seconds by rule"
    shell:
        "PRISM_LOG={log} python -m prism benchmark-summary --folder {params.folder} --out {output}"
