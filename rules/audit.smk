# The paper against itself. It needs no run, and is therefore one file for all scales.
from prism.core.paper_tables import PUBLISHED_FILES

PAPER_FILES = collect(f"{PAPER}/{{name}}", name=PUBLISHED_FILES)


rule audit:
    input:
        paper=PAPER_FILES,
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
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("audit"),
        folder=lambda wildcards, input: os.path.dirname(input.paper[0]),
    message:
        "audit of the paper's published numbers"
    shell:
        "PRISM_LOG={log} python -m prism audit --paper {params.folder:q}"
        " --out-csv {output.csv:q} --out-md {output.md:q}"


rule comparison:
    input:
        **INPUTS.compared_probes(),
        paper=PAPER_FILES,
        tables=INPUTS.claimed(),
        evaluations=INPUTS.compared_evaluations(),
    output:
        csv="<results>/comparison.csv",
        md=report(
            "<results>/comparison.md",
            caption="../report/comparison.rst",
            category="Audit",
        ),
        json="<results>/claims.json",
    log:
        "<logs>/audit/comparison.log",
    benchmark:
        "<benchmarks>/comparison/comparison.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("comparison"),
        folder=lambda wildcards, input: os.path.dirname(input.paper[0]),
        out=lambda wildcards, output: os.path.dirname(output.csv),
        options=lambda wildcards, input: [
            f"--{option}={path}"
            for option in ("tables", "norms", "consensus")
            for path in input.get(option)
        ],
        recipe=INPUTS.comparison_recipe(),
    message:
        "the paper's claims beside this run"
    shell:
        "PRISM_LOG={log} python -m prism stage claims --paper {params.folder:q} --recipe {params.recipe:q}"
        " --out {params.out:q} {params.options:q} {input.evaluations:q}"
