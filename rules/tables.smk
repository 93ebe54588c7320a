# Cells, paired tests, tables, and where the run's time went.
from prism.core.paper_tables import TABLES
from prism.table_inputs import cell_patterns, row_pattern

for table, layout in TABLES.items():

    rule:
        name:
            f"{table}_row"
        input:
            measured=functools.partial(INPUTS.measured, table),
            paper=f"{PAPER}/{table}.csv",
        output:
            collect(
                "<results>/cells/{table}/{cell}",
                table=table,
                cell=cell_patterns(table),
            ),
        log:
            f"<logs>/cells/{table}/{row_pattern(table)}.log",
        benchmark:
            f"<benchmarks>/{table}_row/{row_pattern(table)}.tsv"
        localrule: True
        conda:
            "../envs/cpu.yaml"
        params:
            code=code("timings" if table == "table3" else "cells"),
            command="timing-cells" if table == "table3" else "cells",
            out=lambda wildcards, output: os.path.dirname(output[0]),
            recipe=functools.partial(INPUTS.cell_recipe, table),
            # run times lie in Snakemake's benchmark files, which are no outputs of a rule
            measured=(
                INPUTS.timing_option
                if table == "table3"
                else lambda wildcards, input: input.measured
            ),
        message:
            f"cells of table {table[-1]}: {row_pattern(table, 'wildcards.', ', ')}"
        shell:
            "PRISM_LOG={log} python -m prism stage {params.command} --row {params.recipe:q} --paper {input.paper:q}"
            " --out {params.out} {params.measured:q}"

    rule:
        name:
            table
        input:
            cells=INPUTS.cells(table),
            tests=[f"<results>/tables/{table}_statistics.csv"] if layout.tested else [],
        output:
            csv=f"<results>/tables/{table}.csv",
            md=report(
                f"<results>/tables/{table}.md",
                caption=f"../report/{table}.rst",
                category="Tables",
            ),
            tex=f"<results>/tables/{table}.tex",
        log:
            f"<logs>/tables/{table}.log",
        benchmark:
            f"<benchmarks>/{table}/{table}.tsv"
        localrule: True
        conda:
            "../envs/cpu.yaml"
        params:
            table=table,
            code=code("tables"),
            tests=lambda wildcards, input: [f"--tests={path}" for path in input.tests],
            scale=config["scale"],
        message:
            f"table {table[-1]}"
        shell:
            "PRISM_LOG={log} python -m prism stage table --table {params.table} {params.tests} --scale {params.scale}"
            " --out-csv {output.csv} --out-md {output.md} --out-tex {output.tex} {input.cells}"


rule table_statistics:
    input:
        cells=lambda wildcards: INPUTS.tested_cells(f"table{wildcards.number}"),
        evaluations=lambda wildcards: INPUTS.evaluations(f"table{wildcards.number}"),
    output:
        "<results>/tables/table{number}_statistics.csv",
    log:
        "<logs>/tables/table{number}_statistics.log",
    benchmark:
        "<benchmarks>/table_statistics/table{number}.tsv"
    localrule: True
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


rule decision:
    input:
        INPUTS.decisive(),
    output:
        csv="<results>/tables/decision.csv",
        md=report(
            "<results>/tables/decision.md",
            caption="../report/decision.rst",
            category="Tables",
        ),
    log:
        "<logs>/tables/decision.log",
    benchmark:
        "<benchmarks>/decision/decision.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        recipe=INPUTS.decision_recipe(),
        code=code("decision"),
        scale=config["scale"],
    message:
        "decision: the protocol's questions and checks"
    shell:
        "PRISM_LOG={log} python -m prism stage decision {input} --recipe {params.recipe:q} --scale {params.scale}"
        " --out-csv {output.csv} --out-md {output.md}"


rule benchmark_summary:
    input:
        # everything else: the summary comes last
        INPUTS.products(),
    output:
        "<results>/benchmarks/summary.csv",
    log:
        "<logs>/benchmarks/summary.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("summary"),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    message:
        "summary: seconds by rule"
    shell:
        "PRISM_LOG={log} python -m prism stage benchmark-summary --folder {params.folder} --out {output}"
