# The paper against itself. It needs no run, and is therefore one file for all scales.
import os

PAPER_FILES = [
    f"resources/paper/{name}"
    for name in (
        "table1.csv",
        "table2.csv",
        "table3.csv",
        "table4.csv",
        "statements.csv",
        "alfworld_tasks.csv",
        "claims.yaml",
    )
]


rule audit:
    input:
        paper=PAPER_FILES,
        source=[
            source(f"audit/{name}")
            for name in (
                "__init__",
                "findings",
                "grid",
                "ordering",
                "panels",
                "paper",
                "significance",
                "theory",
                "times",
            )
        ],
    output:
        csv="results/audit/paper.csv",
        md=report(
            "results/audit/paper.md",
            caption="../report/audit.rst",
            category="Audit",
        ),
    log:
        "<logs>/audit/paper.log",
    benchmark:
        "<benchmarks>/audit/paper.tsv"
    conda:
        "../envs/cpu.yaml"
    container:
        image("cpu")
    params:
        folder=lambda wildcards, input: os.path.dirname(input.paper[0]),
    message:
        "audit of the paper's published numbers"
    shell:
        "PRISM_LOG={log} python -m prism audit --paper {params.folder:q}"
        " --out-csv {output.csv:q} --out-md {output.md:q}"
