# Playing: every method and seed on the same fixed panel, one record an episode; and how often the untrained backbone
# solves each training task (the pass rates of HPT), counted in shards.


rule evaluate:
    input:
        model=lambda wildcards: INPUTS.checkpoint(
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


# taken from an earlier run's records; where there is no record this rule's input is missing, and the evaluation is played
if GO_ON_FROM:

    ruleorder: recorded_evaluation > evaluate

    rule recorded_evaluation:
        input:
            record=lambda wildcards: INPUTS.packed_evaluation(**wildcards),
            panel="<results>/data/{benchmark}/panels/{panel}.json",
        output:
            "<results>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json",
        log:
            "<logs>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.log",
        localrule: True
        conda:
            "../envs/cpu.yaml"
        message:
            "evaluate: {wildcards.method} on {wildcards.panel}, seed {wildcards.seed}: from the records"
        shell:
            "PRISM_LOG={log} python -m prism stage take-evaluation --record {input.record:q} --panel {input.panel}"
            " --out {output}"


rule pass_rates:
    input:
        model="<results>/backbones/{backbone}",
        games="<results>/data/{benchmark}/games",
        panel="<results>/data/{benchmark}/panels/train.json",
    output:
        "<results>/passrates/{benchmark}/{backbone}/shard-{shard}-of-{shards}.csv",
    log:
        "<logs>/passrates/{benchmark}/{backbone}/shard-{shard}-of-{shards}.log",
    benchmark:
        "<benchmarks>/pass_rates/{benchmark}/{backbone}/shard-{shard}-of-{shards}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=lambda wildcards: recipe("pass_rates", wildcards.benchmark),
        machine=lambda wildcards, threads: machine("pass_rates", wildcards.benchmark),
        version=STAGE_VERSIONS["pass_rates"],
        loop=f"{config['results']}/benchmarks/pass_rates/{{benchmark}}/{{backbone}}/shard-{{shard}}-of-{{shards}}.loop.json",
    message:
        "pass rates: {wildcards.backbone} on {wildcards.benchmark}, shard {wildcards.shard}"
    shell:
        "PRISM_LOG={log} python -m prism stage pass-rates --model {input.model} --games {input.games} --panel {input.panel}"
        " --shard {wildcards.shard} --shards {wildcards.shards} --recipe {params.recipe:q}"
        " --machine {params.machine:q} --loop-time {params.loop} --out {output}"


rule pass_rate_table:
    input:
        shards=lambda wildcards: INPUTS.pass_rate_shards(
            wildcards.benchmark, wildcards.backbone
        ),
    output:
        "<results>/passrates/{benchmark}/{backbone}.csv",
    log:
        "<logs>/passrates/{benchmark}/{backbone}.log",
    benchmark:
        "<benchmarks>/pass_rate_table/{benchmark}/{backbone}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("pass_rate_table"),
    message:
        "pass rates: {wildcards.backbone} on {wildcards.benchmark}, all shards"
    shell:
        "PRISM_LOG={log} python -m prism stage pass-rate-table {input.shards} --out {output}"
