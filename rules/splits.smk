# Splits: a quantile of a score sends the trajectories at or below it to SFT, the others to RL (eq. 2-3).


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
