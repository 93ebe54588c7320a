# Cells, paired tests, tables, and where the run's time went.
import os


include: "inputs/tables.smk"


rule table1_row:
    input:
        evaluations=lambda wildcards: evaluation_files(
            config["tables"]["table1"]["benchmark"],
            config["tables"]["table1"]["backbones"][0],
            wildcards.method,
            wildcards.panel,
        ),
        paper=f"{PAPER}/table1.csv",
    output:
        collect(
            "<results>/cells/table1/{{panel}}/{{method}}/{column}.json",
            column=TABLES["table1"].columns,
        ),
    log:
        "<logs>/cells/table1/{panel}/{method}.log",
    benchmark:
        "<benchmarks>/table1_row/{panel}/{method}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("cells"),
        out=lambda wildcards, output: os.path.dirname(output[0]),
        row=lambda wildcards: cell_recipe(
            "table1",
            config["tables"]["table1"]["backbones"][0],
            wildcards.method,
            {"split": wildcards.panel},
        ),
    message:
        "cells of table 1: {wildcards.panel}, {wildcards.method}"
    shell:
        "PRISM_LOG={log} python -m prism stage cells --row {params.row:q} --paper {input.paper:q} --out {params.out}"
        " {input.evaluations}"


rule table2_row:
    input:
        evaluations=lambda wildcards: evaluation_files(
            config["tables"]["table2"]["benchmark"],
            wildcards.backbone,
            wildcards.method,
            TABLE2_PANEL,
        ),
        paper=f"{PAPER}/table2.csv",
    output:
        collect(
            "<results>/cells/table2/{{backbone}}/{{method}}/{column}.json",
            column=TABLES["table2"].columns,
        ),
    log:
        "<logs>/cells/table2/{backbone}/{method}.log",
    benchmark:
        "<benchmarks>/table2_row/{backbone}/{method}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("cells"),
        out=lambda wildcards, output: os.path.dirname(output[0]),
        row=lambda wildcards: cell_recipe(
            "table2",
            wildcards.backbone,
            wildcards.method,
            {"backbone": wildcards.backbone},
        ),
    message:
        "cells of table 2: {wildcards.backbone}, {wildcards.method}"
    shell:
        "PRISM_LOG={log} python -m prism stage cells --row {params.row:q} --paper {input.paper:q} --out {params.out}"
        " {input.evaluations}"


rule table3_row:
    input:
        # what was timed; the times themselves lie in Snakemake's benchmark files, which are no outputs
        timed=lambda wildcards: timed_outputs(wildcards.benchmark, wildcards.method),
        paper=f"{PAPER}/table3.csv",
    output:
        collect(
            "<results>/cells/table3/{{benchmark}}/{{method}}/{column}.json",
            column=TABLES["table3"].columns,
        ),
    log:
        "<logs>/cells/table3/{benchmark}/{method}.log",
    benchmark:
        "<benchmarks>/table3_row/{benchmark}/{method}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("timings"),
        out=lambda wildcards, output: os.path.dirname(output[0]),
        row=lambda wildcards: cell_recipe(
            "table3",
            config["tables"]["table3"]["backbones"][0],
            wildcards.method,
            {"benchmark": wildcards.benchmark},
            timing_settings(wildcards.benchmark),
        ),
        files=lambda wildcards: timing_files(wildcards.benchmark, wildcards.method),
    message:
        "cells of table 3: {wildcards.benchmark}, {wildcards.method}"
    shell:
        "PRISM_LOG={log} python -m prism stage timing-cells --row {params.row:q} --files {params.files:q}"
        " --paper {input.paper:q} --out {params.out}"


rule table4_cell:
    input:
        evaluations=lambda wildcards: evaluation_files(
            wildcards.benchmark,
            config["tables"]["table4"]["backbones"][0],
            wildcards.method,
            TABLE4_PANELS[wildcards.benchmark],
        ),
        paper=f"{PAPER}/table4.csv",
    output:
        "<results>/cells/table4/{method}/{benchmark}.json",
    log:
        "<logs>/cells/table4/{method}/{benchmark}.log",
    benchmark:
        "<benchmarks>/table4_cell/{method}/{benchmark}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("cells"),
        out=lambda wildcards, output: os.path.dirname(output[0]),
        row=lambda wildcards: cell_recipe(
            "table4",
            config["tables"]["table4"]["backbones"][0],
            wildcards.method,
            {},
            columns=[wildcards.benchmark],
        ),
    message:
        "cell of table 4: {wildcards.method}, {wildcards.benchmark}"
    shell:
        "PRISM_LOG={log} python -m prism stage cells --row {params.row:q} --paper {input.paper:q} --out {params.out}"
        " {input.evaluations}"


