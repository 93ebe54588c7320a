# Figures, as svg for print and png for the screen.
FIGURE_BENCHMARK = config["figures"]["figure1"]["benchmark"]
FIGURE_BACKBONE = config["figures"]["figure1"]["backbones"][0]


rule figure_case_study:
    input:
        norms=shard_files_of(FIGURE_BENCHMARK, FIGURE_BACKBONE),
        scores=f"<results>/scores/{FIGURE_BENCHMARK}/{FIGURE_BACKBONE}.csv",
        trajectories=f"<results>/data/{FIGURE_BENCHMARK}/trajectories.jsonl",
        source=source("figures"),
    output:
        svg=report(
            "<results>/figures/figure1.svg",
            caption="../report/figure1.rst",
            category="Figures",
        ),
        png="<results>/figures/figure1.png",
    log:
        "<logs>/figures/figure1.log",
    benchmark:
        "<benchmarks>/figure_case_study/figure1.tsv"
    conda:
        "../envs/cpu.yaml"
    container:
        image("cpu")
    params:
        scale=config["scale"],
    message:
        "figure 1: case study"
    shell:
        "PRISM_LOG={log} python -m prism figure-case-study --scores {input.scores}"
        " --trajectories {input.trajectories}"
        " --scale {params.scale} --svg {output.svg} --png {output.png} {input.norms}"


rule figure_consensus:
    input:
        scores=f"<results>/scores/{FIGURE_BENCHMARK}/{FIGURE_BACKBONE}.csv",
        source=source("figures"),
    output:
        svg=report(
            "<results>/figures/figure5.svg",
            caption="../report/figure5.rst",
            category="Figures",
        ),
        png="<results>/figures/figure5.png",
    log:
        "<logs>/figures/figure5.log",
    benchmark:
        "<benchmarks>/figure_consensus/figure5.tsv"
    conda:
        "../envs/cpu.yaml"
    container:
        image("cpu")
    params:
        title=f"{FIGURE_BENCHMARK}, {FIGURE_BACKBONE}",
        scale=config["scale"],
    message:
        "figure 5: do the metrics agree?"
    shell:
        "PRISM_LOG={log} python -m prism figure-consensus --scores {input.scores} --title {params.title:q}"
        " --scale {params.scale}"
        " --svg {output.svg} --png {output.png}"
