# Concentration scores: Gini, kurtosis, CV (eq. 5-7), L2, their normalised variants, seeded random scores. A quantile of
# one sends the trajectories at or below it to SFT, the others to RL (eq. 2-3).


rule scores:
    input:
        norms=lambda wildcards: INPUTS.norms(wildcards.benchmark, wildcards.backbone),
    output:
        "<results>/scores/{benchmark}/{backbone}.csv",
    log:
        "<logs>/scores/{benchmark}/{backbone}.log",
    benchmark:
        "<benchmarks>/scores/{benchmark}/{backbone}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("scores"),
        recipe=recipe("scores"),
    message:
        "scores: {wildcards.benchmark} under {wildcards.backbone}"
    shell:
        "PRISM_LOG={log} python -m prism score {input.norms} --recipe {params.recipe:q} --out {output}"


rule sensitivity:
    input:
        scores=collect(
            "<results>/scores/{benchmark}/{backbone}.csv",
            benchmark=config["tables"]["appendix_g"]["benchmarks"],
            backbone=config["tables"]["appendix_g"]["backbones"],
        ),
    output:
        report(
            "<results>/tables/appendix_g.csv",
            caption="../report/appendix_g.rst",
            category="Tables",
        ),
    log:
        "<logs>/tables/appendix_g.log",
    benchmark:
        "<benchmarks>/sensitivity/appendix_g.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("sensitivity"),
        scale=config["scale"],
    message:
        "appendix G: does normalising the norms change the ranking?"
    shell:
        "PRISM_LOG={log} python -m prism stage sensitivity {input.scores} --scale {params.scale} --out {output}"


rule split:
    input:
        scores=lambda wildcards: RESULTS.source_of_score(
            wildcards.score, wildcards.benchmark, wildcards.backbone
        ),
    output:
        "<results>/splits/{benchmark}/{backbone}/{score}-{percent}.csv",
    log:
        "<logs>/splits/{benchmark}/{backbone}/{score}-{percent}.log",
    benchmark:
        "<benchmarks>/split/{benchmark}/{backbone}/{score}-{percent}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("splits"),
    message:
        "split: {wildcards.percent}% to RL by {wildcards.score}"
    shell:
        "PRISM_LOG={log} python -m prism stage split {input.scores} --score {wildcards.score}"
        " --rl-percent {wildcards.percent} --out {output}"