rule table_statistics:
    input:
        cells=lambda wildcards: tested_cells_of(f"table{wildcards.number}"),
        evaluations=lambda wildcards: evaluations_of(f"table{wildcards.number}"),
    output:
        "<results>/tables/table{number}_statistics.csv",
    log:
        "<logs>/tables/table{number}_statistics.log",
    benchmark:
        "<benchmarks>/table_statistics/table{number}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("tables", "cells"),
        scale=config["scale"],
    message:
        "paired tests of table {wildcards.number}"
    shell:
        "PRISM_LOG={log} python -m prism stage table-statistics --table table{wildcards.number} --scale {params.scale}"
        " --out {output} {input.cells}"


rule table1:
    input:
        cells=cells_of("table1"),
        tests="<results>/tables/table1_statistics.csv",
    output:
        csv="<results>/tables/table1.csv",
        md=report(
            "<results>/tables/table1.md",
            caption="../report/table1.rst",
            category="Tables",
        ),
        tex="<results>/tables/table1.tex",
    log:
        "<logs>/tables/table1.log",
    benchmark:
        "<benchmarks>/table1/table1.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("tables"),
        table="table1",
        tests=lambda wildcards, input: f"--tests {input.tests}",
        scale=config["scale"],
    message:
        "table 1"
    shell:
        "PRISM_LOG={log} python -m prism stage table --table {params.table} {params.tests} --scale {params.scale}"
        " --out-csv {output.csv} --out-md {output.md} --out-tex {output.tex} {input.cells}"


use rule table1 as table2 with:
    input:
        cells=cells_of("table2"),
        tests="<results>/tables/table2_statistics.csv",
    output:
        csv="<results>/tables/table2.csv",
        md=report(
            "<results>/tables/table2.md",
            caption="../report/table2.rst",
            category="Tables",
        ),
        tex="<results>/tables/table2.tex",
    log:
        "<logs>/tables/table2.log",
    benchmark:
        "<benchmarks>/table2/table2.tsv"
    params:
        code=code("tables"),
        table="table2",
        tests=lambda wildcards, input: f"--tests {input.tests}",
        scale=config["scale"],
    message:
        "table 2"


use rule table1 as table3 with:
    input:
        cells=cells_of("table3"),
    output:
        csv="<results>/tables/table3.csv",
        md=report(
            "<results>/tables/table3.md",
            caption="../report/table3.rst",
            category="Tables",
        ),
        tex="<results>/tables/table3.tex",
    log:
        "<logs>/tables/table3.log",
    benchmark:
        "<benchmarks>/table3/table3.tsv"
    params:
        code=code("tables"),
        table="table3",
        tests="",
        scale=config["scale"],
    message:
        "table 3"


use rule table1 as table4 with:
    input:
        cells=cells_of("table4"),
        tests="<results>/tables/table4_statistics.csv",
    output:
        csv="<results>/tables/table4.csv",
        md=report(
            "<results>/tables/table4.md",
            caption="../report/table4.rst",
            category="Tables",
        ),
        tex="<results>/tables/table4.tex",
    log:
        "<logs>/tables/table4.log",
    benchmark:
        "<benchmarks>/table4/table4.tsv"
    params:
        code=code("tables"),
        table="table4",
        tests=lambda wildcards, input: f"--tests {input.tests}",
        scale=config["scale"],
    message:
        "table 4"


rule benchmark_summary:
    input:
        # everything else: the summary comes last
        collect("<results>/tables/{table}.csv", table=config["targets"]["tables"]),
        collect("<results>/figures/{figure}.svg", figure=config["targets"]["figures"]),
    output:
        "<results>/benchmarks/summary.csv",
    log:
        "<logs>/benchmarks/summary.log",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("summary"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    message:
        "summary: seconds by rule"
    shell:
        "PRISM_LOG={log} python -m prism stage benchmark-summary --folder {params.folder} --out {output}"
