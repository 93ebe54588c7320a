# Gradient norms of every trajectory over the 7L projection matrices (eq. 1), one parquet a shard.


rule probe:
    input:
        model="<results>/backbones/{backbone}",
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
    output:
        "<results>/gradnorms/{benchmark}/{backbone}/shard-{shard}-of-{shards}.parquet",
    log:
        "<logs>/gradnorms/{benchmark}/{backbone}/shard-{shard}-of-{shards}.log",
    benchmark:
        "<benchmarks>/probe/{benchmark}/{backbone}/shard-{shard}-of-{shards}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=lambda wildcards: recipe("probe", wildcards.benchmark),
        machine=lambda wildcards, threads: machine("probe", wildcards.benchmark),
        version=STAGE_VERSIONS["probe"],
        loop=f"{config['results']}/benchmarks/probe/{{benchmark}}/{{backbone}}/shard-{{shard}}-of-{{shards}}.loop.json",
    message:
        "probe: gradient norms of {wildcards.benchmark} under {wildcards.backbone}, shard {wildcards.shard}"
    shell:
        "PRISM_LOG={log} python -m prism probe --model {input.model} --data {input.trajectories}"
        " --shard {wildcards.shard}"
        " --shards {wildcards.shards} --recipe {params.recipe:q} --machine {params.machine:q}"
        " --loop-time {params.loop} --resume --out {output}"


# the same trajectories under other settings, or another model: what a table of sensitivities compares
use rule probe as probe_variant with:
    input:
        model=lambda w: INPUTS.variant_model(w.variant, w.benchmark, w.backbone),
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
    output:
        "<results>/gradnorms_variants/{variant}/{benchmark}/{backbone}/shard-{shard}-of-{shards}.parquet",
    log:
        "<logs>/gradnorms_variants/{variant}/{benchmark}/{backbone}/shard-{shard}-of-{shards}.log",
    benchmark:
        "<benchmarks>/probe_variant/{variant}/{benchmark}/{backbone}/shard-{shard}-of-{shards}.tsv"
    wildcard_constraints:
        variant=only(config["probe"]["variants"]),
    params:
        recipe=lambda wildcards: recipe("probe", wildcards.benchmark, wildcards.variant),
        machine=lambda wildcards, threads: machine(
            "probe", wildcards.benchmark, wildcards.variant
        ),
        version=STAGE_VERSIONS["probe"],
        loop=f"{config['results']}/benchmarks/probe_variant/{{variant}}/{{benchmark}}/{{backbone}}/shard-{{shard}}-of-{{shards}}.loop.json",
    message:
        "probe: gradient norms of {wildcards.benchmark} under {wildcards.backbone}, {wildcards.variant}, shard {wildcards.shard}"
