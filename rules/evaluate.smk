# Evaluation: every method and seed plays the same fixed panel; one record an episode.


rule evaluate:
    input:
        model=lambda wildcards: checkpoint_folder(
            wildcards.method, wildcards.benchmark, wildcards.backbone, wildcards.seed
        ),
        games="<results>/data/{benchmark}/games",
        panel="<results>/data/{benchmark}/panels/{panel}.json",
    output:
        "<results>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json",
    log:
        "<logs>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.log",
    benchmark:
        "<benchmarks>/evaluate/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=lambda wildcards: recipe("evaluation", wildcards.benchmark),
        machine=lambda wildcards, threads: machine("evaluation", wildcards.benchmark),
        version=STAGE_VERSIONS["evaluate"],
    message:
        "evaluate: {wildcards.method} on {wildcards.panel}, seed {wildcards.seed}"
    shell:
        "PRISM_LOG={log} python -m prism stage evaluate --model {input.model} --games {input.games} --panel {input.panel}"
        " --recipe {params.recipe:q} --machine {params.machine:q} --seed {wildcards.seed} --out {output}"
